"""The ways a run of the ladder may finish, each with a forecast of its cost from the pilot: a blind mix of a candidate,
or a cascade by its own score or by one learned on the pilot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.ladder import forecast
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.money import AS_EXPENSIVE
from smart_llm.scores.traits import trait
from smart_llm.stats.first_bad import looks
from smart_llm.types import AGREE, BAD, DEFER, Floats, Gate, Ints, Score, Tier

OWN = Score()


@dataclass(frozen=True, slots=True)
class Way:
    """One way to finish, with its forecast. score None: the blind mix of `candidate`. costs: shape (actions, draws), in
    reference calls for the rows left; looks: (credit, rows looked at) of each action. useless: how likely the score
    knows nothing. said: what it says of the pilot rows, learned without them. heads: tiers asked before it, their stops
    fixed on the pilot; gate: which rows get that far."""

    candidate: int
    score: Score | None
    peers: tuple[int, ...]
    costs: Floats
    looks: tuple[tuple[int, int], ...] = ()
    useless: float = 0.0
    said: Floats | None = None
    heads: tuple[Tier, ...] = ()
    gate: Gate | None = None

    @property
    def best(self) -> int:
        """The action of least expected cost."""
        return int(self.costs.mean(axis=1).argmin())

    @property
    def cost(self) -> float:
        """Its expected cost."""
        return float(self.costs.mean(axis=1).min())

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """As a rule without an end: the look says where to stop."""
        assert self.score is not None
        return (*self.heads, Tier(self.candidate, self.score, None, self.peers))

    @property
    def models(self) -> tuple[int, ...]:
        """Every candidate it may call, in that order."""
        if self.score is None:
            return (self.candidate,)
        return tuple(dict.fromkeys(model for tier in self.tiers for model in tier.models))


def weigh(pilot: Pilot) -> list[Way]:
    """Every way to finish, with its forecast."""
    ways = []
    for j in pilot.asked:
        if pilot.price((j,)) >= AS_EXPENSIVE:
            continue
        ways.append(mix_way(pilot, j))
        ways += [way for score, said, peers in orders(pilot, j) if (way := cascade_way(pilot, j, score, said, peers))]
    return ways


def orders(pilot: Pilot, j: int) -> list[tuple[Score, Floats, tuple[int, ...]]]:
    """The scores there are for candidate j: (score, what it says of the pilot rows, other candidates it needs)."""
    own = pilot.answers.score[:, j]
    found: list[tuple[Score, Floats, tuple[int, ...]]] = [(OWN, own, ())] if np.isfinite(own).mean() > 0.5 else []
    if pilot.answers.traits is not None:
        usual = f"usual:{usual_key(pilot.answers.traits.key[:, j])}"
        alone = [usual, "answer_length", "text_length"]
        found += learned(pilot, j, alone, ())
        for peer in pilot.asked:
            if peer != j:
                found += learned(pilot, j, [f"same:{peer}", *alone], (peer,))
    return found


def usual_key(keys: Ints) -> int:
    """The commonest answer."""
    known, counts = np.unique(keys[keys != 0], return_counts=True)
    return int(known[counts.argmax()]) if len(known) else 0


def learned(
    pilot: Pilot, j: int, names: Sequence[str], peers: tuple[int, ...]
) -> list[tuple[Score, Floats, tuple[int, ...]]]:
    """A score fitted to the pilot, where the traits are known at all."""
    kept = pilot.answers.marks[:, j] != DEFER
    if kept.sum() < 10:
        return []
    columns = [(name, trait(name, pilot.answers, j)) for name in names]
    columns = [(name, column) for name, column in columns if np.isfinite(column[kept]).all() and np.ptp(column[kept])]
    if not columns:
        return []
    traits = np.column_stack([column for _, column in columns])
    bad = pilot.answers.marks[:, j] == BAD
    score, out = forecast.learn([name for name, _ in columns], traits[kept], bad[kept])
    said = np.full(len(kept), np.nan)
    said[kept] = out
    return [(score, said, peers)]


def cascade_way(pilot: Pilot, j: int, score: Score, said: Floats, peers: tuple[int, ...]) -> Way | None:
    """The forecast of a cascade; None where no look is affordable."""
    problem, price = pilot.problem, pilot.price((j, *peers))
    choices = affordable(pilot, price)
    if not choices:
        return None
    curve = forecast.curve(said, shown(pilot, j), prior=belief(score, peers), seed=problem.seed)
    costs = forecast.look_costs([forecast.Step(curve, price)], pilot.left, choices, float(problem.floor))
    return Way(j, score, peers, costs, choices, curve.useless, said)


def belief(score: Score, peers: tuple[int, ...]) -> forecast.Belief:
    """What is believed of a score before the pilot, by what it is made of."""
    return forecast.OWN if score == OWN else forecast.PEERS if peers else forecast.ALONE


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
    usable = np.isin(marks, (AGREE, BAD))
    return forecast.Shown(marks == BAD, usable, pilot.answers.cost[here, 0], pilot.weights[:, here])
