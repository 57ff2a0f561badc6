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
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.money import LIKELY
from smart_llm.stats.sampling import uniforms
from smart_llm.stats.special import expit, gammaincinv, ndtri
from smart_llm.types import Floats, Score

DRAWS = 160


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of γ before the pilot: a gamma prior of that weight and mean where the score knows something,
    and the probability that it knows nothing."""

    weight: float
    mean: float
    useless: float


OWN, ALONE, PEERS = Belief(2.0, 3.0, 0.5), Belief(6.0, 1.4, 0.4), Belief(4.0, 2.6, 0.1)
"""By what a score is made of: the candidate's log-probability; what its answer and the text look like; whether another
candidate says the same."""
TAUGHT = Belief(2.0, 3.0, 0.1)
"""The probability that a candidate taught in the run gives its own answer: fitted to the task itself, it hardly ever
knows nothing where its answers do know something."""
EVEN = 10.0
"""Rows' worth of prior belief that reference costs do not depend on the score."""
LOG_SHAPES = np.linspace(np.log(0.2), np.log(60.0), 60)
SHAPES = np.exp(LOG_SHAPES)
"""The values of γ that are weighed."""
DEVIATES = ndtri((np.arange(6) + 0.5) / 6)[:, None, None]
"""Shape (6, 1, 1): normal deviates that stand for what only the look decides, averaged over."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Posterior draws of δ and γ, shape (DRAWS,) each. kept: share of rows that can be delivered at all (contract kept,
    score known). dear: the surest share x holds the share x^dear of what the reference would cost (above 1 where rows
    that are hard are also long). useless: posterior probability that the score knows nothing."""

    rate: Floats
    kept: float
    shape: Floats
    dear: float
    useless: float


@lru_cache(maxsize=8)  # one run asks for the same ones many times
def row_weights(seed: int, rows: int) -> Floats:
    """Shape (DRAWS, rows), read-only: exponential weights of the pilot rows. The same for all ways to order rows, so
    that draws of different ways belong together (Bayesian bootstrap)."""
    raw = uniforms(seed, "forecast weights", DRAWS * rows)
    return _read_only(np.asarray(-np.log((raw + 0.5) / 2.0**64).reshape(DRAWS, rows)))


@lru_cache(maxsize=32)
def prior_draws(seed: int, what: str, weight: float) -> Floats:
    """Shape (DRAWS,), read-only: gamma draws of that weight, one in each of DRAWS equal cells of probability."""
    return _read_only(np.asarray(gammaincinv(weight, quantiles(seed, what))))


@lru_cache(maxsize=64)
def quantiles(seed: int, what: str) -> Floats:
    """Shape (DRAWS,), read-only: one uniform in each of DRAWS equal cells, in seeded random order."""
    raw = uniforms(seed, f"forecast {what}", 2 * DRAWS)
    return _read_only(np.asarray((np.argsort(raw[:DRAWS], kind="stable") + raw[DRAWS:] / 2.0**64) / DRAWS))


def _read_only(values: Floats) -> Floats:
    """The array itself, which nobody can change any more: it is shared by whoever asks for the same one."""
    values.setflags(write=False)
    return values


@dataclass(frozen=True, slots=True)
class Shown:
    """What pilot rows show of one candidate, arrays of shape (n,): would it be bad, could it be delivered at all, what
    the reference cost. weights: shape (DRAWS, n), from `row_weights`."""

    bad: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    cost: Floats
    weights: Floats


def blind(shown: Shown, seed: int) -> Curve:
    """The posterior of no order at all."""
    return Curve(*_rate(shown, shown.kept, seed), np.ones(DRAWS), 1.0, 1.0)


def curve(score: Floats, shown: Shown, *, prior: Belief, seed: int) -> Curve:
    """The posterior of one way to order rows. A bad row is known to stand somewhere among the rows it ties with."""
    usable = shown.kept & ~np.isnan(score)
    wrong, cost = (usable & shown.bad)[usable], shown.cost[usable]
    spans, places = spread(score[usable])
    rate, kept = _rate(shown, usable, seed)
    within = log_chance(spans[wrong])
    shape = highest(pulls(prior, seed) + shown.weights[:, usable & shown.bad] @ within)
    belief, total = density(prior)
    knows = log_sum(belief + within.sum(axis=0)) - total - float(np.log(spans[wrong] @ (-1.0, 1.0)).sum())
    useless = float(expit(np.log(prior.useless) - np.log1p(-prior.useless) - knows))
    spent = cost / cost.mean() if cost.sum() > 0 else np.ones(len(cost))
    dear = (EVEN + float(places.sum())) / (EVEN + float(spent @ places))
    return Curve(rate, kept, np.where(quantiles(seed, "blind") < useless, 1.0, shape), dear, useless)


