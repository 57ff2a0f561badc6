"""What ways of one model are believed to do, given what pilot rows show of some of them. Costs only, never the promise.

Some rows are hard for a model, however it is asked: there it errs, but for a few rows on which one way happens to get
it right. On the other rows a way errs where its shorter prompt, or the company of other rows, leads it astray. So ways
of one model are compared on the same rows, where most of what is left to chance is the same for all of them, and what
one has shown tells most of what another one, never asked, would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smart_llm.types import AGREE, BAD, Floats

DRAWS = 400
"""Joint draws of what ways may do."""
SWEEPS = 15
"""Steps of the sampler that they come from."""
HARD = (0.5, 2.0)
"""Beta prior of the share of rows that are hard for a model: of a fifth, in the mean, and anything is possible."""
ASTRAY, COMPANY, LESS = 0.01, 0.2, 2.0
"""Mean share of the other rows that a way leads astray; how much of it comes on top for every doubling of the rows in a
call, and for every halving of its price beside the dearest way of the model with as many: it is told or shown less."""
LUCK = (1.0, 9.0)
"""Beta prior of the share of hard rows that a way gets right all the same."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What pilot rows show of the ways of one model. bad: shape (rows, ways): 1 for another answer than the
    reference's, 0 for an equivalent one, NaN where there is none or nobody asked. astray: shape (ways,), the mean share
    of the rows that are not hard on which each is believed to err."""

    bad: Floats
    astray: Floats

    @classmethod
    def of(cls, marks: NDArray[np.int8], packs: Sequence[float], prices: Sequence[float]) -> Shown:
        """From marks of shape (rows, ways), the rows in a call and the prices of a row."""
        bad = np.where(marks == BAD, 1.0, np.where(marks == AGREE, 0.0, np.nan))
        return cls(bad, astray(packs, prices))


def astray(packs: Sequence[float], prices: Sequence[float]) -> Floats:
    """Shape (ways,), see `Shown`."""
    calls, paid = np.maximum(1.0, np.array(packs, float)), np.maximum(1e-12, np.array(prices, float))
    dearest = np.array([paid[np.isclose(calls, call, rtol=0.25)].max() for call in calls])
    return np.asarray(ASTRAY * (1 + COMPANY * np.log2(calls) + LESS * np.log2(dearest / paid)))


def bad_rates(shown: Shown, seed: int) -> Floats:
    """Shape (DRAWS, ways): joint draws of the share of rows that each way errs on, given what was shown, by Gibbs
    sampling, one chain a draw."""
    rng, told = np.random.default_rng(seed), shown.bad[~np.isnan(shown.bad).all(axis=1)]
    known, bad = ~np.isnan(told), np.nan_to_num(told)
    wrong, right = (bad * known), ((1 - bad) * known)
    mean = shown.astray
    hard = np.broadcast_to(wrong.sum(axis=1) > known.sum(axis=1) / 2, (DRAWS, len(bad))).astype(float)
    for _ in range(SWEEPS):
        share = _beta(rng, HARD[0] + hard.sum(axis=1), HARD[1] + (1 - hard).sum(axis=1))
        lucky = _beta(rng, LUCK[0] + hard @ right, LUCK[1] + hard @ wrong)
        misled = _beta(rng, 1.0 + (1 - hard) @ wrong, 1 / mean - 1 + (1 - hard) @ right)
        odds = np.log(share / (1 - share))[:, None]
        odds = odds + (np.log1p(-lucky) - np.log(misled)) @ wrong.T + (np.log(lucky) - np.log1p(-misled)) @ right.T
        hard = (rng.random(odds.shape) < 1 / (1 + np.exp(-np.clip(odds, -50, 50)))).astype(float)
    return np.asarray(share[:, None] * (1 - lucky) + (1 - share[:, None]) * misled)


def _beta(rng: np.random.Generator, a: Floats, b: Floats) -> Floats:
    """Draws, away from 0 and 1."""
    return np.asarray(np.clip(rng.beta(a, b), 1e-9, 1 - 1e-9))
