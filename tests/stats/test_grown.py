"""Looks at the parts of a table that grew: one level for all, exact, whatever the parts hold."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from looking import law, worst_after

from smart_llm.certificates.checks.ladder import _beyond
from smart_llm.stats.first_bad import credit_left, rows_needed
from smart_llm.stats.grown import POINTS, Look, beyond, look


def worst(first: Look, second: Look, allowed: int) -> float:
    """The chance that more bad rows are delivered, in the worst tables: the second part is chosen when it is known what
    the first look has delivered."""
    return worst_after(
        [law(bad, first[2], first[1]) for bad in product((False, True), repeat=first[0])], second, allowed
    )


@pytest.mark.parametrize(("first", "second"), [((6, 0, 3), (5, 0, 2)), ((6, 1, 3), (5, 0, 3)), ((5, 0, 2), (6, 1, 4))])
def test_no_table_that_grew_breaks_the_promise_more_often(first: Look, second: Look) -> None:
    """For every pattern of the first part, and the worst pattern of the second for whatever the first look has
    delivered, chosen by an adversary who has seen it, every draw of both: more than so many bad rows are delivered
    with at most the probability that is stated, for every number of them."""
    for allowed in range(1, first[0] + second[0]):
        stated = float(beyond((first, second), np.array([allowed]))[0])
        assert worst(first, second, allowed) <= stated + 1e-12
        assert stated == pytest.approx(_beyond((first, second), allowed), abs=1e-12)


def test_one_row_is_looked_at() -> None:
    """Where a look at some of the rows added would not pay, one at all of them adds no chance of a miss. It is no look
    where the earlier one alone does not keep the level any more."""
    before = ((1392, 6, 68),)
    alone, one = (float(beyond(looks, np.array([223]))[0]) for looks in (before, (*before, (1, 0, 1))))
    assert look(before, 1, 223, 0.05, 0.15) == (0, 1)
    assert one == pytest.approx(alone, abs=1e-12)
    assert look(before, 1, 200, 0.05, 0.15) is None


def test_a_table_may_grow_again_and_again() -> None:
    """The level of a dozen looks takes no longer than that of two, and is what an independent count finds."""
    looks = ((1392, 6, 68), *((100 + part, 2, 30) for part in range(12)))
    for parts in (3, 5, 13):
        stated, exact = float(beyond(looks[:parts], np.array([300]))[0]), _beyond(looks[:parts], 300)
        assert exact * (1 - 1e-7) <= stated <= exact + 6 / POINTS
    assert look(looks, 200, 500, 0.05, 0.1) is not None


def test_to_count_the_second_look_alone_is_found_out() -> None:
    """Looks that keep a level each, for the misses allowed in their own part, break it together, and the level that is
    stated says so."""
    part, own, both = (6, 0, 3), 1, 2
    alone = float(beyond((part,), np.array([own]))[0])
    assert worst(part, part, both) > alone
    assert float(beyond((part, part), np.array([both]))[0]) > alone


def outcomes(bad: tuple[bool, ...], looked: tuple[int, ...], credit: int, reserve: int) -> Iterator[tuple[int, int]]:
    """(bad rows delivered, rows without an answer) for every choice of at most `reserve` rows that the reference is
    asked about and has no answer for: first some of those looked at, then some of those that the look leaves to it."""
    for count in range(reserve + 1):
        for lost in combinations(looked, count):
            spare = credit_left(credit, count, reserve)
            seen, wrong, asked = -1 if spare < 0 else 0, 0, 0
            for row, bad_one in enumerate(bad):
                if row in looked:
                    seen += bad_one and row not in lost
                elif 0 <= seen <= spare:
                    wrong += bad_one
                else:
                    asked += 1
            yield from ((wrong, count + more) for more in range(min(asked, reserve - count) + 1))


def settled(part: Look, bad: tuple[bool, ...], reserve: int) -> Iterator[tuple[list[tuple[int, int]], float]]:
    """Of every draw of a look: what the adversary may choose from, and its probability."""
    rows, credit, size = part
    for looked in combinations(range(rows), size):
        yield sorted(set(outcomes(bad, looked, credit, reserve))), 1 / comb(rows, size)


@lru_cache
def later(part: Look, left: int, reserve: int) -> float:
    """The chance, in the worst table, that a part delivers more than `left` bad rows and rows without an answer, with
    at most `reserve` of the latter."""
    return max(
        sum(weight * (max(sum(each) for each in choices) > left) for choices, weight in settled(part, bad, reserve))
        for bad in product((False, True), repeat=part[0])
    )


def with_rows_lost(first: Look, second: Look, allowed: int, reserve: int) -> float:
    """The chance that more rows than `allowed` are delivered wrongly or without an answer, and no more than `reserve`
    have none: in the worst tables, with the worst choice of rows without an answer after every look."""
    return max(
        sum(
            weight * max(later(second, allowed - wrong - lost, reserve - lost) for wrong, lost in choices)
            for choices, weight in settled(first, bad, reserve)
        )
        for bad in product((False, True), repeat=first[0])
    )


@pytest.mark.parametrize(("first", "second"), [((6, 0, 3), (5, 0, 2)), ((6, 1, 3), (5, 0, 3)), ((5, 1, 3), (6, 1, 4))])
@pytest.mark.parametrize("reserve", [1, 2])
def test_whichever_rows_have_no_answer(first: Look, second: Look, reserve: int) -> None:
    """An adversary who sees both looks chooses which rows the reference has no answer for, up to the reserve: the
    promise, from which the reserve was taken, is broken with at most the probability that is stated; had it not been
    taken from it, more often."""
    for allowed in range(reserve + 1, first[0] + second[0]):
        stated = float(beyond((first, second), np.array([allowed - reserve]))[0])
        assert with_rows_lost(first, second, allowed, reserve) <= stated + 1e-12
    least = reserve + 1
    assert with_rows_lost(first, second, least, reserve) > float(beyond((first, second), np.array([least]))[0])


def test_to_begin_anew_where_rows_have_no_answer_is_found_out() -> None:
    """Were a run begun anew because a row has no answer, the adversary would let one have none wherever the first look
    has kept the promise: the two runs together break it more often than either may."""
    rows, allowed, alpha = 8, 1, 0.3
    size = rows_needed(rows, allowed, 0, alpha)
    assert size is not None
    part = (rows, 0, size)
    bad = tuple(row < allowed + 1 for row in range(rows))
    broken = sum(weight * (choices[-1][0] > allowed) for choices, weight in settled(part, bad, 0))
    assert broken <= alpha
    assert broken + (1 - broken) * broken > alpha  # the rows added are like these, and as many


@pytest.mark.parametrize(("before", "rows", "allowed"), [(((19600, 45, 545),), 2000, 2200), (((400, 3, 80),), 60, 40)])
def test_the_grid_rounds_up(before: tuple[tuple[int, int, int], ...], rows: int, allowed: int) -> None:
    """What is stated is never below what is summed up without a grid, and hardly above; the look chosen keeps the
    level, one row less would not."""
    for looks in ((*before, (rows, 2, 30)), (*before, (rows, 2, 30), (rows, 1, 20))):
        stated, exact = float(beyond(looks, np.array([allowed]))[0]), _beyond(looks, allowed)
        assert exact * (1 - 1e-7) <= stated <= exact + 6 / POINTS
    found = look(before, rows, allowed, 0.05, 0.1)
    assert found is not None
    credit, looked = found
    assert float(beyond((*before, (rows, credit, looked)), np.array([allowed]))[0]) <= 0.05
    assert float(beyond((*before, (rows, credit, looked - 1)), np.array([allowed]))[0]) > 0.05


def test_no_more_rows_are_asked_about_than_a_new_run_would_ask_about() -> None:
    """At a high target a look at a few dozen rows is not worth it, and a new run needs hundreds, 298 good ones in a row
    at .99: no more than these are all asked about. At a low target, where a new run needs fewer, there is a limit, too.
    """
    needed = rows_needed(400, 40, 3, 0.05)
    assert needed is not None
    assert look(((5000, 3, 685),), 75, 50, 0.05, 0.01) == (0, 75)
    assert look(((5000, 3, 685),), 298, 50, 0.05, 0.01) is not None
    assert look(((5000, 3, 685),), 300, 50, 0.05, 0.01) is None
    assert look(((400, 3, needed),), 50, 40, 0.05, 0.1) == (0, 50)
    assert look(((400, 3, needed),), 75, 40, 0.05, 0.1) is None


def test_where_nothing_may_differ_no_look_is_a_number_too_large() -> None:
    """At agreement 1 no look is small enough to leave a row to a candidate: no warning, and no look."""
    assert look(((100, 0, 50),), 10, 0, 0.05, 0.0) is None