@lru_cache(maxsize=8)
def pulls(prior: Belief, seed: int) -> Floats:
    """Shape (DRAWS, len(SHAPES)), read-only: what a draw of the prior adds to the objective whose highest point is a
    draw of γ."""
    a, b = prior.weight, prior.weight / prior.mean
    return _read_only(a * LOG_SHAPES - np.outer(b * prior_draws(seed, "shape", a) / a, SHAPES))


@lru_cache(maxsize=8)
def density(prior: Belief) -> tuple[Floats, float]:
    """Log of the density of log γ at `LOG_SHAPES`, read-only, but for a constant; and `log_sum` of it."""
    belief = _read_only(prior.weight * LOG_SHAPES - prior.weight / prior.mean * SHAPES)
    return belief, log_sum(belief)


def _rate(shown: Shown, usable: NDArray[np.bool_], seed: int) -> tuple[Floats, float]:
    """Posterior draws of δ, shape (DRAWS,), and the share of rows that can be delivered at all."""
    wrong = usable & shown.bad
    bad = shown.weights[:, wrong].sum(axis=1) + prior_draws(seed, "rate", 0.5)
    good = shown.weights[:, ~wrong].sum(axis=1) + prior_draws(seed, "rest", 1.0)
    return bad / (bad + good), float((usable.sum() + 0.5) / (len(usable) + 0.5))


def log_chance(spans: Floats) -> Floats:
    """Shape (n, len(SHAPES)): log of h^γ − l^γ, the chance that a bad row stands between the shares l and h. spans:
    shape (n, 2), l and h."""
    low, high = np.log(np.maximum(spans, 1e-12)).T[:, :, None]
    return np.asarray(SHAPES * high + np.log(-np.expm1(SHAPES * (low - high))))


def highest(objective: Floats) -> Floats:
    """Shape (draws,): where each row of `objective`, shape (draws, len(SHAPES)), is highest, between the points too."""
    row, at = np.arange(len(objective)), np.clip(objective.argmax(axis=1), 1, len(SHAPES) - 2)
    before, here, after = objective[row, at - 1], objective[row, at], objective[row, at + 1]
    bend = before - 2 * here + after
    step = np.where(bend < 0, (before - after) / (2 * np.minimum(bend, -1e-12)), 0.0)
    return np.asarray(np.exp(LOG_SHAPES[at] + np.clip(step, -1.0, 1.0) * (LOG_SHAPES[1] - LOG_SHAPES[0])))


def log_sum(values: Floats) -> float:
    """log Σ exp."""
    top = float(values.max())
    return top + float(np.log(np.exp(values - top).sum()))


def spread(score: Floats) -> tuple[Floats, Floats]:
    """Where each row stands, surest first: the shares of the rows between which it and those it ties with lie, shape
    (n, 2), and −log of its place, shape (n,), the mean of theirs."""
    if not (rows := len(score)):
        return np.zeros((0, 2)), np.zeros(0)
    order = np.argsort(-score, kind="stable")
    first = np.append(True, np.diff(score[order]) != 0)
    start, group = np.flatnonzero(first), np.cumsum(first) - 1
    end = np.append(start[1:], rows)
    depth = np.add.reduceat(depths(rows), start) / (end - start)
    spans, places = np.empty((rows, 2)), np.empty(rows)
    spans[order] = np.stack([start, end], axis=1)[group] / rows
    places[order] = depth[group]
    return spans, places


