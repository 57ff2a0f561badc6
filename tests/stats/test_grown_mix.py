"""A table that grew after a mix: one level for the mix's tables and a look at the rows added, exact for every table."""

from collections import defaultdict
from functools import lru_cache
from itertools import product

import numpy as np
import pytest
from looking import worst_after

from smart_llm.certificates.checks import forwards
from smart_llm.certificates.checks.forwards import too_low
from smart_llm.certificates.checks.ladder import _beyond
from smart_llm.certificates.checks.mix_evidence import CommittedTable, FixedTables, PilotRows, WorstError
from smart_llm.stats.design import Design, design
from smart_llm.stats.dual import Beta, Costs, Fineness
from smart_llm.stats.grown import Excess, Look, beyond, excess, look
from smart_llm.stats.sequential import GO_ON, Table

Mixed = tuple[int, int, tuple[float, ...]]
"""Rows that a mix is left with, how many may be bad, and the level of each finalist."""
ONE, TWO = (7, 1, (0.3,)), (6, 1, (0.3, 0.15))


@lru_cache
def designed(mixed: Mixed) -> tuple[Design, ...]:
    """The designs that ship."""
    rows, allowance, levels = mixed
    prior = (Beta(1.0, 1.0, 6.0),)
    return tuple(design(rows, allowance, each, prior, Costs(0.05, 0.95), fine=Fineness(first=1)) for each in levels)


def known(mixed: Mixed) -> Excess:
    """What is stated of the mix."""
    return excess(*mixed[:2], [each.table for each in designed(mixed)])


def handed_over(order: tuple[tuple[bool, ...], ...], tables: list[Table]) -> int:
    """Bad rows that a mix hands over where rows come in this order, by the finalist for which they are most; the others
    may be followed further than that one. Of every row: for which finalists it is bad."""
    settled = []
    for j, table in enumerate(tables):
        for k, seen in enumerate(table.looks):
            share = table.share(k, sum(row[j] for row in order[:seen]), len(order) - seen)
            if share != GO_ON:
                settled.append((j, seen, share))
                break
    left = order[max(seen for _, seen, _ in settled) :]
    return max(sum(row[j] for row in left[:share]) for j, _, share in settled)


@lru_cache
def laws(mixed: Mixed) -> tuple[np.ndarray, ...]:
    """Of every population: probabilities of 0, 1, … bad rows handed over, over every order of its rows."""
    rows, _, levels = mixed
    tables = [each.table for each in designed(mixed)]
    found: dict[tuple[tuple[bool, ...], ...], np.ndarray] = defaultdict(lambda: np.zeros(rows + 1))
    for order in product(product((False, True), repeat=len(levels)), repeat=rows):
        found[tuple(sorted(order))][handed_over(order, tables)] += 1
    return tuple(each / each.sum() for each in found.values())


@pytest.mark.parametrize("mixed", [ONE, TWO, (8, 2, (0.3,))], ids=["one finalist", "two", "more allowed"])
@pytest.mark.parametrize("second", [(5, 0, 2), (5, 1, 3), (6, 0, 4)])
def test_no_table_that_grew_after_a_mix_breaks_the_promise_more_often(mixed: Mixed, second: Look) -> None:
    """For every population and order of the first part, by the designs that ship, and the worst pattern of the rows
    added for whatever the mix has handed over, chosen by an adversary who has seen it: more than so many bad rows are
    delivered with at most the probability that is stated, for every number of them."""
    first = known(mixed)
    pairs = tuple(zip(first.counts, first.chances, strict=True))
    for allowed in range(mixed[0] + second[0]):
        stated = float(beyond((first, second), np.array([allowed]))[0])
        assert worst_after(laws(mixed), second, allowed) <= stated + 1e-9
        assert stated == pytest.approx(_beyond((second,), allowed, pairs), abs=1e-9)


@pytest.mark.parametrize("mixed", [ONE, TWO])
def test_what_is_stated_of_a_mix_is_what_it_does(mixed: Mixed) -> None:
    """More bad rows than so many are handed over with at most the chance that is stated, and by one finalist about as
    often as that; as many as are allowed may be handed over unseen, and in some population they are."""
    first = known(mixed)
    for most in range(mixed[0]):
        true = max(float(law[most + 1 :].sum()) for law in laws(mixed))
        stated = float(first.beyond(np.array([most]))[0])
        assert true <= stated + 1e-9
        if len(mixed[2]) == 1 and most >= mixed[1]:
            assert true == pytest.approx(stated, rel=0.01, abs=1e-9)
    assert max(float(law[mixed[1] :].sum()) for law in laws(mixed)) == 1.0


def test_to_look_only_at_what_the_mix_was_allowed_is_found_out() -> None:
    """Three ways to count too little: the chance of more bad rows than the mix was allowed, and none of many more; no
    chance of as many as may be handed over unseen; and a level for each part, with misses of its own."""
    first, allowed = known(ONE), ONE[1]
    steep, unseen = Excess((allowed, allowed + 1), (first.chances[0], 0.0)), Excess((0,), first.chances[:1])
    for broken, second, most in ((steep, (1, 0, 1), allowed + 1), (unseen, (5, 0, 2), allowed)):
        stated = float(beyond((broken, second), np.array([most]))[0])
        assert worst_after(laws(ONE), second, most) > stated + 1e-6
    each = known(TWO).chances[0], float(beyond(((5, 1, 3),), np.array([1]))[0])
    assert max(each) < 0.301
    assert worst_after(laws(TWO), (5, 1, 3), TWO[1] + 1) > 0.35


def test_the_look_after_a_mix_keeps_the_level() -> None:
    """It follows from sizes and tables alone, one row less would not keep it, and where the mix was allowed as much as
    the whole table is, there is none."""
    found = design(400, 40, 0.05, (Beta(1.0, 2.0, 20.0),), Costs(0.1, 0.9))
    first = excess(400, 40, [found.table])
    chosen = look((first,), 60, 47, 0.05, 0.1)
    assert chosen is not None
    credit, looked = chosen
    assert float(beyond((first, (60, credit, looked)), np.array([47]))[0]) <= 0.05
    assert float(beyond((first, (60, credit, looked - 1)), np.array([47]))[0]) > 0.05
    assert look((first,), 60, 39, 0.05, 0.1) is None


def stated(rows: int, found: Design) -> CommittedTable:
    """A design for 30 bad rows allowed, as a certificate states it."""
    shares = [each.tolist() for each in found.table.shares]
    return CommittedTable(
        candidate="c",
        guess=0.1,
        allowance=30,
        looks=list(found.table.looks),
        left=[rows - seen for seen in found.table.looks],
        shares=shares,
        sums=[sum(each) for each in shares],
        worst=WorstError(bad=found.worst.bad, good=rows - found.worst.bad, error=found.worst.error),
    )


def test_the_check_pushes_the_tables_forwards_and_finds_less_than_that() -> None:
    """What is stated of a mix bears an independent count; a twentieth less does not, nor a number of bad rows that may
    be handed over unseen."""
    found = design(300, 30, 0.05, (Beta(1.0, 2.0, 20.0),), Costs(0.1, 0.9))
    told = stated(300, found)
    mix = FixedTables(pilot=PilotRows(10, 0), spare=0, finalists=(told, told))
    first = excess(300, 30, [found.table] * 2)
    pairs = list(zip(first.counts, first.chances, strict=True))
    assert not too_low(mix.finalists, pairs)
    assert too_low(mix.finalists, [(count, 0.95 * chance) for count, chance in pairs])
    assert too_low(mix.finalists, [(29, 1.0), *pairs])
    assert too_low(mix.finalists[:1], pairs) is False


def test_the_check_looks_where_a_mix_hands_over_most() -> None:
    """Far from what a mix was allowed its chance of more bad rows rises and falls within a few numbers of bad rows, so
    a forger may state what it is on a grid: that is found out."""
    found = design(600, 30, 0.05, (Beta(1.0, 1.0, 40.0),), Costs(0.05, 0.95))
    told = stated(600, found)
    first = excess(600, 30, [found.table])
    counts, near = np.array(first.counts), np.geomspace(30, 120, forwards.NEAR)
    grid = np.unique(np.r_[near, np.geomspace(120, 600, forwards.FAR)].astype(int)).tolist()
    seen = np.max([forwards.errors(told, 600, bad, counts) for bad in grid], axis=0)
    assert (seen < 0.8 * np.array(first.chances)).any()
    assert not too_low([told], list(zip(first.counts, first.chances, strict=True)))
    assert too_low([told], list(zip(first.counts, seen.tolist(), strict=True)))
