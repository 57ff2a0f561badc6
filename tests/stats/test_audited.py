"""Limits of the number of bad answers, from those that coins have caught: exact, at all times together."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import binom

from smart_llm.stats.audited import limits_of_bad

Limits = Callable[[int], tuple[float, float]]


def ever_outside(limits: Limits, share: float, most: int) -> float:
    """The probability that at some time, up to so many bad answers, their number lies outside its limits."""
    known, outside = {0: 1.0}, 0.0
    for bad in range(1, most + 1):
        after: dict[int, float] = {}
        for caught, chance in known.items():
            after[caught] = after.get(caught, 0.0) + chance * (1 - share)
            after[caught + 1] = after.get(caught + 1, 0.0) + chance * share
        wrong = {caught for caught in after if not limits(caught)[0] <= bad <= limits(caught)[1]}
        outside += sum(after[caught] for caught in wrong)
        known = {caught: chance for caught, chance in after.items() if caught not in wrong}
    return outside


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_limits_hold_at_all_times(share: float, confidence: float) -> None:
    """Exactly: the number of bad answers lies within its limits at every moment with the confidence asked for."""
    limits = lru_cache(lambda caught: limits_of_bad(caught, share, confidence))
    assert ever_outside(limits, share, 400) <= 1 - confidence


def test_limits_for_one_moment_do_not() -> None:
    """Limits that are right at any one moment are broken at some moment far more often: the test above can fail."""

    @lru_cache
    def limits(caught: int) -> tuple[float, float]:
        numbers = np.arange(caught, 700)
        fits = numbers[(binom.cdf(caught, numbers, 0.1) > 0.025) & (binom.sf(caught - 1, numbers, 0.1) > 0.025)]
        return int(fits[0]), int(fits[-1])

    assert ever_outside(limits, 0.1, 400) > 0.1


def test_what_limits_look_like() -> None:
    """They are in order, rise with what was caught, hold what was caught, and narrow as the share rises; with no coins
    nothing is known, with coins that always fall everything."""
    before = (0, 0.0)
    for caught in range(30):
        low, high = limits_of_bad(caught, 0.1, 0.95)
        assert caught <= low <= caught / 0.1 <= high
        assert (low, high) >= before
        before = (low, high)
        assert limits_of_bad(caught, 0.3, 0.95)[1] < high
    assert limits_of_bad(5, 0.0, 0.95) == (5, float("inf"))
    assert limits_of_bad(5, 1.0, 0.95) == (5, 5.0)
