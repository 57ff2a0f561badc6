"""What a run is likely to cost: intervals, from priors alone or from a pilot. Nothing here touches the promise.

*From priors*: `planning` says what each of its equally likely bad rates would cost in the end. It is a guess, made
before anything is known of the models.

*From a pilot*: populations like the table are drawn from what the pilot leaves open, and the shipped procedure is run
on them (`drive.simulate`), as often as time allows. A population is a Bayesian bootstrap of the pilot's rows, so what
belongs together stays together: marks of several candidates, costs, scores, lengths. A small pilot may have seen no bad
row of a good candidate, so the bootstrap has one more row for every candidate on which it is bad, with the weight of
the beta prior (`UNSEEN`). Scores are smoothed: a good row's within its own place in the order, a bad row's over a wider
range (`SPREAD`), because a few bad rows tell little about where the others stand.

A simulated run takes about a second, so few can be made. They are made where they tell most: many draws are ranked by
what the best mix would cost if their rates were known (`stats.hindsight`), and the simulated ones are spread evenly
over these ranks. Their extremes, the upper one moved out (`UPWARD`), are the ends of a nominal 95 % interval;
`benchmarks/forecast.py` measures how often it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from smart_llm import procedures
from smart_llm.procedures.mix.forecast import Field, Seen
from smart_llm.simulation.drive import Population, prospects, simulate
from smart_llm.stats.hindsight import best_mix
from smart_llm.types import AGREE, BAD, Answers, Floats, Ints, Marks, Problem

UNSEEN = 0.5
"""Weight of a bad row nobody has seen, in pilot rows."""
SPREAD = 0.15
"""How far from where it was seen a bad row's like may stand in the order of scores, as a share of the rows."""
KNOWING = 3.0
"""Where scores know something: an unseen bad row stands before the share x of the rows with chance x^KNOWING."""
RANKED = 200
"""Draws that are ranked, of which some are simulated."""
UPWARD = 1.15
"""How much farther above the median than the largest simulated cost the interval reaches, on the scale of logarithms: a
pilot's luck is found out in the run, so most surprises are expensive ones."""
MOST_ROWS = 50_000
"""Larger tables are simulated at this size: profiling then counts for a little too much."""
OVERRUN = 1.06
"""No run costs more than about this share of the reference alone."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much may be spent on simulating: at most `runs` runs, none begun after `seconds`, but at least `least`."""

    runs: int = 24
    seconds: float = 15.0
    least: int = 5


@dataclass(frozen=True, slots=True)
class Forecast:
    """Costs of the rows left to a run, as shares of what the reference alone is expected to cost there: expected value
    and ends of a nominal 95 % interval.

    runs: simulated runs behind it, 0 for a guess from priors. certified: the share of them that certified something.
    reference_share: expected share of the rows that the reference answers.
    """

    expected: float
    low: float
    high: float
    runs: int
    certified: float | None
    reference_share: float


# --------------------------------------------------------------------------- from priors


def guess(problem: Problem) -> Forecast:
    """Before anything was asked."""
    cheaper = {
        j: Seen(problem.rates[j] / problem.rates[0], floor=float(problem.floor))
        for j in range(1, len(problem.rates))
        if problem.rates[j] < problem.rates[0]
    }
    if not cheaper:
        return Forecast(1.0, 1.0, 1.0, 0, None, 1.0)
    field = Field(problem.rows, max(0, problem.allowance), problem.alpha, cheaper)
    cost = np.minimum(OVERRUN, field.cost(field.finalists()) / problem.rows)
    low, high = np.quantile(cost, (0.025, 0.975))
    return Forecast(float(cost.mean()), float(low), float(high), 0, None, float(cost.mean()))


# --------------------------------------------------------------------------- from a pilot


@dataclass(frozen=True, slots=True)
class Urn:
    """A pilot to draw populations from. sheet: its answers, every model asked about every row."""

    sheet: Answers
    seed: int = 0

    def weights(self) -> Iterator[Floats]:
        """Draws of how common rows like each of the pilot's, and the unseen ones, are: shape (rows + candidates,)."""
        rows, models = self.sheet.marks.shape
        rng = np.random.default_rng([self.seed, 1])
        shape = np.r_[np.ones(rows), np.full(models - 1, UNSEEN)]
        for _ in range(RANKED):
            drawn = np.asarray(rng.gamma(shape))
            yield drawn / drawn.sum()

    def population(self, weights: Floats, rows: int, number: int) -> Population:
        """So many rows, as common as the weights say."""
        rng = np.random.default_rng([self.seed, 2, number])
        base = self._with_unseen(rng)
        chosen = rng.choice(len(weights), size=rows, p=weights)
        score = np.column_stack(
            [_smoothed(base.score[:, j], base.marks[:, j] == BAD, chosen, rng) for j in range(base.score.shape[1])]
        )
        traits = base.traits and base.traits.rows(chosen)
        return Population(base.marks[chosen], base.cost[chosen], score, traits)

    def _with_unseen(self, rng: np.random.Generator) -> Answers:
        """The pilot's rows and, for every candidate, one more like one of them on which it is bad."""
        rows, models = self.sheet.marks.shape
        like = np.r_[np.arange(rows), rng.integers(rows, size=models - 1)]
        marks, score = self.sheet.marks[like], self.sheet.score[like]
        traits = self.sheet.traits
        key = None if traits is None else traits.key[like]
        knows: NDArray[np.bool_] = np.asarray(rng.random(models)) < 0.5
        for j in range(1, models):
            at = rows + j - 1
            marks[at, j] = BAD
            if knows[j]:
                score[at, j] = _behind(self.sheet.score[:, j], rng.random() ** (1 / KNOWING))
            if key is not None:
                others = np.unique(key[:rows])
                others = others[others != key[at, 0]]
                key[at, j] = rng.choice(others) if len(others) else key[at, 0] + 1
        told = None if traits is None or key is None else replace(traits.rows(like), key=key)
        return Answers(marks, self.sheet.cost[like], score, told)


