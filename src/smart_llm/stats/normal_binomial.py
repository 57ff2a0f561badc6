"""Chance that a binomial count reaches a bar when its probability is only known as a normal distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smart_llm.stats.special import betainc

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def chance_of_reaching(bar: ArrayLike, draws: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> NDArray[np.float64]:
    """∫₀¹ P(Bin(draws, x) ≥ bar) · Normal(x; mean, sd) dx; arguments broadcast, draws ≥ 1.

    Where sd is 0 the normal distribution is a point, and the value P(Bin(draws, mean) ≥ bar): the limit of the
    integral for a mean inside (0, 1), and the sensible one at its ends (the integral itself would lose half the mass).

    Guarantee: absolute error below 1e−6 (Gauss–Legendre panels around both the normal bulk and the binomial step).
    Assumes: nothing; mass of the normal distribution outside [0, 1] counts as not reaching, as published.
    Rounds: not at all.
    Source: the early-termination rule of the published procedure.
    """
    b, k, m, s = (np.asarray(x, float)[..., None, None] for x in np.broadcast_arrays(bar, draws, mean, sd))
    width = np.where(s > 0, s, 1.0)
    edges = _edges(b[..., 0], k[..., 0], m[..., 0], width[..., 0])
    half = np.diff(edges)[..., None] / 2
    x = edges[..., :-1, None] + half * (1 + NODES)
    density = np.exp(-0.5 * ((x - m) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    integral = (_reach(b, k, x) * density * half * WEIGHTS).sum(axis=(-1, -2))
    return np.where(s[..., 0, 0] > 0, integral, _reach(b, k, m)[..., 0, 0])


def _edges(
    b: NDArray[np.float64], k: NDArray[np.float64], mean: NDArray[np.float64], sd: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Panel edges, shape (…, 9): the bulk of the normal density and the step of the binomial tail at about b / k."""
    step = np.clip(b / (k + 1), 0, 1)
    width = np.sqrt(step * (1 - step) / (k + 2))
    edges = np.concatenate([mean + sd * np.array([-8, -2.5, 2.5, 8]), step + width * np.array([-6, -2, 0, 2, 6])], -1)
    return np.sort(np.clip(edges, np.clip(edges[..., :1], 0, 1), np.clip(edges[..., 3:4], 0, 1)), axis=-1)


def _reach(b: NDArray[np.float64], k: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(Bin(k, x) ≥ b)."""
    inside = betainc(np.clip(b, 1, k), np.clip(k - b + 1, 1, k), np.clip(x, 0, 1))
    return np.where(b <= 0, 1.0, np.where(b > k, 0.0, inside))
