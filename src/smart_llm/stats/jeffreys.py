"""Two-sided limits of a proportion for showing how a model stands, not for promising anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

TAILS = 0.05, 0.95
"""What lies below each of the limits."""


def limits(hits: ArrayLike, draws: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper limit of the probability of a hit, at 90 %; arguments broadcast.

    Guarantee: none for a given probability; on average over the prior, it lies inside in 90 of 100 cases.
    Assumes: independent draws, and nothing known before them (Jeffreys' prior, Beta(½, ½)).
    Rounds: not at all.
    Source: Brown, Cai & DasGupta (2001), Statistical Science 16.
    """
    k, n = np.asarray(hits, float), np.asarray(draws, float)
    lower, upper = (betaincinv(k + 0.5, n - k + 0.5, tail) for tail in TAILS)
    return lower, upper
