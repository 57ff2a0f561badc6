"""Hypergeometric probabilities against exact integer arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from smart_llm.stats.hypergeometric import log_choose, log_factorials, pmf, slack


@pytest.mark.parametrize(("rows", "bad", "drawn"), [(10, 3, 4), (60, 25, 31), (500, 40, 200), (7, 0, 3), (5, 5, 5)])
def test_probabilities_are_those_of_exact_counting(rows: int, bad: int, drawn: int) -> None:
    """Every probability agrees with binomials in exact integers, to the stated slack."""
    for seen in range(drawn + 1):
        exact = Fraction(comb(bad, seen) * comb(rows - bad, drawn - seen), comb(rows, drawn))
        assert float(pmf(rows, bad, drawn, seen)) == pytest.approx(float(exact), rel=slack(rows), abs=0)


def test_impossible_draws_have_probability_zero() -> None:
    """More bad rows than there are, or than were drawn, never happens."""
    assert pmf(10, 3, 5, np.array([4, 5, 6])).tolist() == [0.0, 0.0, 0.0]
    assert float(pmf(10, 8, 5, 2)) == 0.0


def test_choosing_outside_the_range_is_minus_infinity() -> None:
    """C(n, k) is 0 below k = 0 and above k = n."""
    assert log_choose(np.array([4, 4]), np.array([-1, 5]), log_factorials(4)).tolist() == [-np.inf, -np.inf]


def test_probabilities_add_up_at_a_hundred_thousand_rows() -> None:
    """The slack holds where the logarithms are largest."""
    total = pmf(127_600, 9_000, 20_000, np.arange(20_001)).sum()
    assert abs(float(total) - 1) < slack(127_600)
