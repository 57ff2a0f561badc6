"""The exact error of stopping tables, against enumeration of every order of every population."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm.stats.design import design
from smart_llm.stats.dual import Beta, Costs
from smart_llm.stats.sequential import GO_ON, Table, reach, worst_error


def enumerated(rows: int, allowance: int, table: Table) -> list[float]:
    """The error for D = 0 … rows: every placement of the bad rows, the rows after the stop accepted."""
    errors = []
    for bad in range(rows + 1):
        placements = list(combinations(range(rows), bad))
        errors.append(sum(errs(rows, allowance, table, set(places)) for places in placements) / len(placements))
    return errors


def errs(rows: int, allowance: int, table: Table, bad: set[int]) -> bool:
    """Whether the rule hands over more than the allowance when exactly these places of the order are bad."""
    for k, seen in enumerate(table.looks):
        share = table.share(k, sum(place < seen for place in bad), rows - seen)
        if share != GO_ON:
            return sum(seen <= place < seen + share for place in bad) > allowance
    raise AssertionError("the table has no end")


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, Table]:
    """Any table: shares from nothing to all, stopping anywhere."""
    rows = draw(st.integers(2, 9))
    allowance = draw(st.integers(0, rows - 1))
    looks = sorted(draw(st.sets(st.integers(0, rows - 1), min_size=1, max_size=4)))
    shares = []
    for k, seen in enumerate(looks):
        least = 0 if k == len(looks) - 1 else GO_ON
        width = draw(st.integers(1, seen + 1))
        shares.append(np.array([draw(st.integers(least, rows - seen)) for _ in range(width)], np.int64))
    return rows, allowance, Table(tuple(looks), tuple(shares), draw(st.integers(0, allowance)))


@given(tables())
@settings(max_examples=150)
def test_the_error_of_any_table_is_that_of_every_order(case: tuple[int, int, Table]) -> None:
    """The bound is the enumerated maximum over all numbers of bad rows: not below, and above by rounding only."""
    rows, allowance, table = case
    truth = max(enumerated(rows, allowance, table))
    assert truth <= worst_error(rows, allowance, table).error <= truth * 1.0011 + 1e-9


@pytest.mark.parametrize("rows", [8, 12, 14])
@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.1])
@pytest.mark.parametrize("allowance", [1, 3, 5])
def test_designs_err_at_most_alpha_in_every_population(rows: int, alpha: float, allowance: int) -> None:
    """Designs for bold settings: enumerated over all orders, no population errs above α."""
    table = bold(rows, allowance, alpha)
    assert max(enumerated(rows, allowance, table)) <= alpha


def test_designs_spend_most_of_alpha_somewhere() -> None:
    """The proof is not vacuous: some enumerated design errs at more than half of α."""
    assert max(max(enumerated(12, b, bold(12, b, 0.5))) for b in (1, 3, 5)) > 0.25


def test_a_broken_design_is_found_out() -> None:
    """The same table without the limit on its shares errs above α."""
    table = bold(12, 3, 0.3)
    shares = [np.where(row == GO_ON, GO_ON, 12 - seen) for seen, row in zip(table.looks, table.shares, strict=True)]
    broken = Table(table.looks, tuple(shares), table.floor)
    assert max(enumerated(12, 3, broken)) > 0.3
    assert worst_error(12, 3, broken).error > 0.3


def bold(rows: int, allowance: int, alpha: float) -> Table:
    """A design under a hopeful prior and cheap calls."""
    return design(rows, allowance, alpha, (Beta(1.0, 1.0, 3.0),), Costs(0.02, 0.98)).table


def test_what_came_before_a_count_does_not_depend_on_the_bad_rows() -> None:
    """`reach`, computed without D, gives with every D the probability of arriving that stepping forward gives."""
    rows, table = 300, design(300, 40, 0.2, (Beta(1.0, 1.0, 8.0),), Costs(0.05, 0.95)).table
    from scipy.stats import hypergeom

    backward = reach(table)
    for bad in (35, 45, 80):
        forward = {0: 1.0}
        for k, seen in enumerate(table.looks[:-1]):
            drawn, later = table.looks[k + 1] - seen, {}
            for d, chance in forward.items():
                if table.share(k, d, rows - seen) == GO_ON:
                    for more in range(min(drawn, bad - d) + 1):
                        later[d + more] = later.get(d + more, 0.0) + chance * hypergeom.pmf(
                            more, rows - seen, bad - d, drawn
                        )
            forward = later
            for d, chance in forward.items():
                if d < len(backward[k + 1]):
                    expected = backward[k + 1][d] * hypergeom.pmf(d, rows, bad, table.looks[k + 1])
                    assert chance == pytest.approx(float(expected), rel=1e-7, abs=1e-12)


def test_handing_over_no_more_than_the_allowance_never_errs() -> None:
    """A share within the allowance needs no evidence."""
    table = Table((0,), (np.array([5], np.int64),), 5)
    assert worst_error(50, 5, table).error < 1e-8


@pytest.mark.parametrize("rows", [900, 20_000])
def test_the_error_of_large_tables_is_that_of_scipy_s_distribution(rows: int) -> None:
    """One look, many shares: for D over the whole range no sum of scipy's probabilities is above the bound, and the
    largest comes to it."""
    from scipy.stats import hypergeom

    seen, allowance = rows // 20, rows // 10
    counts = np.arange(seen // 3)
    shares = np.clip(0.85 * allowance * seen / (counts + 1), allowance, rows - seen).astype(np.int64)
    worst = worst_error(rows, allowance, Table((0, seen), (np.array([GO_ON]), shares), allowance))

    def error(bad: int) -> float:
        here = hypergeom.pmf(counts, rows, bad, seen)
        after = hypergeom.sf(allowance, rows - seen, np.maximum(bad - counts, 0), shares)
        return float((here * after * (shares > allowance) * (counts <= bad)).sum())

    assert 0.01 < worst.error < 0.9
    errors = [error(bad) for bad in {*range(allowance, rows, rows // 150), worst.bad}]
    assert max(errors) <= worst.error
    assert error(worst.bad) == pytest.approx(worst.error, rel=2e-3)
