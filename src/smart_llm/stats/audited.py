"""How many bad answers there are, of which a known share, drawn by independent coins, is caught. Valid at every moment.

The bad answers are numbered as they come; whether the k-th is caught is the toss of a coin with probability p, whatever
made it the k-th. So after m of them the number k that was caught is a sum of m independent tosses, and for any weights
on other probabilities q the mixture ratio

    W(m, k) = ∫ q^k (1 − q)^(m − k) dBeta(q) ÷ p^k (1 − p)^(m − k)

is a martingale in m that starts at 1. It exceeds 1/α at any time at all with probability α at most (Ville), so the m
that belong to the k seen with W < 1/α contain the true one at all times, with probability 1 − α. Nothing is assumed
about which answers are bad.
"""

from __future__ import annotations

from math import inf, lgamma, log

WEIGHT = 20.0
"""Tosses that the prior of q is worth: limits are tightest where about so many answers were caught."""


def limits_of_bad(caught: int, share: float, confidence: float) -> tuple[int, float]:
    """(lower, upper): how many bad answers there are. caught: of them; share: the probability p of being caught.

    Guarantee: P(at some time the true number lies outside) ≤ 1 − confidence, whatever decides which answers are bad.
    Assumes: every bad answer is caught with probability `share`, independently of what came before.
    Rounds: outwards by one where the logarithms are as good as equal.
    Source: Ville (1939); beta mixture: Robbins (1970), Annals of Mathematical Statistics 41.
    """
    if not 0.0 < share <= 1.0:
        return caught, inf
    if share == 1.0:
        return caught, float(caught)
    most = log(1.0 / (1.0 - confidence)) + 1e-9
    middle = max(caught, int(caught / share))
    return _edge(caught, middle, share, most), float(_beyond(caught, middle, share, most))


def log_ratio(bad: int, caught: int, share: float) -> float:
    """log W."""
    a, b = WEIGHT * share, WEIGHT * (1.0 - share)
    mixed = _log_beta(a + caught, b + bad - caught) - _log_beta(a, b)
    return mixed - caught * log(share) - (bad - caught) * log(1.0 - share)


def _edge(caught: int, middle: int, share: float, most: float) -> int:
    """The smallest number that is not excluded, by bisection: the ratio falls up to the middle."""
    low, high = caught, middle
    while low < high:
        half = (low + high) // 2
        low, high = (low, half) if log_ratio(half, caught, share) <= most else (half + 1, high)
    return low


def _beyond(caught: int, middle: int, share: float, most: float) -> int:
    """The largest one: the ratio rises from the middle on."""
    low, step = middle, 1
    while log_ratio(low + step, caught, share) <= most:
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1:
        half = (low + high) // 2
        low, high = (half, high) if log_ratio(half, caught, share) <= most else (low, half)
    return low


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
