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

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import expit, logit

from smart_llm.procedures.ladder.forecast import value_of_more
from smart_llm.procedures.mix.pilot import State, Step, heard, outlook
from smart_llm.procedures.money import AS_EXPENSIVE, PURSE, at_most
from smart_llm.types import Answers, Ask, Floats, Problem

FEWEST, MOST = 8, 60
"""Pilot rows that ways are compared on: the cube root of the table, within these."""
KEPT = 3
"""Ways that the ladder then chooses from."""
MODEL = (float(logit(0.12)), 1.4)
"""Of the log-odds of a bad row by a model: mean and deviation of what is believed before anything is seen."""
WAY = 0.35
"""Deviation of a way from its model's log-odds."""
PACKED = 0.08
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
CHANCE, PLAYING = 0.03, 2
"""How likely a way must be the best to be asked about more rows, and how many ways of a model are, at most."""
LONGER = 3
"""Times as many rows is what a way that the ladder may choose is likely to be asked about."""
DRAWS, PARTICLES = 400, 6000
"""Joint draws of what ways may do, and those that they are drawn from."""


def sieve(state: State) -> Generator[Ask, Answers, State]:
    """Ask ways about a few rows, and a few more rows, while that is worth it; the state with the few that are left."""
    if not many(state.problem) or not state.candidates:
        return state
    rows = opening_rows(state.problem)
    while (step := next_step(state, rows)) is not None:
        first, rows, models = step
        fresh = rows - max(first, state.rows)
        answers = yield Ask(state.order[first:rows], (0, *models), "pilot" if fresh else "pilot again", outlook(state))
        state = heard(state, models, answers, fresh=fresh)
    return without(state, chosen(state)) if state.rows else state


def next_step(state: State, rows: int) -> Step | None:
    """The cheapest way of every model first, then more rows for those that may be the best, then other ways that may
    be better than these, all as far as it is worth its price; else nothing."""
    rows = state.rows or rows
    worth = worth_asking(state, rows)
    first = tuple(j for j in worth if not met(state, j))
    if first:
        return 0, rows, first if state.rows else first[:1]
    return longer(state) or ((0, rows, worth) if worth else None)


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
    return int(max(1, min(MOST, max(FEWEST, problem.rows ** (1 / 3)), problem.rows // 4)))


def without(state: State, kept: Sequence[int]) -> State:
    """The state in which only these candidates are left."""
    out = frozenset(range(1, len(state.problem.rates))) - set(kept)
    return replace(
        state, problem=replace(state.problem, out=out), candidates={j: state.candidates[j] for j in sorted(kept)}
    )


def abreast(state: State) -> list[int]:
    """The ways asked about all rows so far, the best first."""
    cost = believed(state)
    asked = [j for j, seen in state.asked.items() if seen.rows == state.rows]
    return sorted(asked, key=lambda j: cost[j].mean())


def chosen(state: State) -> list[int]:
    """The ways that the ladder chooses from: the best, and those that may be worth their further calls."""
    asked, cost, rows = abreast(state), believed(state), state.rows
    if not asked:
        return []
    gains = {j: TOLD * gain(cost[asked[0]], cost[j]) * state.left for j in asked[1:]}
    close = [j for j in gains if gains[j] > trial(state, j, LONGER * rows) - trial(state, j, rows)]
    return [asked[0], *close[: KEPT - 1]]


def gain(best: Floats, other: Floats) -> float:
    """What could be saved per row by knowing which of two ways is the cheaper, over taking the first."""
    return float(np.maximum(0.0, best - other).mean())


def longer(state: State) -> Step | None:
    """Half as many rows again for the ways that may be the best, if a better choice is worth them."""
    cost, asked = believed(state), abreast(state)
    rows, more = state.rows, min(state.left, -(-state.rows // 2))
    if len(asked) < 2 or not more:
        return None
    table = np.stack([cost[j] for j in asked])
    wins = np.bincount(table.argmin(axis=0), minlength=len(asked)) / table.shape[1]
    likely = [j for j, share in zip(asked, wins, strict=True) if share >= CHANCE or j == asked[0]]
    playing = [j for j in likely if [i for i in likely if i in kin(state, j)].index(j) < PLAYING]
    calls = sum(trial(state, j, rows + more) - trial(state, j, rows) for j in playing)
    worth = value_of_more([cost[j][None, :] for j in playing], rows, more) * state.left
    price = more * (1 - min(1.0, float(table.mean(axis=1).min()))) + calls
    room = PURSE * state.problem.rows - state.spent
    return (rows, rows + more, tuple(sorted(playing))) if worth > price and calls <= room else None


def worth_asking(state: State, rows: int) -> tuple[int, ...]:
    """The ways that are worth their trial, the most promising of each model (the cheapest, where none was asked)."""
    cost, asked = believed(state), abreast(state)
    best = cost[asked[0]] if asked and cost[asked[0]].mean() < 1 else np.ones(DRAWS)
    room = PURSE * state.problem.rows - state.spent
    found = dict[int, float]()
    for j, seen in state.candidates.items():
        price = trial(state, j, rows)
        if seen.rows or seen.rate >= AS_EXPENSIVE or price > room or surprising(state, j, room):
            continue
        if (worth := TOLD * gain(best, cost[j]) * state.left - price) > 0:
            found[j] = worth
    picked, spent = list[int](), 0.0
    for j in sorted(found, key=lambda j: state.candidates[j].rate if not met(state, j) else -found[j]):
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
