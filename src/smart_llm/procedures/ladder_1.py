"""`ladder/1`: a time-uniform limit for every candidate, and the cheapest mix those limits allow.

Rows are profiled as a prefix of the seeded order; after every batch each candidate's number of bad rows is limited
from above (stats.beta_binomial). The limits hold at all looks at once, so any stopping rule may be used: profiling goes
on while the posterior expected cost of finishing later is below that of finishing now. α is spent as follows: four
fifths evenly over the candidates in the plan (dropping one frees nothing), one fifth on the tail of the mix (which rows
happen to be accepted), halved when two candidates share the table, with the allowance split between them.

Bad marks already profiled are delivered with the reference's answer, so only those left count against the allowance;
profiled rows the reference failed on are misses for good and reduce it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from scipy.special import betaincinv

from smart_llm.stats.beta_binomial import Prior, expected_share, largest_share, log_wealth, upper_limit
from smart_llm.stats.sampling import permutation
from smart_llm.types import (
    BAD,
    DEFER,
    ERROR,
    NOT_ASKED,
    Answers,
    Ask,
    Floats,
    Mix,
    Outlook,
    Problem,
    Standing,
    Verdict,
)

NAME = "ladder/1"
LIMIT_SHARE = 0.8  # of α to the limits, the rest to the mix's tail
PRIOR_WEIGHT, PRIOR_RATE = 40.0, 0.6
OVERRUN = 0.03  # of reference-only cost: what candidates may cost before anything is certified
QUANTILES = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
SPLITS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Tally:
    """What has been seen of one candidate. Counts are of rows; `limit` is the running minimum of U_n; `looks` holds
    (seen, bad, U_n) of every look."""

    seen: int = 0
    bad: int = 0
    deferred: int = 0
    spent: float = 0.0
    limit: int = 0
    looks: tuple[tuple[int, int, int], ...] = ()
    in_play: bool = True


@dataclass(frozen=True, slots=True)
class Finish:
    """One way to finish, and its expected cost in USD from here on. parts: (candidate, its part of the allowance,
    rows it is given)."""

    parts: tuple[tuple[int, int, int], ...]
    cost: float

    @property
    def rule(self) -> Mix:
        """What is delivered."""
        return Mix(tuple((j, rows) for j, _, rows in self.parts))


@dataclass(frozen=True, slots=True)
class State:
    """All a look needs. `tallies[j-1]` belongs to candidate j."""

    problem: Problem
    tallies: tuple[Tally, ...]
    seen: int = 0
    errors: int = 0
    reference_spent: float = 0.0

    @property
    def left(self) -> int:
        """Rows not profiled yet."""
        return self.problem.rows - self.seen

    @property
    def allowance(self) -> int:
        """Misses still allowed among the rows left."""
        return self.problem.allowance - self.errors

    def price(self, model: int) -> float:
        """Expected USD of one call: the prior rate until ten calls are known, then their mean."""
        spent, calls = (
            (self.reference_spent, self.seen)
            if model == 0
            else (self.tallies[model - 1].spent, self.tallies[model - 1].seen)
        )
        return spent / calls if calls >= 10 else self.problem.rates[model]

    def row_price(self, candidate: int) -> float:
        """Expected USD of a row given to a candidate, deferrals included."""
        tally = self.tallies[candidate - 1]
        return self.price(candidate) + self.price(0) * tally.deferred / max(1, tally.seen)

    def playing(self) -> list[int]:
        """Candidates still asked."""
        return [j for j, tally in enumerate(self.tallies, 1) if tally.in_play]


def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Profile until finishing now is cheapest; return the cheapest certified mix."""
    state, notes = start(problem)
    order = permutation(problem.seed, "order", problem.rows)
    view = weigh(state)
    while count := next_batch(state, view):
        rows = order[state.seen : state.seen + count]
        answers = yield Ask(rows, (0, *state.playing()), "profile", outlook(state, view))
        state = look(state, answers)
        state, view = drop(state, weigh(state))
    profiled = order[: state.seen]
    evidence = describe(state, view.now)
    return Verdict(bool(view.now.parts), view.now.rule, profiled, NAME, evidence, outlook(state, view), tuple(notes))


def start(problem: Problem) -> tuple[State, list[str]]:
    """Before anything is asked: who can pay at all."""
    notes, tallies = [], []
    for name, rate in zip(problem.candidates, problem.rates[1:], strict=True):
        pays = rate < problem.rates[0]
        if not pays:
            notes.append(f"{name} is not cheaper than {problem.reference}: not used.")
        tallies.append(Tally(limit=problem.rows, in_play=pays))
    return State(problem, tuple(tallies)), notes


