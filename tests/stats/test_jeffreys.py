"""Limits that are shown beside a share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from smart_llm.stats.jeffreys import jeffreys


@pytest.mark.parametrize("draws", [1, 2, 7, 40, 1000])
def test_the_limits_hold_the_share_that_was_seen(draws: int) -> None:
    """Also where all agree, or none; in between they are the quantiles of the posterior."""
    hits = np.arange(draws + 1)
    low, high = jeffreys(hits, draws, 0.9)
    share = hits / draws
    assert np.all((low <= share) & (share <= high))
    assert (low[0], high[-1]) == (0.0, 1.0)
    inner = hits[1:-1]
    assert low[1:-1] == pytest.approx(beta.ppf(0.05, inner + 0.5, draws - inner + 0.5))
    assert high[1:-1] == pytest.approx(beta.ppf(0.95, inner + 0.5, draws - inner + 0.5))


def test_nothing_seen_says_nothing() -> None:
    """Of no draws everything is possible."""
    assert tuple(map(float, jeffreys(0, 0, 0.9))) == (0.0, 1.0)
