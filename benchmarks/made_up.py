"""Made-up tables, and runs of what ships over them: shared by `promise.py` and `ceiling.py`.

A `Cell` is one fixed table with one promise asked of it. Its runs differ in the seed alone, which is what the promise
is about: for every table, the probability over the seeded order. Nothing of the project is replaced; runs go through
`procedures.get(NAME)` and `simulation.drive.simulate`, as those of `smart replay` do, in one process.

answers   distinct  no two reference answers are alike: nothing to learn      labels  two, dealt at random
          rare      bad rows have a rare label                                usual   most bad answers are the same one
scores    none      blind  knows nothing     trap  surest where bad           split  half of the bad rows surest of all
          ties      three values, weakly informative       top  most rows tie at the maximum       keen  knows a lot
          gaps      the same, and one row in seven has none                   lone   one value
bad rows  together  of all candidates the same ones first      apart  at random      beside  others, as far as may be
text      none      blind  lengths and words at random         tells  which rows are bad   lures  half of them look easy
defers    none      some   good answers, at random             beside many, like bad rows in every way
costs     even      uneven by row             dear  bad rows cost twice as much
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import lru_cache
from time import process_time
from zlib import crc32

import numpy as np
from common import missed, ratio
from numpy.typing import NDArray

from smart_llm import procedures
from smart_llm.simulation.drive import Outcome, Population, simulate
from smart_llm.types import AGREE, BAD, DEFER, ERROR, WORDS, Floats, Ints, Marks, Problem, Traits

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """A table and a promise. bad: bad rows of each candidate; lost: rows the reference has no answer for, which
    are bad for all candidates besides; reserve: how many of them are set aside for beforehand (None: as many as there
    are, as `smart replay` does); prices: expected, in reference calls; factors: what a candidate's calls cost, times
    its price (empty: what was expected); number: which table of that kind."""

    rows: int
    agreement: str
    confidence: str
    bad: tuple[int, ...]
    prices: tuple[float, ...]
    answers: str = "distinct"
    scores: str = "none"
    placed: str = "apart"
    text: str = "none"
    defers: str = "none"
    costs: str = "even"
    lost: int = 0
    reserve: int | None = None
    blocks: bool = False
    factors: tuple[float, ...] = ()
    number: int = 0

    @property
    def name(self) -> str:
        """What --only matches, and what its seeds are made of."""
        prices, bad = (" ".join(map(str, each)) for each in (self.prices, self.bad))
        first = f"N={self.rows} agreement={self.agreement} confidence={self.confidence} bad={bad} prices={prices}"
        plain = Cell(self.rows, self.agreement, self.confidence, self.bad, self.prices)
        other = [f.name for f in fields(self)[5:] if getattr(self, f.name) != getattr(plain, f.name)]
        return " ".join([first, *(f"{name}={getattr(self, name)}" for name in other)])

    @property
    def alpha(self) -> float:
        """How often the promise may be broken."""
        return float(1 - Fraction(self.confidence))

    @property
    def allowance(self) -> int:
        """B."""
        return allowed(self.rows, self.agreement)


def allowed(rows: int, agreement: str) -> int:
    """B: how many delivered rows may be misses."""
    return rows - int(-((-Fraction(agreement) * rows) // 1))


def bad_rows(rows: int, allowance: int, over: float) -> int:
    """D for so many times the allowance: one more than it at least, and less than all rows."""
    return min(rows - 1, max(allowance + 1, round(over * allowance)))


# --------------------------------------------------------------------------- tables


@lru_cache(maxsize=4)
def made(cell: Cell) -> tuple[Problem, Population]:
    """The problem, with seed 0, and the answers of everybody."""
    rng = np.random.default_rng([crc32(cell.name.encode()), cell.number])
    bad, hard = placed(cell, rng)
    marks = marked(cell, bad, hard, rng)
    wrong = bad | hard
    cost = costs(cell, bad, rng)
    traits = told(cell, bad, wrong, rng)
    score = np.column_stack([scored(cell, wrong[:, j], rng) for j in range(wrong.shape[1])])
    score[:, 0] = np.nan
    lost = int((marks[:, 0] == ERROR).sum())
    problem = Problem(
        rows=cell.rows,
        agreement=Fraction(cell.agreement),
        confidence=Fraction(cell.confidence),
        reference="reference",
        candidates=tuple(f"m{j}" for j in range(1, 1 + len(cell.prices))),
        rates=(1.0, *cell.prices),
        seed=0,
        reserve=lost if cell.reserve is None else cell.reserve,
    )
    return problem, Population(marks, cost, score, traits)


def placed(cell: Cell, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Shapes (N, 1 + m): bad rows, and with `defers=beside` half as many more that look like them."""
    bad, hard = np.zeros((2, cell.rows, 1 + len(cell.bad)), bool)
    order, start = order_of(cell, rng), 0
    for j, count in enumerate(cell.bad, 1):
        if cell.placed == "apart":
            order = order_of(cell, rng)
        rows = np.roll(order, -start)
        bad[rows[:count], j] = True
        hard[rows[count : count + count // 2], j] = cell.defers == "beside"
        start += count if cell.placed == "beside" else 0
    return bad, hard


def order_of(cell: Cell, rng: np.random.Generator) -> Ints:
    """Shape (N,): at random, or from a random row on, so that the bad rows stand in one block."""
    return np.roll(np.arange(cell.rows), int(rng.integers(cell.rows))) if cell.blocks else rng.permutation(cell.rows)


def marked(cell: Cell, bad: Mask, hard: Mask, rng: np.random.Generator) -> Marks:
    """Shape (N, 1 + m): good answers may break the contract, and rows that are good at the first candidate be lost."""
    marks = np.where(bad, BAD, AGREE).astype(np.int8)
    some = (rng.random(bad.shape) < 0.15) & (cell.defers == "some")
    marks[~bad & (hard | some)] = DEFER
    marks[:, 0] = AGREE
    lost = rng.permutation(np.flatnonzero(~bad[:, 1]))[: cell.lost]
    marks[lost, 0] = ERROR
    marks[lost, 1:] = np.where(marks[lost, 1:] == DEFER, DEFER, BAD)
    return marks


def scored(cell: Cell, wrong: Mask, rng: np.random.Generator) -> Floats:
    """Shape (N,): what a candidate says of its own answers; in a block of duplicates it says the same."""
    noise = rng.normal(size=cell.rows)
    if cell.blocks:
        noise[wrong] = noise[wrong][:1]
    keen, weak = noise - 2.5 * wrong, noise - 0.7 * wrong
    return {
        "none": np.full(cell.rows, np.nan),
        "blind": noise,
        "trap": noise + 3.0 * wrong,
        "split": noise + np.where(wrong, np.where(rng.random(cell.rows) < 0.5, 6.0, -6.0), 0.0),
        "ties": np.round(np.clip(weak, -1, 1)),
        "top": np.where(weak > -0.5, 0.0, weak),
        "keen": keen,
        "gaps": np.where(rng.random(cell.rows) < 1 / 7, np.nan, keen),
        "lone": np.zeros(cell.rows),
    }[cell.scores]


def costs(cell: Cell, bad: Mask, rng: np.random.Generator) -> Floats:
    """Shape (N, 1 + m): USD of every call; its mean is the expected price, for candidates times their factor."""
    cost = np.ones(bad.shape)
    if cell.costs == "uneven":
        cost *= rng.lognormal(sigma=0.8, size=(cell.rows, 1))
    if cell.costs == "dear":
        cost[bad] *= 2
    factors = cell.factors or (1.0,) * len(cell.prices)
    mean = np.array([1.0, *(price * factor for price, factor in zip(cell.prices, factors, strict=True))])
    return np.asarray(cost / cost.mean(axis=0) * mean)


def told(cell: Cell, bad: Mask, wrong: Mask, rng: np.random.Generator) -> Traits:
    """Which answers are equal, how long they and the texts are, the words. Nobody hides a wrong row from `tells`."""
    any_bad = wrong.any(axis=1)
    easy = {
        "tells": ~any_bad,
        "lures": ~any_bad | (rng.random(cell.rows) < 0.5),
    }.get(cell.text, rng.random(cell.rows) < 0.8)
    text = np.round(rng.lognormal(4.0, 0.4, cell.rows) * np.where(easy, 1.0, 3.0))
    words = rng.poisson(0.1, (cell.rows, WORDS)).astype(float)
    words[:, 7] += np.where(easy, 0, 2)
    silent = cell.text == "none"
    key = keys(cell, bad, any_bad, rng)
    return Traits(key, np.full(bad.shape, 5.0), np.where(silent, np.nan, text), None if silent else np.log1p(words))


def keys(cell: Cell, bad: Mask, any_bad: Mask, rng: np.random.Generator) -> Ints:
    """Shape (N, 1 + m): a number for every answer; equal answers, equal numbers."""
    row, column = np.arange(cell.rows)[:, None], np.arange(bad.shape[1])[None, :]
    other = 10 + cell.rows * (1 + column) + row
    if cell.answers in ("distinct", "usual"):
        same = np.broadcast_to(10 + row, bad.shape)
        other = np.where(rng.random(bad.shape) < 0.7, 1, other) if cell.answers == "usual" else other
        return np.where(bad, other, same).astype(np.int64)
    rare = np.where(any_bad, 0.6, 0.05) if cell.answers == "rare" else 0.5
    label = 1 + (rng.random(cell.rows) < rare).astype(np.int64)[:, None]
    return np.where(bad, 3 - label, label).astype(np.int64)


# --------------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Tally:
    """Sums over runs. used: runs that were granted a rule; risked: those in which candidates answered more rows than
    are allowed to be bad, as they must for a promise to be broken; dearest, cost and square: shares of
    reference-only cost."""

    runs: int = 0
    broken: int = 0
    granted: int = 0
    risked: int = 0
    cost: float = 0.0
    square: float = 0.0
    dearest: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Tally(**sums | {"dearest": max(self.dearest, other.dearest)})


def runs(work: tuple[Cell, str, int, int]) -> Tally:
    """So many runs of a cell under a procedure, from a seed on."""
    cell, name, first, count = work
    procedure, (problem, people) = procedures.get(name), made(cell)
    total = Tally()
    for seed in range(first, first + count):
        start = process_time()
        outcome = simulate(procedure, replace(problem, seed=seed), people)
        total += tally(outcome, problem, people, process_time() - start)
    return total


def tally(outcome: Outcome, problem: Problem, people: Population, seconds: float) -> Tally:
    """One run's figures."""
    cost = ratio(outcome, people)
    return Tally(
        runs=1,
        broken=int(missed(outcome, problem) and claimed(outcome, problem, people)),
        granted=int(outcome.verdict.granted),
        risked=int((outcome.delivered_by > 0).sum() > problem.allowance),
        cost=cost,
        square=cost**2,
        dearest=cost,
        seconds=seconds,
    )


def claimed(outcome: Outcome, problem: Problem, people: Population) -> bool:
    """Whether the certificate would say so, as the engine decides it: a rule was granted, and no more rows are left
    without an answer than were set aside for it (those a candidate answered do not show)."""
    profiled = np.zeros(problem.rows, bool)
    profiled[outcome.verdict.profiled] = True
    lost = (people.marks[:, 0] == ERROR) & (profiled | (outcome.delivered_by == 0))
    late = int((lost & ~profiled).sum())
    return outcome.verdict.granted and late <= problem.reserve and int(lost.sum()) <= problem.promised


def first_seed(cell: Cell, seed: int, stage: str) -> int:
    """Where a cell's seeds begin: its own for every scan and stage, with room for 2²⁴ runs."""
    return crc32(f"{seed} {stage} {cell.name}".encode()) << 24
