"""Many ways of answering, little exploring: which few of them the ladder is to choose from.

The same model asked in packs of 1, 8 and 32, with a short prompt or the beginning of a text, is five candidates, and
asking all of them about every pilot row would eat the saving. What ways of one model do is believed to be alike
(`kin`), so what one has shown tells about the others. They are brought in one after the other, on the same few pilot
rows: of a model first the way whose trial costs least, then those that may be better than the best one so far; each
only if what it might save, by that belief, is worth more than finding out costs. The rows are lengthened, for the ways
still in question, while that is worth its price. Finding out about a pack costs the whole pack.

All of this is decided on pilot rows, which are never evidence, and in money only. Where every candidate is a model of
its own that is asked row by row, nothing is done here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from smart_llm.procedures.ladder.kin import HARD, Shown, astray, bad_rates
from smart_llm.procedures.mix.pilot import State, heard, outlook
from smart_llm.procedures.money import AS_EXPENSIVE, PURSE, at_most
from smart_llm.types import NOT_ASKED, Answers, Ask, Floats, Marks, Problem

ROWS, OF_ONE, FEWEST, MOST = 1.2, 0.6, 8, 60
"""Pilot rows that ways are compared on at first: times the cube root of the table, within these; half as many where all
are ways of one model, since what models do differs most, and is not seen on the same hard rows."""
LONGER = 0.5
"""Of the rows so far: how many more at a time."""
KEPT, CHANCE = 3, 0.1
"""Ways that the ladder chooses from, of every model its best one, and how likely one must be to be the best of all."""
BROKEN = 0.01
"""Share of answers that a way not asked yet is believed to break the contract with."""
HOPE = 0.9
"""Of the rows that could not be delivered blindly: what routing by scores still defers."""
SURE = 1.65
"""Deviations that an upper limit of the bad rows lies above what was seen."""
PART = 0.4
"""Of what a pilot may cost in candidate calls: what trying ways may. The rest is for longer pilots of those kept."""
TRIALS = PART * PURSE
"""× N: what trying ways may cost, in reference calls."""

Costs: TypeAlias = Mapping[int, Floats]
"""By way, shape (DRAWS,): what finishing with it would cost per row, in reference calls; draws belong together."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was seen so far: the state of the pilot, and the marks of its rows in their order, shape (rows, 1 + m)."""

    state: State
    marks: Marks

    def after(self, ask: Ask, first: int, answers: Answers) -> Tried:
        """With what was asked of the rows from `first` on."""
        state, last = self.state, first + len(ask.positions)
        marks = np.full((max(state.rows, last), self.marks.shape[1]), NOT_ASKED, np.int8)
        marks[: state.rows] = self.marks
        columns = list(ask.models)
        marks[first:last, columns] = answers.marks[:, columns]
        state = heard(state, ask.models[1:], answers, fresh=max(0, last - state.rows))
        return Tried(state, marks)


@dataclass(frozen=True, slots=True)
class Step:
    """Which rows of the order to ask (from, to) in which ways."""

    first: int
    last: int
    ways: tuple[int, ...]


def sieve(state: State) -> Generator[Ask, Answers, State]:
    """Ask ways about a few rows while that is worth it; the state with the few that are left."""
    if not many(state.problem) or not state.candidates:
        return state
    tried = Tried(state, np.empty((0, len(state.problem.rates)), np.int8))
    while (step := opening(tried) or next_step(tried)) is not None:
        state, stage = tried.state, "pilot again" if tried.state.rows else "pilot"
        ask = Ask(state.order[step.first : step.last], (0, *step.ways), stage, outlook(state))
        tried = tried.after(ask, step.first, (yield ask))
    return without(tried.state, chosen(tried)) if tried.state.rows else state


def many(problem: Problem) -> bool:
    """Whether some candidates are ways of one model, or share calls."""
    kin = problem.kin[1:]
    return len(set(kin)) < len(kin) or any(pack > 1 for pack in problem.packs)


def without(state: State, kept: Sequence[int]) -> State:
    """The state in which only these candidates are left."""
    out = frozenset(range(1, len(state.problem.rates))) - set(kept)
    return replace(
        state, problem=replace(state.problem, out=out), candidates={j: state.candidates[j] for j in sorted(kept)}
    )