@lru_cache(maxsize=64)
def depths(rows: int) -> Floats:
    """Shape (rows,), read-only: −log of the share of the rows before each place, surest first."""
    return _read_only(-np.log((np.arange(rows) + 0.5) / rows))


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A tier as it is forecast: how its score orders the rows that reach it, which share of them it takes at most, and
    the price of its calls, in reference calls a row."""

    curve: Curve
    price: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Reached:
    """How far looks get by some tiers, in arrays that broadcast to (6, looks, DRAWS): bad rows before the stop that are
    left, whether it is behind, and the cost of a row so far; whether enough rows of the last tier agree. reach: share
    of the rows that gets as far as the next tier."""

    left: Floats
    ended: NDArray[np.bool_]
    rest: Floats
    fine: NDArray[np.bool_]
    reach: float


def look_costs(
    steps: Sequence[Step], rows: int, looks: tuple[tuple[int, int], ...], floor: float, *, passing: float = 1.0
) -> Floats:
    """Shape (looks, DRAWS): cost of looking and finishing, in reference calls. steps: tier after tier; passing: share
    of the rows that gets as far as the first. Finishing without candidates is counted where that is cheaper. A tier
    delivers nothing where no more than `floor` of its answers agree, and a look that is not likely to deliver anything
    of its last tier is counted as one that delivers nothing."""
    *heads, last = steps
    end = _onward(_after(tuple(heads), rows, looks, floor, passing), last, rows, floor)
    likely = end.fine.mean(axis=(0, 2)) >= LIKELY
    rest = np.where(likely[:, None], np.minimum(1.0, end.rest), 1.0)
    everyone, looked = sum(step.price for step in steps), _column(looks, 1)
    return np.asarray((looked * (1 + everyone) + (rows - looked) * rest).mean(axis=0))


@lru_cache(maxsize=8)  # several ends are weighed after the same heads
def _after(
    heads: tuple[Step, ...], rows: int, looks: tuple[tuple[int, int], ...], floor: float, passing: float
) -> Reached:
    """Where looks stand before the last tier."""
    if heads:
        return _onward(_after(heads[:-1], rows, looks, floor, passing), heads[-1], rows, floor)
    left = gamma_quantile(_column(looks, 0) + 1.0, DEVIATES) * rows / _column(looks, 1)
    one = np.ones((1, 1, 1))
    return Reached(left, one == 0, one, one == 1, passing)


def _column(looks: tuple[tuple[int, int], ...], which: int) -> Floats:
    """Shape (looks, 1): their credit (0), or the rows looked at (1)."""
    return np.array([look[which] for look in looks], dtype=np.float64)[:, None]


def _onward(before: Reached, step: Step, rows: int, floor: float) -> Reached:
    """By one more tier."""
    way, reach, ended = step.curve, before.reach, before.ended
    here = np.maximum(way.rate * rows * reach, 1e-12)
    stop = np.minimum(1.0, before.left / here) ** (1 / way.shape)
    taken = np.where(ended, 0.0, np.minimum(step.share, stop))
    fine = _fine(way, taken, 1 - floor)
    saved = np.where(fine, reach * way.kept * taken**way.dear, 0.0)
    rest = before.rest + (np.where(ended, 0.0, step.price * reach) - saved)
    left = np.maximum(0.0, before.left - here * step.share**way.shape)  # of looks that end here nobody asks
    return Reached(left, ended | (stop < step.share), rest, fine, reach * (1 - step.share))


def _fine(way: Curve, taken: Floats, most: float) -> NDArray[np.bool_]:
    """Shape of `taken`: whether fewer than `most` of the rows about the surest share taken are bad. Where the surer
    rows are no worse and few are bad in all, that is so however much is taken."""
    fine = np.ones(taken.shape, dtype=bool)
    doubted = np.flatnonzero((way.rate >= most) | (way.shape < 1))
    rate, shape = way.rate[doubted], way.shape[doubted]
    fine[..., doubted] = rate * np.maximum(taken[..., doubted], 1e-12) ** (shape - 1) < most
    return fine


def mix_costs(way: Curve, price: float, rows: int, allowance: int, alpha: float, floor: float) -> Floats:
    """Shape (looks, DRAWS): what a blind share would cost, in reference calls, one look at n rows for n on a grid.
    Nothing is delivered where no more than `floor` of the answers agree.

    The share is the Poisson approximation of the largest r with P(Hyp(n + r, B + d + 1, n) ≤ d) ≤ α.
    """
    looked = np.unique(np.geomspace(10, max(11, rows // 2), 16).astype(np.int64))[:, None].astype(np.float64)
    mean = way.rate * looked
    seen = np.maximum(0.0, mean + np.sqrt(mean) * DEVIATES)
    sure = gamma_quantile(seen + 1.0, float(ndtri(1 - alpha))) / (allowance + seen + 1.0)
    sure = np.maximum(sure, 1e-12)  # with hardly any confidence asked for it vanishes
    share = np.clip((looked / sure - looked) / np.maximum(1, rows - looked), 0.0, 1.0)
    saved = np.maximum(0.0, share * (way.kept - price)) * (way.rate < 1 - floor)
    return np.asarray((looked * (1 + price) + (rows - looked) * (1 - saved)).mean(axis=0))


def gamma_quantile(weight: Floats, normal: Floats | float) -> Floats:
    """Quantile of a unit-scale gamma distribution at the normal deviate `normal` (Wilson and Hilferty's cube)."""
    return np.asarray(weight * np.maximum(0.0, 1 - 1 / (9 * weight) + normal / (3 * np.sqrt(weight))) ** 3)


def value_of_more(costs: Sequence[Floats], pilot: int, more: int) -> float:
    """Reference calls that `more` pilot rows would save by a better choice, before their own price.

    costs: arrays (actions, DRAWS), draws belonging together. Linear approximation: `more` rows on top of `pilot` tell
    the share more / (pilot + more) of the variance of every cost.
    """
    table = np.concatenate(costs)
    mean = table.mean(axis=1, keepdims=True)
    told = mean + np.sqrt(more / (pilot + more)) * (table - mean)
    return float(mean.min() - told.min(axis=0).mean())


# --------------------------------------------------------------------------- scores learned on the pilot


PRIORS = {
    "same": (-2.0, 1.0),
    "usual": (0.0, 1.5),
    "answer_length": (0.3, 0.5),
    "text_length": (0.3, 0.5),
    "word": (0.0, 0.2),
}
"""Kind of trait → prior mean and deviation of its weight in the log-odds of a bad row (lengths and words: per standard
deviation): answers that others repeat are better, long rows and answers worse; usual answers, words: either."""
SCALED = ("answer_length", "text_length", "word")


def learn(names: Sequence[str], traits: Floats, bad: NDArray[np.bool_]) -> tuple[Score, Floats]:
    """A score fitted to pilot rows, and what it says of each of them when fitted without it (five folds).

    names: the traits, in `scores.traits` spelling. traits: shape (n, k), finite. bad: shape (n,). The fit is a logistic
    regression with the priors above, so that it is sensible from the first row on.
    """
    centre, scale = np.zeros(traits.shape[1]), np.ones(traits.shape[1])
    for column, name in enumerate(names):
        if name.partition(":")[0] in SCALED:
            centre[column], scale[column] = traits[:, column].mean(), max(float(traits[:, column].std()), 1e-6)
    design = np.column_stack([np.ones(len(bad)), (traits - centre) / scale])
    prior = np.array([(-1.5, 1.5), *(PRIORS[name.partition(":")[0]] for name in names)])
    held = np.arange(5)[:, None] == np.arange(len(bad)) % 5
    fits = _fit(design, bad, np.vstack([~held, np.ones(len(bad), dtype=bool)]), prior)
    said = -(fits[:5] @ design.T)[held.argmax(axis=0), np.arange(len(bad))]
    weights = -fits[5, 1:] / scale
    return Score(tuple((name, float(f"{weight:.6g}")) for name, weight in zip(names, weights, strict=True))), said


def _fit(design: Floats, bad: NDArray[np.bool_], used: NDArray[np.bool_], prior: Floats) -> Floats:
    """Shape (fits, 1 + k): posterior modes, each of the rows it uses, by Newton's method in steps of at most 1. used:
    shape (fits, n). prior: shape (1 + k, 2), mean and deviation."""
    precision = prior[:, 1] ** -2.0
    weights = np.tile(prior[:, 0], (len(used), 1))
    for _ in range(40):
        chance = expit(weights @ design.T)
        slope = (used * (bad - chance)) @ design - (weights - prior[:, 0]) * precision
        spread = (used * chance * (1 - chance))[:, :, None] * design
        bend = design.T @ spread + np.diag(precision)
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        weights += step / np.maximum(1.0, longest)
        if longest.max() < 1e-9:
            break
    return weights
