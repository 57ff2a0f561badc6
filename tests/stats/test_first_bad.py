"""The one look at the surest rows: every pattern, every draw."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from smart_llm.stats.first_bad import covers_errors, credit_left, error_level, looks, rows_needed, upper_level


def patterns(rows: int) -> np.ndarray:
    """All 0/1 patterns, shape (2^rows, rows)."""
    return (np.arange(2**rows)[:, None] >> np.arange(rows)) & 1


def delivered_bad(bad: np.ndarray, labelled: np.ndarray, credit: np.ndarray | int) -> np.ndarray:
    """Shape (draws, patterns): unlabelled bad rows before the (credit + 1)-th labelled bad row; rows are in order."""
    seen = np.cumsum(labelled[:, None, :] * bad[None], axis=2)
    limit = np.broadcast_to(np.asarray(credit), seen.shape[:2])[:, :, None]
    return ((1 - labelled[:, None, :]) * bad[None] * (seen <= limit)).sum(axis=2)


@pytest.mark.parametrize("rows", [3, 5, 7, 9])
def test_the_level_covers_every_pattern_and_is_attained(rows: int) -> None:
    """For every allowance, credit and look: the worst pattern fails exactly as often as the bound says."""
    bad, draws = patterns(rows), patterns(rows)
    for looked, credit in product(range(1, rows), range(3)):
        labelled = draws[draws.sum(axis=1) == looked]
        misses = delivered_bad(bad, labelled, credit)
        for allowance in range(rows - credit):
            worst = (misses > allowance).mean(axis=0).max()
            level = upper_level(rows, allowance, credit, np.array([looked]))[0]
            assert worst <= level
            assert level <= worst + 1e-9


def test_a_credit_too_many_breaks_the_level() -> None:
    """The test above can fail: with one more credit than was paid for, some pattern fails more often than promised."""
    rows, allowance = 9, 2
    looked = rows_needed(rows, allowance, 0, 0.25)
    assert looked is not None
    draws = patterns(rows)
    misses = delivered_bad(patterns(rows), draws[draws.sum(axis=1) == looked], 1)
    assert (misses > allowance).mean(axis=0).max() > 0.25


@pytest.mark.parametrize("rows", [4, 6])
def test_errors_are_covered_in_every_pattern(rows: int) -> None:
    """Rows good, bad or without an answer, in every arrangement: more misses than allowed never come more often than
    `error_level` says, with and without a reserve."""
    kinds = np.array(list(product((0, 1, 2), repeat=rows)))
    error, bad = (kinds == 2).astype(int), (kinds == 1).astype(int)
    draws = patterns(rows)
    for looked, credit, reserve in product((2, rows // 2 + 1), (0, 1, 3), (0, 1)):
        labelled = draws[draws.sum(axis=1) == looked]
        seen = labelled @ error.T
        left = np.array([[credit_left(credit, int(one), reserve) for one in row] for row in seen])
        misses = delivered_bad(bad, labelled, left) + error.sum(axis=1)[None]
        for allowance in range(rows - reserve - 1):
            failed = ((misses > allowance + reserve) & (left >= 0)).mean(axis=0)
            for errors in range(rows + 1):
                level = error_level(rows, allowance, credit, looked, errors=errors, reserve=reserve)
                assert failed[error.sum(axis=1) == errors].max() <= level + 1e-12


def test_errors_are_paid_for_in_practice() -> None:
    """Giving up two credits for a labelled error keeps the level at the sizes that occur, at every second credit."""
    for rows, allowance in ((300, 30), (1500, 150), (3000, 150)):
        for credit, looked in looks(rows, allowance, 0.05, rows // 2)[::2]:
            assert covers_errors(rows, allowance, credit, looked, reserve=0, alpha=0.05)


def test_without_giving_up_credit_errors_break_the_level() -> None:
    """The check of errors can fail: where every labelled error is a gift, the level is passed."""
    rows, allowance, credit = 300, 30, 6
    looked = rows_needed(rows, allowance, credit, 0.05)
    assert looked is not None
    kept = sum(
        hypergeom.pmf(seen, rows, 20, looked) * upper_level(rows - 20, 10, credit, np.array([looked - seen]))[0]
        for seen in range(21)
    )
    assert kept > 0.05


@given(st.integers(20, 3000), st.integers(0, 300), st.integers(0, 12), st.sampled_from([0.01, 0.05, 0.2]))
def test_rows_needed_is_the_least(rows: int, allowance: int, credit: int, alpha: float) -> None:
    """The look found keeps the level, one row fewer does not; scipy's own tail agrees."""
    if allowance + 1 + credit > rows:
        return
    needed = rows_needed(rows, allowance, credit, alpha)
    assert needed is not None
    assert hypergeom.cdf(credit, rows, allowance + 1 + credit, needed) <= alpha
    assert hypergeom.cdf(credit, rows, allowance + 1 + credit, needed - 1) > alpha * (1 - 1e-8)


def test_looks_grow_with_credit_and_stay_affordable() -> None:
    """More credit needs more rows; no look is larger than asked for."""
    found = looks(10_000, 500, 0.05, 2_000)
    credits, looked = zip(*found, strict=True)
    assert list(credits) == sorted(set(credits))
    assert list(looked) == sorted(set(looked))
    assert looked[-1] <= 2_000
    assert looks(10, 0, 0.05, 5) == ()