def kin(state: State, j: int) -> list[int]:
    """The ways of its model."""
    of = state.problem.kin
    return [i for i in state.candidates if i == j or (of and of[i] == of[j])]


def met(state: State, j: int) -> bool:
    """Whether a way of its model has been asked."""
    return any(state.candidates[i].rows for i in kin(state, j))


# --------------------------------------------------------------------------- what to ask


def opening(tried: Tried) -> Step | None:
    """The first rows, in the way whose trial costs least; None where there are rows, or they are not to be had."""
    state, problem = tried.state, tried.state.problem
    if state.rows:
        return None
    times = OF_ONE if all(len(kin(state, j)) == len(state.candidates) for j in state.candidates) else ROWS
    rows = int(max(1, min(MOST, max(FEWEST, times * problem.rows ** (1 / 3)), problem.rows // 4)))
    open_ = [j for j in state.candidates if may_be_tried(state, j, rows)]
    return Step(0, rows, (min(open_, key=lambda j: trial(state, j, rows)),)) if open_ else None


def next_step(tried: Tried) -> Step | None:
    """Bring in the most promising way of every model that is worth its trial, else lengthen the rows if that pays."""
    state, cost = tried.state, believed(tried)
    if not state.rows:
        return None
    worth = {
        j: found - trial(state, j, state.rows)
        for j, seen in state.candidates.items()
        if not seen.rows and (found := promise(tried, cost, j)) > 0 and may_be_tried(state, j, state.rows)
    }
    picked, spent = list[int](), 0.0
    for j in sorted(worth, key=lambda j: -worth[j] / trial(state, j, state.rows)):
        price = trial(state, j, state.rows)
        if worth[j] > 0 and spent + price <= room(state) and not set(picked) & set(kin(state, j)):
            picked.append(j)
            spent += price
    return Step(0, state.rows, tuple(picked)) if picked else longer(tried, cost)


def promise(tried: Tried, cost: Costs, j: int) -> float:
    """What could be saved, in reference calls, by knowing what its trial would show of a way, over going on with the
    best one so far. Where a way of its model was asked, the trial shows how the two differ and no more of the model.
    Only draws count in which the way is the better one."""
    state = tried.state
    asked = best_of(state, cost)
    first = cost[min(asked.values(), key=lambda i: cost[i].mean())] if asked else np.ones_like(cost[j])
    own = asked.get(kin(state, j)[0])
    weight = sum(HARD) if own is None else 1 / doubt(state, j)
    better = first - cost[j] if own is None else float((first - cost[own]).mean()) + cost[own] - cost[j]
    told = np.minimum(_towards(better, state.rows / (state.rows + weight)), first - cost[j])
    return float(np.maximum(0.0, told).mean()) * state.left


def doubt(state: State, j: int) -> float:
    """The mean share of rows that a way is believed to lead astray."""
    ways = kin(state, j)
    return float(astray(*looks(state, ways))[ways.index(j)])


def longer(tried: Tried, cost: Costs) -> Step | None:
    """More rows in the ways still in question, if that pays."""
    state, ways = tried.state, rivals(tried, cost)
    rows = min(state.left, max(4, int(LONGER * state.rows)))
    if len(ways) < 2 or rows < 1:
        return None
    mean = min(float(cost[j].mean()) for j in ways)
    told = np.stack([shown_by(state, cost, ways, j, rows) for j in ways])
    gain = (mean - float(told.min(axis=0).mean())) * state.left
    calls = sum(trial(state, j, state.rows + rows) - trial(state, j, state.rows) for j in ways)
    pays = gain > calls + rows * (1 - mean) and calls <= room(state)
    return Step(state.rows, state.rows + rows, tuple(ways)) if pays else None


def shown_by(state: State, cost: Costs, ways: Sequence[int], j: int, rows: int) -> Floats:
    """Shape (DRAWS,): what a way would be expected to cost once so many more rows were seen: nearer to the mean than
    the truth may be, for the model, and nearer still for what sets the way apart from the model's others."""
    of_model = next(i for i in ways if i in kin(state, j))
    own, model = cost[j] - cost[of_model], cost[of_model]
    told, apart = rows / (state.rows + rows), rows / (state.rows + rows + 1 / doubt(state, j))
    return np.asarray(_towards(model, told) + _towards(own, apart))


def _towards(draws: Floats, share: float) -> Floats:
    """With this share of their variance."""
    return np.asarray(draws.mean() + np.sqrt(share) * (draws - draws.mean()))


def trial(state: State, j: int, rows: float) -> float:
    """What it costs to ask a way about so many rows, and all rows that share their calls, in reference calls."""
    return state.problem.bought(j, rows) * state.candidates[j].price


def room(state: State) -> float:
    """What trying ways may yet cost, in reference calls."""
    return TRIALS * state.problem.alone - state.spent


def may_be_tried(state: State, j: int, rows: int) -> bool:
    """Whether there is room for a way's trial; also where its calls may cost far more than is guessed, as long as
    nobody of its model has been asked."""
    if state.candidates[j].rate >= AS_EXPENSIVE or trial(state, j, rows) > room(state):
        return False
    return met(state, j) or state.problem.bought(j, 1) * at_most(state.problem, j) <= 10 * room(state)


# --------------------------------------------------------------------------- what is believed


def rivals(tried: Tried, cost: Costs) -> list[int]:
    """The ways asked about all rows that may well be the best of all, the most promising first."""
    state = tried.state
    asked = [j for j, seen in state.asked.items() if seen.rows == state.rows]
    if not asked:
        return []
    first = np.stack([cost[j] for j in asked]).argmin(axis=0)
    chance = {j: float((first == k).mean()) for k, j in enumerate(asked)}
    best = min(asked, key=lambda j: cost[j].mean())
    return sorted((j for j in asked if chance[j] >= CHANCE or j == best), key=lambda j: (j != best, -chance[j]))


def best_of(state: State, cost: Costs) -> dict[int, int]:
    """By the first way of a model: its way that is expected to cost least, of those asked."""
    best = dict[int, int]()
    for j in sorted(state.asked, key=lambda j: -cost[j].mean()):
        best[kin(state, j)[0]] = j
    return best


def chosen(tried: Tried) -> list[int]:
    """The ways that the ladder chooses from: of every model that may be the best its best one. Which way of a model is
    best these rows and the belief say better than a short pilot of each would."""
    state, cost = tried.state, believed(tried)
    best = sorted(best_of(state, cost).values(), key=lambda j: cost[j].mean())
    if not best:
        return []
    first = np.stack([cost[j] for j in best]).argmin(axis=0)
    return [best[0], *(j for k, j in enumerate(best) if k and (first == k).mean() >= CHANCE)][:KEPT]


def believed(tried: Tried) -> dict[int, Floats]:
    """Costs by way, given what was seen of it and of others."""
    state, cost = tried.state, dict[int, Floats]()
    share = max(0, state.allowance) / max(1, state.left)
    for family in dict.fromkeys(tuple(kin(state, j)) for j in state.candidates):
        rates = bad_rates(Shown.of(tried.marks[:, list(family)], *looks(state, family)), seed=family[0])
        for column, j in enumerate(family):
            cost[j] = finishing(state, j, rates[:, column], share)
    return cost


def looks(state: State, ways: Sequence[int]) -> tuple[list[float], list[float]]:
    """Rows in a call of these ways, and what a row is guessed to cost."""
    packs = state.problem.packs
    return [packs[j] if packs else 1.0 for j in ways], [state.candidates[j].rate for j in ways]


def finishing(state: State, j: int, bad: Floats, share: float) -> Floats:
    """Cost per row of finishing with a way that is bad on these shares of the rows: the best of a few looks, after
    which as many rows are deferred as an upper limit of the bad ones asks for."""
    seen = state.candidates[j]
    looked = np.geomspace(10, max(11, state.left / 2), 12)[:, None]
    limit = bad + SURE * np.sqrt(bad * (1 - bad) / looked) + 1 / looked
    deferred = HOPE * np.maximum(0.0, 1 - share / limit) + (seen.deferred + BROKEN) / (seen.rows + 1)
    part = looked / max(1, state.left)
    cost = (part + seen.price + (1 - part) * np.minimum(1.0, deferred)).min(axis=0)
    useful = bad < 1 - float(state.problem.floor)
    return np.asarray(np.where(useful, np.minimum(1.0, cost), 1.0))
