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
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from smart_llm.procedures.mix.pilot import State, heard, outlook
from smart_llm.procedures.money import AS_EXPENSIVE, PURSE, at_most
from smart_llm.types import Answers, Ask, Floats, Problem

FEWEST, MOST = 8, 60
"""Pilot rows that ways are compared on: the cube root of the table, within these."""
KEPT = 3
"""Ways that the ladder then chooses from."""
MODEL = (float(logit(0.12)), 1.4)
"""Of the log-odds of a bad row by a model: mean and deviation of what is believed before anything is seen."""
WAY = 0.5
"""Deviation of a way from its model's log-odds."""
PACKED = 0.08
"""How much worse, in log-odds, a pack is believed to be for every doubling of its rows."""
BROKEN = 0.01
"""Share of answers that a way not asked yet is believed to break the contract with."""
HOPE = 0.7
"""Of the rows that could not be delivered blindly: what routing by scores still defers."""
TOLD = 0.5
"""Share of what knowing all would save that so few rows tell."""
NEXT_TO_NOTHING = 0.0004
"""Of reference-only cost: a way that costs no more to try is tried with others in one round."""
AT_ONCE = 4
"""Ways asked in one round, at most."""
DRAWS, PARTICLES = 400, 6000
"""Joint draws of what ways may do, and those that they are drawn from."""


def sieve(state: State) -> Generator[Ask, Answers, State]:
    """Ask ways about a few rows until no other is worth asking; the state with the few that are left."""
    if not many(state.problem) or not state.candidates:
        return state
    rows = opening_rows(state.problem)
    while new := worth_asking(state, rows):
        again = bool(state.rows)
        answers = yield Ask(state.order[:rows], (0, *new), "pilot again" if again else "pilot", outlook(state))
        state = heard(state, new, answers, fresh=0 if again else rows)
    return without(state, chosen(state)) if state.rows else state


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


def chosen(state: State) -> list[int]:
    """The ways that the ladder chooses from: the best, and those that are not clearly worse."""
    beliefs = believed(state)
    asked = sorted(state.asked, key=lambda j: beliefs.cost[j].mean())
    if not asked:
        return []
    best = beliefs.cost[asked[0]]
    close = [j for j in asked[1:] if float(np.maximum(0.0, best - beliefs.cost[j]).mean()) * state.left > 1.0]
    return [asked[0], *close[: KEPT - 1]]


def worth_asking(state: State, rows: int) -> tuple[int, ...]:
    """The ways to ask next; none: enough is known."""
    beliefs = believed(state)
    best = min((beliefs.cost[j] for j in state.asked), key=lambda cost: cost.mean(), default=None)
    best = np.ones(DRAWS) if best is None or best.mean() > 1 else best
    room = PURSE * state.problem.rows - state.spent
    found = list[tuple[float, int]]()
    for j, seen in state.candidates.items():
        price = trial(state, j, rows)
        if seen.rows or seen.rate >= AS_EXPENSIVE or price > room or surprising(state, j, room):
            continue
        gain = TOLD * float(np.maximum(0.0, best - beliefs.cost[j]).mean()) * state.left
        if gain > price:
            found.append((gain - price, j))
    if not found:
        return ()
    if not state.rows:  # the cheapest first, for whatever it shows tells about all ways of its model
        return (min((j for _, j in found), key=lambda j: state.candidates[j].rate),)
    found.sort(reverse=True)
    first, *others = [j for _, j in found]
    cheap = [j for j in others if trial(state, j, rows) <= NEXT_TO_NOTHING * state.problem.rows]
    return (first, *cheap[: AT_ONCE - 1])


def trial(state: State, j: int, rows: int) -> float:
    """What it costs to ask a way about so many rows, and all rows that share their calls, in reference calls."""
    return state.problem.bought(j, rows) * state.candidates[j].rate


def surprising(state: State, j: int, room: float) -> bool:
    """Whether its calls may cost more than there is room for, by what is known of one, and nobody of its model has
    been asked."""
    kin = state.problem.kin
    met = any(seen.rows for i, seen in state.candidates.items() if kin and kin[i] == kin[j])
    return not met and state.problem.bought(j, 1) * at_most(state.problem, j) > 10 * room


@dataclass(frozen=True, slots=True)
class Beliefs:
    """By way, shape (DRAWS,): what finishing with it would cost per row, in reference calls, in draws that belong
    together."""

    cost: dict[int, Floats]


def believed(state: State) -> Beliefs:
    """What is believed of all ways, by what was seen of some."""
    problem, cost = state.problem, dict[int, Floats]()
    share = max(0, state.allowance) / max(1, state.left)
    families = dict[int, list[int]]()
    for j in state.candidates:
        families.setdefault(problem.kin[j] if problem.kin else j, []).append(j)
    for family, ways in families.items():
        rates = bad_rates(state, family, ways)
        for column, j in enumerate(ways):
            cost[j] = finishing(state, j, rates[:, column], share)
    return Beliefs(cost)


def finishing(state: State, j: int, bad: Floats, share: float) -> Floats:
    """Cost per row of finishing with a way that is bad on these shares of the rows."""
    seen = state.candidates[j]
    broken = (seen.deferred + BROKEN) / (seen.rows + 1)
    deferred = np.minimum(1.0, HOPE * np.maximum(0.0, 1 - share / np.maximum(bad, 1e-9)) + broken)
    useful = bad < 1 - float(state.problem.floor)
    return np.asarray(np.where(useful, np.minimum(1.0, seen.price + deferred), 1.0))


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
    weights = np.exp(fits - fits.max())
    places = (np.arange(DRAWS) + 0.5) / DRAWS * weights.sum()
    drawn = np.minimum(np.searchsorted(np.cumsum(weights), places), PARTICLES - 1)
    return np.asarray(expit(odds[rng.permutation(drawn)]))