def level(problem: Problem) -> float:
    """α of one candidate's limit."""
    return LIMIT_SHARE * problem.alpha / max(1, len(problem.candidates))


def prior(problem: Problem) -> Prior:
    """The working prior: fixed before anything is seen."""
    return Prior.around(PRIOR_RATE * float(1 - problem.agreement), PRIOR_WEIGHT)


def look(state: State, answers: Answers) -> State:
    """Count a batch in and tighten the limits."""
    problem, tallies = state.problem, list(state.tallies)
    for j in state.playing():
        tally, marks = tallies[j - 1], answers.marks[:, j]
        seen, bad = tally.seen + int((marks != NOT_ASKED).sum()), tally.bad + int((marks == BAD).sum())
        limit = upper_limit(problem.rows, np.array([seen]), np.array([bad]), level(problem), prior(problem))[0]
        tallies[j - 1] = Tally(
            seen,
            bad,
            tally.deferred + int((marks == DEFER).sum()),
            tally.spent + float(answers.cost[:, j].sum()),
            min(tally.limit, int(limit)),
            (*tally.looks, (seen, bad, int(limit))),
        )
    return replace(
        state,
        tallies=tuple(tallies),
        seen=state.seen + len(answers.marks),
        errors=state.errors + int((answers.marks[:, 0] == ERROR).sum()),
        reference_spent=state.reference_spent + float(answers.cost[:, 0].sum()),
    )


# --------------------------------------------------------------------------- what is certified now


def finish_now(state: State) -> Finish:
    """The cheapest certified way to finish now. Ways are compared by an approximate share, the winner is exact."""
    tail = (1 - LIMIT_SHARE) * state.problem.alpha
    usable = [j for j, tally in enumerate(state.tallies, 1) if tally.seen and _plausible(tally)]
    alone: list[tuple[tuple[int, int], ...]] = [((j, state.allowance),) for j in usable]
    pairs = [
        ((i, b := int(split * state.allowance)), (j, state.allowance - b))
        for i, j in permutations(usable, 2)
        for split in SPLITS
    ]
    ways = [(), *alone, *pairs]
    best = min(ways, key=lambda way: _finish(state, way, tail, _about).cost)
    exact = [_finish(state, (), tail, _exactly), _finish(state, best, tail, _exactly)]
    return min(exact, key=lambda finish: finish.cost)


def _plausible(tally: Tally) -> bool:
    """A candidate that is surely wrong more often than right is never delivered."""
    return bool(betaincinv(tally.bad + 0.5, tally.seen - tally.bad + 0.5, 0.05) < 0.5)


def _about(left: int, bad_left: int, allowance: int, tail: float) -> int:
    return left if bad_left <= allowance else int(expected_share(left, float(bad_left), allowance, tail))


def _exactly(left: int, bad_left: int, allowance: int, tail: float) -> int:
    return largest_share(left, bad_left, allowance, tail)


def _finish(
    state: State, way: tuple[tuple[int, int], ...], tail: float, share: Callable[[int, int, int, float], int]
) -> Finish:
    """What a way (candidate, its part of the allowance) gives: each member draws from the rows the others left."""
    parts, left = [], state.left
    for j, allowance in way:
        tally = state.tallies[j - 1]
        # A dropped candidate's bad rows among those profiled since are unknown: no credit for them.
        rows = min(left, share(state.left, min(state.left, tally.limit - tally.bad), allowance, tail / len(way)))
        if rows > 0:
            parts.append((j, allowance, rows))
            left -= rows
    cost = sum(rows * state.row_price(j) for j, _, rows in parts)
    return Finish(tuple(parts), cost + left * state.price(0))


# --------------------------------------------------------------------------- whether to go on


@dataclass(frozen=True, slots=True)
class View:
    """Finishing now beside going on. later, lucky: expected USD from here on per candidate still asked."""

    now: Finish
    later: dict[int, float]
    lucky: dict[int, float]


def weigh(state: State) -> View:
    """What finishing now costs, and what each candidate still asked could bring."""
    costs = {j: _later(state, j) for j in state.playing()} if state.left else {}
    later = {j: float(cost.mean(axis=1).min()) for j, cost in costs.items()}
    lucky = {j: float(cost[:, :2].mean(axis=1).min()) for j, cost in costs.items()}
    return View(finish_now(state), later, lucky)


