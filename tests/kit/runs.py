"""One run of every procedure, and of every kind of rule the default can end with, with its ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
from ledgers import Told, told

from smart_llm.procedures.ladder.look import cascade
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.ways import OWN, Way
from smart_llm.simulation.drive import Population
from smart_llm.stats.first_bad import rows_needed
from smart_llm.stats.sampling import permutation
from smart_llm.types import BAD, ERROR, Ask, Conversation, Gate, Json, Problem, Score, SidePromise, Tier, Traits


def sheet(rows: int, rates: tuple[float, ...], prices: tuple[float, ...], *, knows: float, seed: int) -> Population:
    """Candidates bad at these rates, with scores that know of it, or none."""
    rng = np.random.default_rng(seed)
    marks = np.stack([np.zeros(rows), *(rng.random(rows) < rate for rate in rates)], axis=1).astype(np.int8)
    score = rng.normal(size=marks.shape) - knows * (marks == BAD) if knows else np.full(marks.shape, np.nan)
    return Population(marks, np.broadcast_to((1.0, *prices), marks.shape), score)


def task(people: Population, agreement: str = "0.9", confidence: str = "0.95", **other: Json) -> Problem:
    """What is asked of it."""
    rows, models = people.marks.shape
    names, prices = tuple("abcd"[: models - 1]), tuple(people.cost[0].tolist())
    return Problem(rows, Fraction(agreement), Fraction(confidence), "reference", names, prices, 11, **other)


def by_default(people: Population, **other: Json) -> Told:
    """A run of the default."""
    return told("ladder", task(people, **other), people)


def unanswered(people: Population, share: float) -> Population:
    """The reference has no answer to a part of the rows."""
    lost = np.random.default_rng(5).random(len(people.marks)) < share
    marks = people.marks.copy()
    marks[lost, 0], marks[lost, 1:] = ERROR, BAD
    return replace(people, marks=marks)


def failing(people: Population, share: float) -> Population:
    """A candidate's calls fail on a part of the rows: bad, and no answer."""
    gone = np.random.default_rng(6).random(len(people.marks)) < share
    marks, score, key = people.marks.copy(), people.score.copy(), np.ones(people.marks.shape, np.int64)
    marks[gone, 1], score[gone, 1], key[gone, 1] = BAD, np.nan, 0
    return replace(people, marks=marks, score=score, traits=Traits(key, np.ones(key.shape), np.ones(len(key))))


def of_look(tiers: tuple[Tier, ...], gate: Gate | None, credit: int) -> Callable[[Problem], Conversation]:
    """The shipped look with tiers and a gate of our own."""

    def procedure(problem: Problem) -> Conversation:
        order = permutation(problem.seed, "order", problem.rows)
        asked = tuple(range(len(problem.rates)))
        pilot = yield from Pilot.of(problem, []).after(Ask(order[:20], asked, "pilot"))
        looked = rows_needed(pilot.left, pilot.allowance, credit, problem.alpha)
        assert looked is not None
        *heads, last = tiers
        way = Way(
            last.candidate, last.score, last.peers, np.ones((1, 1)), ((credit, looked),), heads=tuple(heads), gate=gate
        )
        return (yield from cascade(pilot, order, way, "ladder/6"))

    return procedure


def gated() -> Told:
    """Two tiers behind a gate, the first with a peer."""
    people = failing(sheet(500, (0.2, 0.1), (0.02, 0.1), knows=3.0, seed=3), 0.01)
    assert people.traits is not None
    people = replace(people, traits=replace(people.traits, text=np.arange(500.0)))
    head = Tier(1, Score((("own", 1.0), ("same:2", 0.5))), (1.0, 0), (2,))
    return told(
        of_look((head, Tier(2, OWN, None)), Gate(Score((("text_length", -1.0),)), -6.0), 3),
        task(people, agreement="0.8"),
        people,
    )


def per_label(**other: Json) -> Told:
    """A look with a promise for each of two labels."""
    rng = np.random.default_rng(2)
    label = 1 + (rng.random(800) < 0.4).astype(np.int64)
    marks = np.stack([np.zeros(800), rng.random(800) < 0.03], axis=1).astype(np.int8)
    key = np.stack([label, np.where(marks[:, 1] == BAD, 3 - label, label)], axis=1)
    score = np.stack([np.full(800, np.nan), rng.normal(size=800) - 2 * (marks[:, 1] == BAD)], axis=1)
    people = Population(marks, np.broadcast_to((1.0, 0.05), marks.shape), score, Traits(key, np.ones(key.shape), label))
    side = SidePromise(Fraction("0.8"), 60, (1, 2))
    return told("per-label", replace(task(people, agreement="0.85"), side=side, **other), people)


ONE = sheet(20, (0.1,), (0.1,), knows=0.0, seed=1)


def published(variant: str) -> Told:
    """A run of the published system, one of whose candidates is dearer than the reference."""
    people = sheet(1500, (0.3, 0.09, 0.02, 0.0), (0.02, 0.1, 0.3, 2.0), knows=0.0, seed=4)
    return told(f"smart/2024:{variant}", task(people), people)


RUNS: dict[str, Callable[[], Told]] = {
    "mix": lambda: by_default(sheet(150, (0.05, 0.3), (0.0008, 0.0009), knows=0.0, seed=3), agreement="0.85"),
    "mix with errors": lambda: by_default(
        unanswered(sheet(150, (0.04, 0.1), (0.001, 0.002), knows=0.0, seed=2), 0.05), agreement="0.8", reserve=4
    ),
    "cascade": lambda: by_default(sheet(600, (0.25, 0.1), (0.01, 0.02), knows=4.0, seed=2)),
    "tiers and gate": gated,
    "per label": per_label,
    "per label, withheld": lambda: per_label(floor=Fraction("0.99")),
    "profile-all": lambda: published("profile-all"),
    "profile-smart": lambda: published("profile-smart"),
    "model-mix": lambda: published("model-mix"),
    "reference-only": lambda: told("reference-only", *(lambda people: (task(people), people))(ONE)),
}
