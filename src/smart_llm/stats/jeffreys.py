"""Limits of a share for people to look at: how sure a handful of rows makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smart_llm.stats.special import betaincinv


def jeffreys(hits: ArrayLike, draws: ArrayLike, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided limits (lower, upper) of a share, for showing: they always hold the share that was seen.

    Guarantee: none for every share; on average over shares the confidence.
    Assumes: independent draws.
    Rounds: where no draw was a hit, or all were, outwards to 0 or 1.
    Source: Brown, Cai & DasGupta (2001), Statistical Science 16, section 4.1.
    """
    hits, draws = np.asarray(hits, float), np.asarray(draws, float)
    tail = (1 - confidence) / 2
    low, high = (betaincinv(hits + 0.5, draws - hits + 0.5, side) for side in (tail, 1 - tail))
    ends: tuple[Any, Any] = np.where(hits <= 0, 0.0, low), np.where(hits >= draws, 1.0, high)
    return ends