def next_batch(state: State, view: View) -> int:
    """How many rows to profile next; 0 to finish."""
    if not view.later or _overrun(state, view) or min(view.later.values()) >= view.now.cost:
        return 0
    return min(state.left, max(10, state.seen // 8))


def _overrun(state: State, view: View) -> bool:
    spent = sum(tally.spent for tally in state.tallies)
    return not view.now.parts and spent > OVERRUN * state.problem.rows * state.price(0)


def _later(state: State, j: int) -> Floats:
    """Expected USD from here on when candidate j alone is profiled up to each n' of a geometric grid.

    Shape (grid, QUANTILES): one column per quantile of the posterior of its bad rate.
    """
    problem, tally = state.problem, state.tallies[j - 1]
    more = np.unique(np.minimum(state.left, np.ceil(10 * 1.6 ** np.arange(24)))).astype(np.int64)[:, None]
    rate = betaincinv(tally.bad + 0.5, tally.seen - tally.bad + 1.5, QUANTILES)[None, :]
    seen, bad = np.broadcast_arrays(tally.seen + more, np.rint(tally.bad + more * rate).astype(np.int64))
    limit = np.minimum(tally.limit, upper_limit(problem.rows, seen, bad, level(problem), prior(problem)))
    left = state.left - more
    tail = (1 - LIMIT_SHARE) * problem.alpha
    share = expected_share(left.astype(float), np.minimum(left, limit - bad).astype(float), state.allowance, tail)
    share = np.where(limit - bad <= state.allowance, left, share)
    saved = np.maximum(0.0, share * (state.price(0) - state.row_price(j)))
    cost: Floats = more * (state.price(0) + state.price(j)) + left * state.price(0) - saved
    return cost


def drop(state: State, view: View) -> tuple[State, View]:
    """Stop asking candidates that, even if lucky, would not end below the best one's expected cost."""
    if len(view.later) < 2:
        return state, view
    bar = min(view.now.cost, *view.later.values())
    tallies = tuple(
        replace(tally, in_play=tally.in_play and view.lucky[j] <= bar) for j, tally in enumerate(state.tallies, 1)
    )
    later = {j: cost for j, cost in view.later.items() if tallies[j - 1].in_play}
    return replace(state, tallies=tallies), replace(view, later=later)


# --------------------------------------------------------------------------- what is shown and kept


def outlook(state: State, view: View) -> Outlook:
    """For the progress display: two-sided 90 % beta limits of each agreement, expected cost of the whole run."""
    standings = tuple(
        Standing(
            name,
            tally.seen,
            tally.seen - tally.bad,
            float(betaincinv(tally.seen - tally.bad + 0.5, tally.bad + 0.5, 0.05)),
            float(betaincinv(tally.seen - tally.bad + 0.5, tally.bad + 0.5, 0.95)),
            tally.in_play,
        )
        for name, tally in zip(state.problem.candidates, state.tallies, strict=True)
    )
    spent = state.reference_spent + sum(tally.spent for tally in state.tallies)
    ahead = min([view.now.cost, *view.later.values()])
    whole = state.problem.rows * state.price(0)
    return Outlook(standings, (spent + ahead) / whole if whole else 1.0)


def describe(state: State, best: Finish) -> dict[str, object]:
    """The evidence: counts, limits and shares; `verifying.ladder_1` recomputes the latter from the former.

    looks: [seen, bad, U_n, log wealth against U_n + 1] of every look (wealth null where U_n is all the table can hold).
    """
    problem = state.problem
    return {
        "profiled": state.seen,
        "allowance": problem.allowance,
        "errors": state.errors,
        "allowance_left": state.allowance,
        "candidates": [
            {"model": name, "looks": [_looked(problem, *each) for each in tally.looks], "limit": tally.limit}
            for name, tally in zip(problem.candidates, state.tallies, strict=True)
        ],
        "shares": [
            {"model": problem.candidates[j - 1], "allowance": part, "rows": rows} for j, part, rows in best.parts
        ],
    }


def _looked(problem: Problem, seen: int, bad: int, limit: int) -> list[float | None]:
    if limit == problem.rows - seen + bad:
        return [seen, bad, limit, None]
    wealth = log_wealth(
        np.array(limit + 1.0), problem.rows, np.array(float(seen)), np.array(float(bad)), prior(problem)
    )
    return [seen, bad, limit, float(wealth)]
