"""Many ways of answering, little exploring: which few of them the ladder is to choose from.

The same model asked in packs of 1, 8 and 32, with a short prompt or the beginning of a text, is five candidates, and
asking all of them about every pilot row would eat the saving. So they are brought in one after the other, the cheapest
first, on the same few pilot rows. What ways of one model do is believed to be alike: the log-odds of a bad row are
those of the model and a deviation of the way, so what one has shown tells about the others. A way is asked only where
what it might save, by that belief, is worth more than finding out costs; one that is dearer than another and most
likely no better is never asked. Finding out about a pack costs the whole pack.

All of this is decided on pilot rows, which are never evidence, and in money only. Where every candidate is a model of
its own that is asked row by row, nothing is done here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import expit, logit

from smart_llm.procedures.mix.pilot import State, heard, outlook
from smart_llm.procedures.money import AS_EXPENSIVE, PURSE, at_most
from smart_llm.types import Answers, Ask, Floats, Problem

ROWS, FEWEST, MOST = 1.2, 8, 60
"""Pilot rows that ways are compared on: times the cube root of the table, within these."""
KEPT, KEPT_OF_MANY, MANY = 3, 6, 20_000
"""Ways that the ladder then chooses from; of tables with many rows, where a pilot costs next to nothing, more."""
MODEL = (float(logit(0.12)), 1.4)
"""Of the log-odds of a bad row by a model: mean and deviation of what is believed before anything is seen."""
WAY = 0.25
"""Deviation of a way from its model's log-odds."""
PACKED = 0.05
"""How much worse, in log-odds, a pack is believed to be for every doubling of its rows."""
BROKEN = 0.01
"""Share of answers that a way not asked yet is believed to break the contract with."""
SAME = 0.7
"""How far the ways of one model stumble over the same rows: what each of them shows is counted as so much less."""
HOPE = 0.9
"""Of the rows that could not be delivered blindly: what routing by scores still defers."""
SURE = 1.65
"""Deviations that an upper limit of the bad rows lies above what was seen."""
TOLD = 0.3
"""Share of what knowing all would save that so few rows tell."""
PART = 0.4
"""Of what a pilot may cost in candidate calls: what trying ways may. The rest is for longer pilots of those kept."""
CHANCE, CHANCE_OF_MANY = 0.08, 0.03
"""How likely a way must be about as good as the best of all for the ladder to consider it; the same of many rows."""
CLOSE, NEAR = 1.15, 0.01
"""About as good: times the cost, and of reference-only cost."""
DRAWS, PARTICLES = 400, 6000
"""Joint draws of what ways may do, and those that they are drawn from."""


def sieve(state: State) -> Generator[Ask, Answers, State]:
    """Ask ways about a few rows while that is worth it; the state with the few that are left."""
    if not many(state.problem) or not state.candidates:
        return state
    rows = opening_rows(state.problem)
    while new := worth_asking(state, rows):
        models = new if state.rows else new[:1]
        stage = "pilot again" if state.rows else "pilot"
        answers = yield Ask(state.order[:rows], (0, *models), stage, outlook(state))
        state = heard(state, models, answers, fresh=rows - state.rows)
    return without(state, chosen(state)) if state.rows else state


def met(state: State, j: int) -> bool:
    """Whether a way of its model has been asked."""
    return any(state.candidates[i].rows for i in kin(state, j))


def kin(state: State, j: int) -> list[int]:
    """The ways of its model, the cheapest first."""
    of = state.problem.kin
    same = [i for i in state.candidates if i == j or (of and of[i] == of[j])]
    return sorted(same, key=lambda i: state.candidates[i].rate)


def many(problem: Problem) -> bool:
    """Whether some candidates are ways of one model, or share calls."""
    kin = problem.kin[1:]
    return len(set(kin)) < len(kin) or any(pack > 1 for pack in problem.packs)


