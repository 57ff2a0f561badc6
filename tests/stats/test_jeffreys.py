"""Limits that are shown: against the distribution they come from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from smart_llm.stats.jeffreys import limits


def test_limits_are_quantiles_of_the_posterior() -> None:
    """Five in a hundred below the lower and above the upper limit; many counts at once give what each gives alone."""
    hits, draws = np.array([0, 1, 7, 20]), np.array([1, 4, 9, 20])
    lower, upper = limits(hits, draws)
    posterior = stats.beta(hits + 0.5, draws - hits + 0.5)
    assert posterior.cdf(lower) == pytest.approx([0.05] * 4)
    assert posterior.sf(upper) == pytest.approx([0.05] * 4)
    assert [limits(k, n) for k, n in zip(hits, draws, strict=True)] == list(zip(lower, upper, strict=True))
