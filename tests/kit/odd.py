"""Made-up tables of every sort, one for each seed: good and bad candidates, broken contracts, scores, gaps."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from smart_llm.simulation.drive import Population
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Floats, Marks, Problem, SidePromise, Traits

PRICES = [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.3, 1.0, 2.0]
SHARES = ["0.3", "0.5", "0.7", "0.9", "0.95"]


def odd(seed: int, most: int) -> tuple[Problem, Population]:
    """A table of up to `most` rows, one to four candidates, and what is asked of it. Rates need not be what calls cost,
    and what is reserved for missing answers need not be what is missing."""
    rng = np.random.default_rng(seed)
    rows, models = int(rng.integers(1, most + 1)), int(rng.integers(2, 6))
    marks = marked(rng, rows, models)
    prices = [1.0, *map(float, rng.choice(PRICES, models - 1))]
    guesses = prices if rng.random() < 0.7 else [1.0, *map(float, rng.choice(PRICES, models - 1))]
    cost = np.broadcast_to(prices, marks.shape) * (rng.random(marks.shape) if rng.random() < 0.2 else 1.0)
    lost = int((marks[:, 0] == ERROR).sum())
    problem = Problem(
        rows,
        Fraction(rng.choice(SHARES)),
        Fraction(rng.choice(SHARES)),
        "reference",
        tuple("abcd"[: models - 1]),
        tuple(guesses),
        int(rng.integers(10**6)),
        reserve=int(rng.choice([0, lost, rng.integers(0, rows + 1)])),
        floor=Fraction(rng.choice(["0", "0.5", "0.5", "0.9"])),
    )
    known = traits(rng, marks) if rng.random() < 0.5 else None
    return problem, failing(Population(marks, cost, scored(rng, marks), known), np.random.default_rng([seed, 2]))


def labelled(seed: int, most: int) -> tuple[Problem, Population]:
    """The same with a promise for each of two labels."""
    problem, people = odd(seed, most)
    rng = np.random.default_rng([seed, 1])
    side = SidePromise(Fraction(rng.choice(["0.3", "0.8", "0.95"])), int(rng.integers(0, 9)), (1, 2))
    return replace(problem, side=side), replace(people, traits=traits(rng, people.marks))


def marked(rng: np.random.Generator, rows: int, models: int) -> Marks:
    """Each candidate bad, or without an answer that can be used, on a part of the rows of its own."""
    marks = np.zeros((rows, models), np.int8)
    for j in range(1, models):
        marks[rng.random(rows) < rng.choice([0, 0.05, 0.1, 0.3, 0.6, 1.0]), j] = BAD
        marks[rng.random(rows) < rng.choice([0, 0, 0, 0.2, 1.0]), j] = DEFER
    lost = rng.random(rows) < rng.choice([0, 0, 0, 0.05, 0.3, 1.0])
    marks[lost, 0] = ERROR
    marks[lost, 1:] = np.where(marks[lost, 1:] == AGREE, BAD, marks[lost, 1:])
    return marks


def failing(people: Population, rng: np.random.Generator) -> Population:
    """In every fourth table a few calls of candidates fail: bad, and there is no answer."""
    gone = (people.marks == BAD) & (people.marks[:, :1] != ERROR) & (rng.random(people.marks.shape) < 0.1)
    if people.traits is None or rng.random() < 0.75:
        return people
    key, length = np.where(gone, 0, people.traits.key), np.where(gone, np.nan, people.traits.length)
    known = replace(people.traits, key=key, length=length)
    return replace(people, score=np.where(gone, np.nan, people.score), traits=known)


def scored(rng: np.random.Generator, marks: Marks) -> Floats:
    """No scores, equal ones, telling ones, a few that tell nothing; sometimes with gaps."""
    shape = marks.shape
    telling = rng.normal(size=shape) - 3 * (marks == BAD)
    scores = [np.full(shape, np.nan), np.full(shape, 0.5), telling, rng.integers(0, 3, shape).astype(float)]
    score = scores[rng.integers(4)]
    return np.where(rng.random(shape) < (0.3 if rng.random() < 0.2 else 0.0), np.nan, score)


def traits(rng: np.random.Generator, marks: Marks) -> Traits:
    """Two labels; a bad answer is the other label, a broken contract none; rows of several lengths."""
    label = 1 + (rng.random(len(marks)) < 0.5).astype(np.int64)[:, None]
    key = np.where(marks == AGREE, label, np.where(marks == BAD, 3 - label, 0)).astype(np.int64)
    lengths = 1.0 + rng.integers(0, 3, marks.shape)
    return Traits(key, lengths, rng.integers(0, 5, len(marks)).astype(float))
