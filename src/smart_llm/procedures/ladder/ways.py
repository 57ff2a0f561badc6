"""The ways a run of the ladder may finish, each with a forecast of its cost from the pilot: a blind mix of a candidate,
or a cascade by its own score or by one learned on the pilot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.ladder import forecast
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.money import AS_EXPENSIVE
from smart_llm.scores.traits import trait
from smart_llm.stats.first_bad import looks
from smart_llm.types import AGREE, BAD, DEFER, Floats, Gate, Ints, Problem, Score, Tier

OWN = Score()
OWN_TERMS = ("own",)
Order: TypeAlias = tuple[Score, Floats, tuple[int, ...]]
"""A score, what it says of the pilot rows, and the other candidates it needs."""


@dataclass(frozen=True)
class Way:
    """One way to finish, with its forecast. score None: the blind mix of `candidate`. costs: shape (actions, draws), in
    reference calls for the rows left; looks: (credit, rows looked at) of each action. useless: how likely the score
    knows nothing. said: what it says of the pilot rows, learned without them; curve: what is believed for that. heads:
    tiers asked before it, their stops fixed on the pilot; gate: which rows get that far."""

    candidate: int
    score: Score | None
    peers: tuple[int, ...]
    costs: Floats
    looks: tuple[tuple[int, int], ...] = ()
    useless: float = 0.0
    said: Floats | None = None
    curve: forecast.Curve | None = None
    heads: tuple[Tier, ...] = ()
    gate: Gate | None = None

    @property
    def kind(self) -> tuple[int, bool | None, tuple[int, ...]]:
        """Which of the ways it is, whatever was learned: its candidate, whether its own score or a learned one orders
        the rows (None: nothing does), and whom it needs besides."""
        return self.candidate, None if self.score is None else self.score == OWN, self.peers

    @cached_property
    def best(self) -> int:
        """The action of least expected cost."""
        return int(self.costs.mean(axis=1).argmin())

    @cached_property
    def cost(self) -> float:
        """Its expected cost."""
        return float(self.costs.mean(axis=1).min())

    @cached_property
    def untold(self) -> Floats:
        """Its forecast where more rows tell nothing of it."""
        return np.broadcast_to(self.costs.mean(axis=1, keepdims=True), self.costs.shape)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """As a rule without an end: the look says where to stop."""
        assert self.score is not None
        return (*self.heads, Tier(self.candidate, self.score, None, self.peers))

    @cached_property
    def models(self) -> tuple[int, ...]:
        """Every candidate it may call, in that order."""
        if self.score is None:
            return (self.candidate,)
        return tuple(dict.fromkeys(model for tier in self.tiers for model in tier.models))


def weigh(pilot: Pilot, before: Sequence[Way] = ()) -> list[Way]:
    """Every way to finish, with its forecast. before: those that were weighed when fewer candidates had been asked
    about the same rows; they are what they were."""
    known, ways = {way.kind: way for way in before}, list[Way]()
    for j in pilot.asked:
        if pilot.price((j,)) >= AS_EXPENSIVE:
            continue
        ways.append(known.get((j, None, ())) or mix_way(pilot, j))
        for names, peers in bases(pilot, j):
            earlier = known.get((j, names == OWN_TERMS, peers))
            found = order(pilot, j, names, peers) if earlier is None else None
            way = again(pilot, earlier) if earlier else cascade_way(pilot, j, *found) if found else None
            ways += [way] if way else []
    return ways


def orders(pilot: Pilot, j: int) -> list[Order]:
    """The scores there are for candidate j."""
    return [found for names, peers in bases(pilot, j) if (found := order(pilot, j, names, peers)) is not None]


def bases(pilot: Pilot, j: int) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """What scores of candidate j may be made of: (names of traits, other candidates that these need)."""
    if np.isfinite(pilot.answers.score[:, j]).mean() > 0.5:
        yield OWN_TERMS, ()
    if pilot.answers.traits is not None:
        alone = (f"usual:{usual_key(pilot.answers.traits.key[:, j])}", "answer_length", "text_length")
        yield alone, ()
        yield from (((f"same:{peer}", *alone), (peer,)) for peer in pilot.asked if peer != j)


def usual_key(keys: Ints) -> int:
    """The commonest answer."""
    known, counts = np.unique(keys[keys != 0], return_counts=True)
    return int(known[counts.argmax()]) if len(known) else 0


def order(pilot: Pilot, j: int, names: Sequence[str], peers: tuple[int, ...]) -> Order | None:
    """Candidate j's own score, or one of these traits fitted to the pilot, where they are known at all."""
    if names == OWN_TERMS:
        return OWN, pilot.answers.score[:, j], ()
    kept = pilot.answers.marks[:, j] != DEFER
    if kept.sum() < 10:
        return None
    columns = [(name, trait(name, pilot.answers, j)) for name in names]
    columns = [(name, column) for name, column in columns if np.isfinite(column[kept]).all() and np.ptp(column[kept])]
    if not columns:
        return None
    traits = np.column_stack([column for _, column in columns])
    bad = pilot.answers.marks[:, j] == BAD
    score, out = forecast.learn([name for name, _ in columns], traits[kept], bad[kept])
    said = np.full(len(kept), np.nan)
    said[kept] = out
    return score, said, peers


