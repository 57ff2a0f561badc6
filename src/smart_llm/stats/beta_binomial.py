"""A time-uniform upper limit for the number of bad rows in a finite table, in closed form.

Source: Waudby-Smith & Ramdas (2020), "Confidence sequences for sampling without replacement", prior–posterior-ratio
martingale with a beta-binomial(a, b) working prior on D. The prior changes how tight the limit is, never its validity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln
from scipy.stats import hypergeom, norm

Numbers: TypeAlias = NDArray[np.float64]

SLACK = 1e-9  # relative; float error in log-gamma sums at N = 10⁷ stays far below it on the log scale


@dataclass(frozen=True, slots=True)
class Prior:
    """Working prior Beta(a, b) for the bad rate."""

    a: float
    b: float

    @classmethod
    def around(cls, rate: float, weight: float) -> Prior:
        """Mean `rate`, worth `weight` rows."""
        return cls(rate * weight, (1 - rate) * weight)


def log_wealth(D0: Numbers, rows: int, seen: Numbers, bad: Numbers, prior: Prior) -> Numbers:
    """log M_n(D0), elementwise: the evidence against "D = D0" after `seen` rows of which `bad` are bad."""
    mixture = betaln(prior.a + bad, prior.b + seen - bad) - betaln(prior.a, prior.b)
    return np.asarray(mixture - (_log_choose(rows - seen, D0 - bad) - _log_choose(float(rows), D0)))


def _log_choose(n: Numbers | float, k: Numbers) -> Numbers:
    chosen: Numbers = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen


def upper_limit(
    rows: int, seen: NDArray[np.int64], bad: NDArray[np.int64], alpha: float, prior: Prior
) -> NDArray[np.int64]:
    """Largest D not excluded at level `alpha`, elementwise over (seen, bad).

    Guarantee: P(D > U_n for some n) ≤ alpha, whatever the stopping rule.
    Assumes: the rows seen are a prefix of a uniformly random order of the table; prior chosen without looking at them.
    Rounds: up (a D0 is excluded only when its wealth clears 1/alpha by a margin).
    Source: Waudby-Smith & Ramdas 2020; Ville's inequality. Bisection above the likelihood's mode, where M increases.
    """
    n, d = np.asarray(seen, np.float64), np.asarray(bad, np.float64)
    top = rows - n + d
    low = np.clip(np.floor((rows + 1) * d / np.maximum(n, 1)), d, top)  # never excluded: M ≤ 1 at the mode
    high = top + 1  # excluded: impossible
    threshold = -np.log(alpha) * (1 + SLACK) + SLACK
    while np.any(high - low > 1):
        middle = np.floor((low + high) / 2)
        excluded = (middle > top) | (log_wealth(np.minimum(middle, top), rows, n, d, prior) >= threshold)
        high, low = np.where(excluded, middle, high), np.where(excluded, low, middle)
    return low.astype(np.int64)


def largest_share(left: int, bad_left: int, allowance: int, alpha: float) -> int:
    """Largest r such that r of the `left` rows, drawn blindly, hold more than `allowance` of `bad_left` bad rows with
    probability at most `alpha`.

    Guarantee: P(Hyp(left, bad_left, r) > allowance) ≤ alpha. Rounds: down. Source: hypergeometric tail, bisection.
    """
    if allowance < 0:
        return 0
    if bad_left <= allowance:
        return left
    low, high = min(allowance, left), left
    while high - low > 1:
        middle = (low + high) // 2
        fits = hypergeom.sf(allowance, left, bad_left, middle) <= alpha * (1 - SLACK)
        low, high = (middle, high) if fits else (low, middle)
    return low


def expected_share(left: Numbers | float, bad_left: Numbers | float, allowance: int, alpha: float) -> Numbers:
    """What `largest_share` will be about, elementwise: a normal approximation for planning, never for deciding."""
    z = norm.isf(alpha)
    rate = np.clip(bad_left / np.maximum(left, 1), 1e-12, 1.0)
    low, high = np.zeros_like(rate), np.broadcast_to(np.asarray(left, float), rate.shape).copy()
    for _ in range(30):
        r = (low + high) / 2
        spread = np.sqrt(r * rate * (1 - rate) * np.maximum(left - r, 0) / np.maximum(left - 1, 1))
        fits = r * rate + z * spread <= allowance
        low, high = np.where(fits, r, low), np.where(fits, high, r)
    return np.where(allowance < 0, 0.0, low)
