"""Designs: certified at every size, cheaper where more is allowed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from smart_llm.stats.design import design
from smart_llm.stats.dual import Beta, Costs
from smart_llm.stats.sequential import GO_ON, Table, worst_error

PRIOR = (Beta(0.85, 2.5, 20.0), Beta(0.15, 1.0, 6.0))


@pytest.mark.parametrize(
    ("rows", "allowance"), [(1, 0), (1, 1), (2, 0), (2, 1), (10, 0), (10, 1), (10, 9), (40, 0), (700, 35), (3000, 450)]
)
def test_every_size_has_a_certified_table(rows: int, allowance: int) -> None:
    """From one row up, and with no allowance at all: error at most α, shares that exist, an end."""
    found = design(rows, allowance, 0.05, PRIOR, Costs(0.1, 0.9))
    assert found.worst.error <= 0.05
    assert worst_error(rows, allowance, found.table).error <= 0.05
    for seen, shares in zip(found.table.looks, found.table.shares, strict=True):
        assert shares.max(initial=GO_ON) <= rows - seen
    assert (found.table.shares[-1] >= 0).all()


def test_an_allowance_for_every_row_needs_no_evidence() -> None:
    """All rows are handed over unseen where all may be wrong."""
    found = design(20, 20, 0.05, PRIOR, Costs(0.1, 0.9))
    assert found.table.looks == (0,)
    assert found.table.share(0, 0, 20) == 20


def test_a_candidate_that_saves_nothing_is_not_profiled() -> None:
    """Without a gain the design stops at once."""
    assert design(500, 50, 0.05, PRIOR, Costs(1.0, 0.0)).table.looks == (0,)


def test_more_allowance_and_more_alpha_never_cost_more() -> None:
    """Expected cost falls with the allowance and with α (to the optimiser's coarseness, 2 % of the rows)."""
    by_allowance = [design(900, b, 0.05, PRIOR, Costs(0.1, 0.9)).expected for b in (0, 20, 60, 120, 240)]
    by_alpha = [design(900, 90, a, PRIOR, Costs(0.1, 0.9)).expected for a in (0.01, 0.05, 0.2, 0.5)]
    for costs in (by_allowance, by_alpha):
        assert all(later <= sooner + 0.02 * 900 for sooner, later in pairwise(costs))


def test_no_look_costs_more_than_may_be_lost() -> None:
    """Candidate calls of the last look stay within `most`."""
    assert design(2000, 100, 0.05, PRIOR, Costs(0.5, 0.5, 60.0)).table.looks[-1] <= 120


def test_the_design_is_the_same_each_time() -> None:
    """Nothing random in it."""
    first, second = (design(400, 40, 0.05, PRIOR, Costs(0.1, 0.9)) for _ in range(2))
    assert first.table.looks == second.table.looks
    assert all(np.array_equal(a, b) for a, b in zip(first.table.shares, second.table.shares, strict=True))


@pytest.mark.parametrize(("rows", "allowance", "call"), [(1300, 130, 0.06), (5000, 400, 0.2)])
def test_what_lies_ahead_is_what_following_the_table_costs(rows: int, allowance: int, call: float) -> None:
    """From the start and from a look on the way, at likely and unlikely rates: within 2 % of the cost by pushing the
    binomial counts forward through the table."""
    found = design(rows, allowance, 0.05, PRIOR, Costs(call, 1 - call))
    going = np.flatnonzero(found.table.shares[5] == GO_ON)
    for rate in (0.3 * allowance / rows, 0.8 * allowance / rows, 1.5 * allowance / rows, 0.6):
        for look, bad in ((0, 0), (5, int(going[len(going) // 2]))):
            exact = forwards(found.table, (look, bad), rate, (rows, call))
            assert found.ahead is not None
            assert found.ahead.at(look, bad, np.array([rate]))[0] == pytest.approx(exact, rel=0.02)


def forwards(table: Table, start: tuple[int, int], rate: float, case: tuple[int, float]) -> float:
    """Cost of the rows not seen yet if the table is followed from here, in reference calls."""
    (first, bad), (rows, call) = start, case
    chance, total = np.eye(1, bad + 1, bad)[0], 0.0
    for k in range(first, len(table.looks)):
        seen = table.looks[k]
        if k > first:
            more = seen - table.looks[k - 1]
            chance = np.convolve(chance, binom.pmf(np.arange(more + 1), more, rate))
        share = np.array([table.share(k, d, rows - seen) for d in range(len(chance))])
        paid = (1 + call) * (seen - table.looks[first]) + rows - seen - (1 - call) * share
        total += float((chance * paid)[share != GO_ON].sum())
        chance = np.where(share == GO_ON, chance, 0.0)
    return total