def opening_rows(problem: Problem) -> int:
    """On how many rows ways are compared."""
    return int(max(1, min(MOST, max(FEWEST, ROWS * problem.rows ** (1 / 3)), problem.rows // 4)))


def without(state: State, kept: Sequence[int]) -> State:
    """The state in which only these candidates are left."""
    out = frozenset(range(1, len(state.problem.rates))) - set(kept)
    return replace(
        state, problem=replace(state.problem, out=out), candidates={j: state.candidates[j] for j in sorted(kept)}
    )


def best_of(state: State, cost: Mapping[int, Floats]) -> dict[int, int]:
    """By model: its way that is expected to cost least, of those asked."""
    best = dict[int, int]()
    for j in sorted(state.asked, key=lambda j: -cost[j].mean()):
        best[kin(state, j)[0]] = j
    return best


def chosen(state: State) -> list[int]:
    """The ways that the ladder chooses from, where they may be about as good as the best: of every model the best, then
    others. What scores are worth is the ladder's to find out, and differs by model more than by way."""
    cost = believed(state)
    best, asked = set(best_of(state, cost).values()), sorted(state.asked, key=lambda j: cost[j].mean())
    if not asked:
        return []
    least = np.stack([cost[j] for j in asked]).min(axis=0)
    kept, chance = (KEPT_OF_MANY, CHANCE_OF_MANY) if state.problem.rows > MANY else (KEPT, CHANCE)
    close = [j for j in asked[1:] if float((cost[j] < CLOSE * least + NEAR).mean()) >= chance]
    return [asked[0], *sorted(close, key=lambda j: j not in best)[: kept - 1]]


def gain(best: Floats, other: Floats) -> float:
    """What could be saved per row by knowing which of two ways is the cheaper, over taking the first."""
    return float(np.maximum(0.0, best - other).mean())


def worth_asking(state: State, rows: int) -> tuple[int, ...]:
    """The ways that are worth their trial, the most promising of each model (the one whose trial costs least,
    where none was asked: what it shows tells about all of them)."""
    cost, room = believed(state), PART * PURSE * state.problem.rows - state.spent
    best = best_of(state, cost)
    first = min((cost[j] for j in best.values()), key=lambda each: each.mean(), default=np.ones(DRAWS))
    found = dict[int, float]()
    for j, seen in state.candidates.items():
        price, own = trial(state, j, rows), best.get(kin(state, j)[0])
        if seen.rows or seen.rate >= AS_EXPENSIVE or price > room or surprising(state, j, room):
            continue
        others = first if own is None else np.minimum(first, cost[own])
        if (worth := TOLD * gain(others, cost[j]) * state.left - price) > 0:
            found[j] = worth
    picked, spent = list[int](), 0.0
    for j in sorted(found, key=lambda j: -found[j] if met(state, j) else trial(state, j, rows)):
        if any(i in picked for i in kin(state, j)) or spent + trial(state, j, rows) > room:
            continue
        picked.append(j)
        spent += trial(state, j, rows)
    return tuple(picked)


def trial(state: State, j: int, rows: float) -> float:
    """What it costs to ask a way about so many rows, and all rows that share their calls, in reference calls."""
    return state.problem.bought(j, rows) * state.candidates[j].rate


def surprising(state: State, j: int, room: float) -> bool:
    """Whether its calls may cost more than there is room for, by what is known of one, and nobody of its model has
    been asked."""
    return not met(state, j) and state.problem.bought(j, 1) * at_most(state.problem, j) > 10 * room


def believed(state: State) -> dict[int, Floats]:
    """By way, shape (DRAWS,): what finishing with it would cost per row, in reference calls, in draws that belong
    together, given what was seen of it and of others."""
    problem, cost = state.problem, dict[int, Floats]()
    share = max(0, state.allowance) / max(1, state.left)
    families = dict[int, list[int]]()
    for j in state.candidates:
        families.setdefault(problem.kin[j] if problem.kin else j, []).append(j)
    for family, ways in families.items():
        rates = bad_rates(state, family, ways)
        for column, j in enumerate(ways):
            cost[j] = finishing(state, j, rates[:, column], share)
    return cost


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


def bad_rates(state: State, family: int, ways: Sequence[int]) -> Floats:
    """Shape (DRAWS, ways): draws of the bad rates of a model's ways, given what was seen: particles of the belief
    before, drawn again by how well they explain it."""
    rng = np.random.default_rng(family)
    model = rng.normal(*MODEL, size=(PARTICLES, 1))
    worse = PACKED * np.log2([state.problem.packs[j] if state.problem.packs else 1 for j in ways])
    odds = model + worse + rng.normal(0.0, WAY, size=(PARTICLES, len(ways)))
    seen = [state.candidates[j] for j in ways]
    bad, good = (np.array([getattr(each, name) for each in seen], float) for name in ("bad", "agreed"))
    fits = (bad * -np.logaddexp(0.0, -odds) + good * -np.logaddexp(0.0, odds)).sum(axis=1)
    fits /= 1 + SAME * max(0, sum(each.rows > 0 for each in seen) - 1)
    weights = np.exp(fits - fits.max())
    places = (np.arange(DRAWS) + 0.5) / DRAWS * weights.sum()
    drawn = np.minimum(np.searchsorted(np.cumsum(weights), places), PARTICLES - 1)
    return np.asarray(expit(odds[rng.permutation(drawn)]))