def _behind(score: Floats, place: float) -> float:
    """The score at this place, surest first."""
    known = np.sort(score[~np.isnan(score)])[::-1]
    return float(np.quantile(-known, place) * -1) if len(known) else float("nan")


def _smoothed(score: Floats, bad: NDArray[np.bool_], chosen: Ints, rng: np.random.Generator) -> Floats:
    """Scores of drawn rows, moved about their places in the order of the pilot's."""
    known = np.flatnonzero(~np.isnan(score))
    if len(known) < 2:
        return np.asarray(score[chosen])
    ordered, place = np.sort(score[known]), np.full(len(score), np.nan)
    place[known] = (np.argsort(np.argsort(score[known], kind="stable")) + 0.5) / len(known)
    width = np.where(bad[chosen], SPREAD, 0.5 / len(known))
    moved = place[chosen] + width * rng.standard_normal(len(chosen))
    moved = np.abs(moved)
    moved = np.where(moved > 1, 2 - moved, moved)
    return np.asarray(
        np.interp(moved, (np.arange(len(known)) + 0.5) / len(known), ordered, left=ordered[0], right=ordered[-1])
    )


def simulated(procedure: str, problem: Problem, sheet: Answers, *, effort: Effort, seed: int = 0) -> Forecast:
    """From a pilot's answers. problem: of the rows that are left to the run, with the rows set aside."""
    start, urn = perf_counter(), Urn(sheet, seed)
    order = _ranked(urn, problem)
    small = _of_size(problem, min(problem.rows, MOST_ROWS))
    ratios, certified, shares, alone = [], [], [], []
    whole = small.rows * float(sheet.cost[:, 0].mean())
    for number, weights in enumerate(order[: effort.runs]):
        if number >= effort.least and perf_counter() - start > effort.seconds:
            break
        population = urn.population(weights, small.rows, number)
        outcome = simulate(procedures.get(procedure), replace(small, seed=seed + number), population)
        ratios.append(outcome.cost / whole)
        alone.append(float(population.cost[:, 0].sum()) / whole)
        certified.append(outcome.verdict.granted)
        shares.append(outcome.reference_rows / small.rows)
    costs = np.log(np.array(ratios))
    middle = np.median(costs)
    low = float(np.exp(costs.min()))
    high = min(float(np.exp(middle + UPWARD * (costs.max() - middle))), OVERRUN * max(alone))
    return Forecast(float(np.mean(ratios)), low, high, len(ratios), float(np.mean(certified)), float(np.mean(shares)))


def _of_size(problem: Problem, rows: int) -> Problem:
    """The problem on a smaller table, where it is larger; with the same share of everything."""
    if rows == problem.rows:
        return problem
    part = rows / problem.rows
    return replace(problem, rows=rows, set_aside=0, lost=0, reserve=int(problem.reserve * part))


def _ranked(urn: Urn, problem: Problem) -> list[Floats]:
    """Draws of weights, so ordered that any number of the first ones is spread evenly over what the best mix costs."""
    allowed = problem.allowance / problem.rows
    draws = list(urn.weights())
    rows, models = urn.sheet.marks.shape
    marks = np.vstack([urn.sheet.marks, np.full((models - 1, models), AGREE, np.int8)])
    cost = np.vstack([urn.sheet.cost, np.tile(urn.sheet.cost.mean(axis=0), (models - 1, 1))])
    marks[rows + np.arange(models - 1), np.arange(1, models)] = BAD
    best = [best_mix(*prospects(_weighed(marks, cost, weights)), allowed) for weights in draws]
    ranks = np.argsort(best, kind="stable")
    return [draws[ranks[int(place * len(draws))]] for place in _spread(len(draws))]


def _weighed(marks: Marks, cost: Floats, weights: Floats) -> Population:
    """A thousand rows in these proportions, for their rates."""
    rows = np.repeat(np.arange(len(weights)), np.round(1000 * weights).astype(int))
    return Population(marks[rows], cost[rows], np.zeros((len(rows), marks.shape[1])))


def _spread(count: int) -> list[float]:
    """Places in [0, 1), each as far from those before it as can be: van der Corput's numbers."""
    places = []
    for number in range(1, count + 1):
        place, step = 0.0, 0.5
        while number:
            place, number, step = place + step * (number & 1), number >> 1, step / 2
        places.append(place)
    return places