def cascade_way(pilot: Pilot, j: int, score: Score, said: Floats, peers: tuple[int, ...]) -> Way | None:
    """The forecast of a cascade; None where no look is affordable."""
    price = pilot.price((j, *peers))
    if not (choices := affordable(pilot, price)):
        return None
    prior = belief(pilot.problem, j, score, peers)
    curve = forecast.curve(said, shown(pilot, j), prior=prior, seed=pilot.problem.seed)
    costs = forecast.look_costs([forecast.Step(curve, price)], pilot.left, choices, float(pilot.problem.floor))
    return Way(j, score, peers, costs, choices, curve.useless, said, curve)


def again(pilot: Pilot, way: Way) -> Way | None:
    """A cascade that was weighed before: by now fewer looks may be affordable."""
    price = pilot.price((way.candidate, *way.peers))
    choices = affordable(pilot, price)
    if choices == way.looks or not choices or way.curve is None:
        return way if choices else None
    costs = forecast.look_costs([forecast.Step(way.curve, price)], pilot.left, choices, float(pilot.problem.floor))
    return replace(way, costs=costs, looks=choices)


def belief(problem: Problem, j: int, score: Score, peers: tuple[int, ...]) -> forecast.Belief:
    """What is believed of a score of candidate j before the pilot, by what it is made of."""
    if score != OWN:
        return forecast.PEERS if peers else forecast.ALONE
    return forecast.TAUGHT if j == problem.learned else forecast.OWN


def affordable(pilot: Pilot, price: float) -> tuple[tuple[int, int], ...]:
    """The looks (credit, rows) whose calls, at that price a row, do not cost more than may be spent for nothing."""
    most = min(pilot.left // 2, int(pilot.problem.rows_for(pilot.most / max(price, 1e-9))))
    return looks(pilot.left, pilot.allowance, pilot.problem.alpha, most) if pilot.allowance >= 0 else ()


def mix_way(pilot: Pilot, j: int) -> Way:
    """The forecast of the blind mix."""
    problem = pilot.problem
    curve = forecast.blind(shown(pilot, j), problem.seed)
    price, allowance = pilot.price((j,)), max(0, pilot.allowance)
    costs = forecast.mix_costs(curve, price, pilot.left, allowance, problem.alpha, float(problem.floor))
    return Way(j, None, (), costs)


def shown(pilot: Pilot, j: int, rows: NDArray[np.bool_] | None = None) -> forecast.Shown:
    """What the pilot shows of candidate j, on those of its rows."""
    here = slice(None) if rows is None else rows
    marks = pilot.answers.marks[here, j]
    usable = (marks == AGREE) | (marks == BAD)
    return forecast.Shown(marks == BAD, usable, pilot.answers.cost[here, 0], pilot.weights[:, here])
