"""What a cascade is likely to cost, from a small pilot; and whether a larger pilot would pay.

Nothing here touches the promise: forecasts choose the candidate, its score and the look, all from pilot rows, which are
never evidence. The model: of the rows in delivery order, the surest share x holds δ·N·x^γ bad ones. γ = 1 is a score
that knows nothing (some scores are like that: the prior keeps a lump of probability there), larger γ means that the bad
rows stand at the end. The pilot gives the number of bad rows (beta posterior of δ) and their ranks x (−log x is
exponential with rate γ: gamma posterior). Everything is averaged over a fixed set of posterior draws, made from
quantiles of seeded uniforms, so that a run is reproducible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrik, betaincinv, expit, gammaincinv, gammaln, logsumexp, ndtri

from smart_llm.stats.sampling import uniforms
from smart_llm.types import Floats, Ints, Score

DRAWS = 160
SHAPE_WEIGHT, SHAPE_MEAN = 4.0, 1.8
"""Gamma prior of γ where the score knows something."""
USELESS = 0.25
"""Prior probability that a score knows nothing."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the pilot shows of one way to order rows.

    seen: pilot rows. bad: how many of them the candidate would spoil. depth: Σ −log x over those. kept: share of rows
    that can be delivered at all (contract kept, score known).
    """

    seen: int
    bad: int
    depth: float
    kept: float


def sight(score: Floats, bad: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Sight:
    """Sum up pilot rows, each array of shape (n,). Tied rows share the mean of their places."""
    usable = kept & ~np.isnan(score)
    order = np.argsort(-score[usable], kind="stable")
    ranked, wrong = score[usable][order], bad[usable][order]
    place = -np.log((np.arange(len(order)) + 0.5) / max(1, len(order)))
    _, group = np.unique(-ranked, return_inverse=True)
    mean = np.bincount(group, place) / np.bincount(group) if len(order) else np.empty(0)
    share = (usable.sum() + 0.5) / (len(score) + 0.5)
    return Sight(len(score), int(wrong.sum()), float(mean[group][wrong].sum()), float(share))


@dataclass(frozen=True, slots=True)
class Curve:
    """Posterior draws of δ and γ, shape (DRAWS,) each. `kept` as in `Sight`."""

    rate: Floats
    shape: Floats
    kept: float


def quantiles(seed: int, what: str, count: int = DRAWS) -> Floats:
    """Shape (count,): one uniform in each of `count` equal cells, in seeded random order."""
    raw = uniforms(seed, f"forecast {what}", 2 * count)
    cells = np.argsort(raw[:count], kind="stable")
    return np.asarray((cells + raw[count:] / 2.0**64) / count)


def curve(seen: Sight, seed: int, what: str) -> Curve:
    """The posterior of one way to order rows; `what` names it, so that different ways are drawn independently."""
    rate = betaincinv(seen.bad + 0.5, seen.seen - seen.bad + 1.0, quantiles(seed, f"rate {what}"))
    a, b = SHAPE_WEIGHT, SHAPE_WEIGHT / SHAPE_MEAN
    informed = gammaincinv(a + seen.bad, quantiles(seed, f"shape {what}")) / (b + seen.depth)
    knows = a * np.log(b) - gammaln(a) + gammaln(a + seen.bad) - (a + seen.bad) * np.log(b + seen.depth)
    log = np.array([np.log1p(-USELESS) + knows, np.log(USELESS) - seen.depth])
    blind = quantiles(seed, f"blind {what}") < np.exp(log[1] - logsumexp(log))
    return Curve(rate, np.where(blind, 1.0, informed), seen.kept)


def look_costs(way: Curve, price: float, rows: int, looks: Sequence[tuple[int, int]], *, seed: int) -> Floats:
    """Shape (looks, DRAWS): cost of looking and finishing, in reference calls. price: of one row's calls before the
    reference is asked. Finishing without the candidate is counted where that is cheaper."""
    credit, looked = (np.array(column, dtype=np.float64)[:, None] for column in zip(*looks, strict=True))
    before = gammaincinv(credit + 1.0, quantiles(seed, "stop")[None, :]) * rows / looked
    share = np.minimum(1.0, before / np.maximum(way.rate * rows, 1e-9)) ** (1 / way.shape)
    delivered = way.kept * share
    return np.asarray(looked * (1 + price) + (rows - looked) * np.minimum(1.0, price + 1 - delivered))


def resight(way: Curve, seen: Sight, more: int, seed: int, what: str) -> tuple[Ints, Floats]:
    """What `more` pilot rows would show if draw k were the truth: (bad, depth), shape (DRAWS,) each."""
    u = quantiles(seed, f"bad {what}")
    bad = np.maximum(0, np.ceil(bdtrik(u, more, np.clip(way.rate, 1e-9, 1 - 1e-9)))).astype(np.int64)
    depth = np.where(bad > 0, gammaincinv(np.maximum(bad, 1), quantiles(seed, f"depth {what}")), 0.0) / way.shape
    return bad, depth


def evidence_weights(way: Curve, more: int, bad: Ints, depth: Floats) -> Floats:
    """Shape (DRAWS, DRAWS): log-likelihood of what draw k would show (rows) under draw l (columns)."""
    rate = np.clip(way.rate, 1e-9, 1 - 1e-9)[None, :]
    hits = bad[:, None]
    told = hits * np.log(rate) + (more - hits) * np.log1p(-rate)
    return np.asarray(told + hits * np.log(way.shape)[None, :] - depth[:, None] * way.shape[None, :])


def mix_costs(way: Curve, price: float, rows: int, allowance: int, alpha: float, *, seed: int) -> Floats:
    """Shape (looks, DRAWS): what a blind share would cost, in reference calls, one look at n rows for n on a grid.

    The share is the Poisson approximation of the largest r with P(Hyp(n + r, B + d + 1, n) ≤ d) ≤ α.
    """
    looked = np.unique(np.geomspace(10, max(11, rows // 2), 16).astype(np.int64))[:, None].astype(np.float64)
    mean = way.rate * looked
    seen = np.maximum(0.0, mean + np.sqrt(mean) * ndtri(quantiles(seed, "seen"))[None, :])
    sure = gammaincinv(seen + 1.0, 1 - alpha) / (allowance + seen + 1.0)
    share = np.clip((looked / sure - looked) / (rows - looked), 0.0, 1.0)
    saved = share * (1 - price - (1 - way.kept))
    return np.asarray(looked * (1 + price) + (rows - looked) * (1 - np.maximum(0.0, saved)))


def value_of_more(
    ways: Sequence[Curve], costs: Sequence[Floats], sights: Sequence[Sight], more: int, seed: int
) -> float:
    """Reference calls that `more` pilot rows would save by a better choice, before their own price.

    costs: one array (actions, DRAWS) per way. Exact for independent ways under the model: the draws stand for the truth
    in turn, and each way's posterior after what it would show is a reweighting of its draws.
    """
    now = min(float(cost.mean(axis=1).min()) for cost in costs)
    best = np.full(DRAWS, np.inf)
    for index, (way, cost, seen) in enumerate(zip(ways, costs, sights, strict=True)):
        bad, depth = resight(way, seen, more, seed, f"more {index}")
        log = evidence_weights(way, more, bad, depth)
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        best = np.minimum(best, (cost @ weight.T).min(axis=0))
    return now - float(best.mean())


# --------------------------------------------------------------------------- scores learned on the pilot


PRIORS = {"same": (-2.0, 1.0), "usual": (0.0, 1.5), "answer_length": (0.3, 0.5), "text_length": (0.3, 0.5)}
"""Kind of trait → prior mean and deviation of its weight in the log-odds of a bad row (lengths: per standard
deviation): answers that others repeat are better, long rows and answers worse, and the usual answer may be either."""


def learn(names: Sequence[str], traits: Floats, bad: NDArray[np.bool_]) -> tuple[Score, Floats]:
    """A score fitted to pilot rows, and what it says of each of them when fitted without it (five folds).

    names: the traits, in `tasks.scores` spelling. traits: shape (n, k), finite. bad: shape (n,). The fit is a logistic
    regression with the priors above, so that it is sensible from the first row on.
    """
    centre, scale = np.zeros(traits.shape[1]), np.ones(traits.shape[1])
    for column, name in enumerate(names):
        if name.endswith("_length"):
            centre[column], scale[column] = traits[:, column].mean(), max(float(traits[:, column].std()), 1e-6)
    design = np.column_stack([np.ones(len(bad)), (traits - centre) / scale])
    prior = np.array([(-1.5, 1.5), *(PRIORS[name.partition(":")[0]] for name in names)])
    folds = np.arange(len(bad)) % 5
    said = np.zeros(len(bad))
    for fold in range(5):
        held = folds == fold
        said[held] = -design[held] @ _fit(design[~held], bad[~held], prior)
    weights = -_fit(design, bad, prior)[1:] / scale
    return Score(tuple((name, float(f"{weight:.6g}")) for name, weight in zip(names, weights, strict=True))), said


def _fit(design: Floats, bad: NDArray[np.bool_], prior: Floats) -> Floats:
    """Posterior mode, by Newton's method. prior: shape (1 + k, 2), mean and deviation."""
    weights, precision = prior[:, 0].copy(), prior[:, 1] ** -2.0
    for _ in range(12):
        chance = expit(design @ weights)
        slope = design.T @ (bad - chance) - (weights - prior[:, 0]) * precision
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(bend, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights
