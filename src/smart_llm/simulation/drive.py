"""Drivers: whoever answers, the procedure is the very same object.

A population (recorded or simulated) is answered from arrays by `drive`; the live engine answers by calling models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smart_llm.routing import assign, route
from smart_llm.types import (
    BAD,
    DEFER,
    ERROR,
    NOT_ASKED,
    Answers,
    Ask,
    Cascade,
    Floats,
    Ints,
    Marks,
    Problem,
    Procedure,
    Traits,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Population:
    """Every model's mark on every row, known beforehand. Arrays of shape (N, 1 + m), column 0 = reference. calls: the
    number of the call that a model's answer to a row comes in (None: every row has its own)."""

    marks: Marks
    cost: Floats
    score: Floats
    traits: Traits | None = None
    calls: Ints | None = None

    def bought(self, paid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is paid for where these answers are: those of the other rows of their calls too."""
        if self.calls is None:
            return paid
        made = [np.isin(calls, calls[asked]) for calls, asked in zip(self.calls.T, paid.T, strict=True)]
        return np.stack(made, axis=1)

    def answer(self, ask: Ask) -> Answers:
        """What the models asked would have said."""
        columns = np.zeros(self.marks.shape[1], dtype=bool)
        columns[list(ask.models)] = True
        marks = np.where(columns, self.marks[ask.positions], np.int8(NOT_ASKED))
        if not columns[0]:  # without the reference only a broken contract shows
            marks = np.where(marks == DEFER, marks, np.int8(NOT_ASKED))
        return Answers(
            marks.astype(np.int8),
            np.where(columns, self.cost[ask.positions], 0.0),
            np.where(columns, self.score[ask.positions], np.nan),
            None if self.traits is None else seen_of(self.traits, ask.positions, columns),
        )


def seen_of(traits: Traits, positions: Ints, columns: NDArray[np.bool_]) -> Traits:
    """The traits of these rows, as far as the models asked show them."""
    here = traits.rows(positions)
    return replace(here, key=np.where(columns, here.key, 0), length=np.where(columns, here.length, np.nan))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run over a population. cost: USD. misses: delivered rows not equivalent, errors included."""

    verdict: Verdict
    cost: float
    misses: int
    profiled: int
    reference_rows: int
    delivered_by: Ints


def drive(procedure: Procedure, problem: Problem, answer: Callable[[Ask], Answers]) -> Verdict:
    """Run a procedure to its end, answering every ask at once."""
    conversation = procedure(problem)
    try:
        ask = next(conversation)
        while True:
            ask = conversation.send(answer(ask))
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict


class Answering(Protocol):
    """A population that may change as it is asked, and what it is now."""

    population: Population

    def answer(self, ask: Ask) -> Answers:
        """What the models asked would have said."""
        ...


def simulate(
    procedure: Procedure, problem: Problem, population: Population, taught: Answering | None = None
) -> Outcome:
    """Profile and deliver on a known population: what it cost, and how many delivered rows were misses. taught: the
    same population, where one of its candidates is taught in the run.

    Every call is paid once: a profiled row's reference answer is delivered, a candidate's answer bought while
    profiling is not bought again.
    """
    paid = np.zeros(population.marks.shape, dtype=bool)

    def answer(ask: Ask) -> Answers:
        paid[np.ix_(ask.positions, np.array(ask.models, np.int64))] = True
        return (taught or population).answer(ask)

    verdict = drive(procedure, problem, answer)
    by = assign(verdict, problem.seed, problem.rows)
    if isinstance(verdict.rule, Cascade):
        left = np.setdiff1d(np.arange(problem.rows), verdict.profiled)
        by[left] = route(
            verdict.rule, problem.seed, problem.rows, left, lambda rows, models: answer(Ask(rows, models, "deliver"))
        )
    population = taught.population if taught else population
    rows = np.arange(problem.rows)
    paid[rows, by] = True
    deferred = population.marks[rows, by] == DEFER
    by = np.where(deferred, 0, by)
    paid[rows, by] = True
    delivered = population.marks[rows, by]
    return Outcome(
        verdict=verdict,
        cost=float(population.cost[population.bought(paid)].sum()),
        misses=int(np.isin(delivered, (BAD, ERROR)).sum()),
        profiled=len(verdict.profiled),
        reference_rows=int((by == 0).sum()),
        delivered_by=by,
    )


def prospects(population: Population, unknown: int = 0) -> tuple[list[float], list[float]]:
    """Per model: price of a row sent to it, deferrals included, as a share of the reference's; true share of misses.
    unknown: a candidate that has said nothing yet, left out."""
    if unknown:
        kept = np.delete(np.arange(population.marks.shape[1]), unknown)
        population = Population(population.marks[:, kept], population.cost[:, kept], population.score[:, kept])
    reference = population.cost[:, :1]
    deferred = (population.marks == DEFER) & (np.arange(population.marks.shape[1]) > 0)
    cost = (population.cost + deferred * reference).sum(axis=0) / reference.sum()
    error = population.marks[:, :1] == ERROR
    missed = np.isin(population.marks, (BAD, ERROR)) | (deferred & error)
    return cost.tolist(), missed.mean(axis=0).tolist()
