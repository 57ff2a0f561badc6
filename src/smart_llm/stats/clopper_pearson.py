"""Exact confidence limits for a proportion, from a fixed number of independent draws.

For counts over *replications* (how many of T seeded runs broke a promise) and for the published procedure, which
uses them sequentially: a fault it is documented to have. The default procedure does not use them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smart_llm.stats.special import bdtrik, betainc, betaincinv


def lower_limit(hits: ArrayLike, draws: ArrayLike, confidence: float) -> NDArray[np.float64]:
    """One-sided lower limit of the probability of a hit; arguments broadcast, result has their shape.

    Guarantee: P(limit > p) ≤ 1 − confidence for every p.
    Assumes: `draws` fixed beforehand, independent draws of one p, 0 ≤ hits ≤ draws.
    Rounds: not at all (relative error of the inverse beta function, about 1e−14).
    Source: Clopper & Pearson (1934), Biometrika 26.
    """
    k, n = np.broadcast_arrays(np.asarray(hits, float), np.asarray(draws, float))
    return np.where(k <= 0, 0.0, betaincinv(np.maximum(k, 1), n - k + 1, 1 - confidence))


def upper_limit(hits: ArrayLike, draws: ArrayLike, confidence: float) -> NDArray[np.float64]:
    """One-sided upper limit of the probability of a hit: the mirror image of `lower_limit`.

    Guarantee: P(limit < p) ≤ 1 − confidence for every p.
    Assumes: as `lower_limit`.
    Rounds: not at all.
    Source: Clopper & Pearson (1934), Biometrika 26.
    """
    return 1.0 - lower_limit(np.asarray(draws) - np.asarray(hits), draws, confidence)


def interval(hits: ArrayLike, draws: ArrayLike, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided interval (lower, upper): half of 1 − confidence on each side.

    Guarantee: P(p outside) ≤ 1 − confidence for every p.
    Assumes: as `lower_limit`.
    Rounds: not at all.
    Source: Clopper & Pearson (1934), Biometrika 26.
    """
    side = (1 + confidence) / 2
    return lower_limit(hits, draws, side), upper_limit(hits, draws, side)


def least_hits(draws: ArrayLike, target: float, side: float) -> NDArray[np.int64]:
    """Fewest hits at which `lower_limit(hits, draws, 1 − side)` reaches `target`; draws + 1 where none do.

    Guarantee: exactly the counts at which P(Bin(draws, target) ≥ hits) ≤ side.
    Assumes: 0 < target < 1, 0 < side < 1.
    Rounds: not at all.
    Source: duality of the interval with the binomial test.
    """
    n = np.asarray(draws, np.int64)
    hits = np.ceil(np.clip(bdtrik(1 - side, n.astype(float), target), 0, n)).astype(np.int64)
    hits = np.where(_tail(hits, n, target) <= side, hits, hits + 1)
    least: NDArray[np.int64] = np.where(_tail(hits, n, target) <= side, hits, hits + 1)
    return least


def _tail(hits: NDArray[np.int64], draws: NDArray[np.int64], p: float) -> NDArray[np.float64]:
    """P(Bin(draws, p) ≥ hits), for hits in 0 … draws + 1."""
    inside = betainc(np.maximum(hits, 1), np.maximum(draws - hits + 1, 1), p)
    return np.where(hits <= 0, 1.0, np.where(hits > draws, 0.0, inside))
