"""Clopper–Pearson limits: exact coverage, mirror image, and the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from smart_llm.stats.clopper_pearson import interval, lower_limit, upper_limit


@pytest.mark.parametrize("draws", [1, 10, 37])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_limit_covers_at_least_as_often_as_it_says(draws: int, confidence: float) -> None:
    """Summed over all counts, P(lower limit > p) never exceeds 1 − confidence."""
    limits = lower_limit(np.arange(draws + 1), draws, confidence)
    for p in np.linspace(0.01, 0.99, 99):
        assert binom.pmf(np.arange(draws + 1), draws, p)[limits > p].sum() <= 1 - confidence + 1e-12


def test_upper_is_the_mirror_image_and_the_edges_are_exact() -> None:
    """No hit gives lower limit 0, all hits upper limit 1; none in n gives 1 − (1−confidence)^(1/n) above."""
    assert lower_limit(0, 10, 0.95) == 0.0
    assert upper_limit(10, 10, 0.95) == 1.0
    assert upper_limit(0, 10, 0.95) == pytest.approx(1 - 0.05**0.1)
    assert upper_limit(3, 10, 0.9) == pytest.approx(1 - lower_limit(7, 10, 0.9))


def test_the_interval_agrees_with_an_independent_implementation() -> None:
    """scipy's exact binomial interval gives the same two numbers."""
    there = binomtest(45, 60).proportion_ci(0.95, method="exact")
    low, high = interval(45, 60, 0.95)
    assert (float(low), float(high)) == (pytest.approx(there.low), pytest.approx(there.high))
