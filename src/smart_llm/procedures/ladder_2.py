"""`ladder/2`: a pilot, then one exact sequential design for the candidate that is likely to save most.

1. Pilot: the first rows of the seeded order, used freely and never as evidence; their reference answers are delivered.
   It ends when more of it would cost more than a better choice can save (`planning`).
2. Design: a stopping table for the finalist on the rows left, fixed before any evidence is seen, with exact worst-case
   error ≤ α (`stats.design`, `stats.sequential`).
3. Evidence: the next rows of the same order, up to each look, until the table says stop; it says how many of the rows
   left go to the candidate.

Rows without an answer of the reference are misses for good. Those of the pilot reduce the allowance; for those among
the evidence a part of it is set aside beforehand, and if they are more, only what the rest of the allowance covers
without evidence is handed over.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv

from smart_llm import planning
from smart_llm.planning import Seen
from smart_llm.stats.design import Design
from smart_llm.stats.sampling import permutation
from smart_llm.stats.sequential import GO_ON
from smart_llm.types import BAD, DEFER, ERROR, Answers, Ask, Floats, Ints, Mix, Outlook, Problem, Standing, Verdict

NAME = "ladder/2"


@dataclass(frozen=True, slots=True)
class State:
    """What is known so far. rows: profiled; errors: of the reference. candidates: index → what was seen of it."""

    problem: Problem
    order: Ints
    candidates: dict[int, Seen]
    asked: frozenset[int] = frozenset()
    rows: int = 0
    errors: int = 0

    @property
    def left(self) -> int:
        """Rows not profiled yet."""
        return self.problem.rows - self.rows

    @property
    def allowance(self) -> int:
        """Misses still allowed."""
        return max(0, self.problem.allowance - self.errors)


def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Pilot, design, evidence, verdict."""
    state, notes = start(problem)
    if not state.candidates:
        return Verdict(False, Mix(), np.empty(0, np.int64), NAME, {"candidate": None}, None, tuple(notes))
    state = yield from pilot(state)
    return (yield from certify(state, notes))


def start(problem: Problem) -> tuple[State, list[str]]:
    """Before anything is asked: who can pay at all."""
    notes, candidates = [], {}
    for j, name in enumerate(problem.candidates, 1):
        if problem.rates[j] < problem.rates[0]:
            candidates[j] = Seen(problem.rates[j] / problem.rates[0])
        else:
            notes.append(f"{name} is not cheaper than {problem.reference}: not used.")
    return State(problem, permutation(problem.seed, "order", problem.rows), candidates), notes


# --------------------------------------------------------------------------- pilot


def pilot(state: State) -> Generator[Ask, Answers, State]:
    """Ask until the choice is worth no more pilot rows."""
    while True:
        rows, models = next_pilot(state)
        if not models:
            return state
        if rows:
            positions, stage = state.order[state.rows : state.rows + rows], "pilot"
        else:
            positions, stage = state.order[: state.rows], "pilot again"
        answers = yield Ask(positions, (0, *models), stage, outlook(state))
        state = heard(state, models, answers, fresh=rows)


def next_pilot(state: State) -> tuple[int, tuple[int, ...]]:
    """How many new rows to ask which candidates about; 0 rows = the rows already asked; no models = enough."""
    total = state.problem.rows
    if state.rows == 0:
        first = min(max(4, int(0.3 * total ** (1 / 3))), total // 4)
        cheap = tuple(j for j, seen in state.candidates.items() if first * seen.call <= 0.004 * total)
        return (first, cheap) if len(state.candidates) > 1 and first and cheap else (0, ())
    keys, forecasts = forecasts_of(state)
    regrets = dict(zip(keys, planning.regret(forecasts), strict=True))
    chosen = keys[planning.best(forecasts)]
    late = [j for j in keys if j not in state.asked]
    worth = [j for j in late if planning.HOPE * regrets[j] > state.rows * state.candidates[j].call]
    if chosen in late:
        worth.append(chosen)
    if worth and state.rows:
        return 0, tuple(sorted(set(worth)))
    return longer(state, {j: regrets[j] for j in keys if j in state.asked}, chosen, min(f.mean() for f in forecasts))


def longer(state: State, regrets: dict[int, float], chosen: int, cost: float) -> tuple[int, tuple[int, ...]]:
    """Half as many rows again for the candidates still in question, if that pays."""
    rows = min(state.left, max(4, state.rows // 2))
    rivals = [j for j, lost in regrets.items() if planning.HOPE * lost > rows * state.candidates[j].call]
    if not rivals:
        return 0, ()
    models = tuple(sorted({chosen, *rivals}))
    price = rows * (1 + sum(state.candidates[j].call for j in models) - cost / max(1, state.left))
    return (rows, models) if planning.HOPE * sum(regrets[j] for j in rivals) > price else (0, ())


def forecasts_of(state: State) -> tuple[list[int], list[Floats]]:
    """Every candidate's forecast for the rows left."""
    keys = list(state.candidates)
    alpha = state.problem.alpha
    return keys, [
        planning.forecast(state.left, state.allowance, alpha, planning.plain(state.candidates[j])) for j in keys
    ]


def heard(state: State, models: tuple[int, ...], answers: Answers, *, fresh: int) -> State:
    """Count a batch in; `fresh` rows of it were not asked before."""
    lost = answers.marks[:, 0] == ERROR
    candidates = dict(state.candidates)
    for j in models:
        marks, old = answers.marks[:, j], candidates[j]
        candidates[j] = replace(
            old,
            rows=old.rows + len(marks),
            bad=old.bad + int(((marks == BAD) | lost).sum()),
            deferred=old.deferred + int((marks == DEFER).sum()),
            spent=old.spent + float(answers.cost[:, j].sum()),
            beside=old.beside + float(answers.cost[:, 0].sum()),
        )
    errors = state.errors + (int(lost.sum()) if fresh else 0)
    return replace(
        state, candidates=candidates, asked=state.asked | set(models), rows=state.rows + fresh, errors=errors
    )


# --------------------------------------------------------------------------- evidence


@dataclass(frozen=True, slots=True)
class Plan:
    """Fixed before the evidence. pilot: rows of it; spare: errors provided for; allowance: of the design."""

    candidate: int
    pilot: int
    errors: int
    spare: int
    allowance: int
    design: Design


def certify(state: State, notes: list[str]) -> Generator[Ask, Answers, Verdict]:
    """Follow the finalist's table."""
    plan = planned(state)
    table = plan.design.table
    bad = errors = 0
    for k, seen in enumerate(table.looks):
        rows = plan.pilot + seen - state.rows
        if rows:
            positions = state.order[state.rows : state.rows + rows]
            answers = yield Ask(positions, (0, plan.candidate), "profile", outlook(state, plan.candidate))
            lost = answers.marks[:, 0] == ERROR
            bad += int(((answers.marks[:, plan.candidate] == BAD) | lost).sum())
            errors += int(lost.sum())
            state = heard(state, (plan.candidate,), answers, fresh=rows)
        share = table.share(k, bad, state.left)
        if share != GO_ON:
            break
    return verdict(state, plan, notes, (k, bad, errors, share))


def planned(state: State) -> Plan:
    """The finalist and its design."""
    keys, forecasts = forecasts_of(state)
    candidate = keys[planning.best(forecasts)]
    expected_errors = state.errors / max(1, state.rows) * min(state.left, 2 * state.left ** (2 / 3))
    spare = min(state.allowance, state.allowance // 100 + int(np.ceil(expected_errors)))
    allowance = state.allowance - spare
    seen = planning.plain(state.candidates[candidate])
    design = planning.design_for(state.left, allowance, state.problem.alpha, seen)
    return Plan(candidate, state.rows, state.errors, spare, allowance, design)


def verdict(state: State, plan: Plan, notes: list[str], stop: tuple[int, int, int, int]) -> Verdict:
    """What the table grants, less what errors and prices forbid."""
    _, _, errors, share = stop
    seen = state.candidates[plan.candidate]
    granted = share
    if errors > plan.spare:
        granted = min(share, max(0, plan.allowance + plan.spare - errors))
        notes = [*notes, f"{errors} profiled rows have no answer, more than the {plan.spare} provided for."]
    if withheld(seen):
        granted = 0
    rule = Mix(((plan.candidate, granted),)) if granted else Mix()
    evidence = describe(state, plan, stop, granted)
    profiled = state.order[: state.rows]
    return Verdict(granted > 0, rule, profiled, NAME, evidence, outlook(state, plan.candidate), tuple(notes))


def withheld(seen: Seen) -> str | None:
    """Why a certified share is not used: the candidate saves nothing, or is surely wrong more often than right."""
    if seen.gain <= 0:
        return "no gain"
    return "below one half" if betaincinv(seen.bad + 0.5, seen.rows - seen.bad + 0.5, 0.05) > 0.5 else None


def describe(state: State, plan: Plan, stop: tuple[int, int, int, int], granted: int) -> dict[str, object]:
    """The evidence: design, counts, share. Counts come in pairs that add up, so that no one number can be changed."""
    look, bad, errors, share = stop
    table, population = plan.design.table, state.problem.rows - plan.pilot
    seen, worst = table.looks[look], plan.design.worst
    return {
        "candidate": state.problem.candidates[plan.candidate - 1],
        "allowance": state.problem.allowance,
        "pilot": {"rows": plan.pilot, "errors": plan.errors},
        "spare": plan.spare,
        "population": population,
        "design": {
            "allowance": plan.allowance,
            "looks": list(table.looks),
            "left": [population - each for each in table.looks],
            "shares": [shares.tolist() for shares in table.shares],
            "sums": [int(shares.sum()) for shares in table.shares],
            "worst": {"bad": worst.bad, "good": population - worst.bad, "error": worst.error},
        },
        "stop": {
            "look": look,
            "seen": seen,
            "bad": bad,
            "fine": seen - bad,
            "errors": errors,
            "answered": seen - errors,
            "share": share,
        },
        "withheld": withheld(state.candidates[plan.candidate]),
        "granted": granted,
    }


def outlook(state: State, chosen: int | None = None) -> Outlook:
    """For the progress display: two-sided 90 % beta limits of each agreement, expected cost of the whole run."""
    keys, forecasts = forecasts_of(state)
    standings = tuple(
        Standing(
            state.problem.candidates[j - 1],
            seen.rows,
            seen.rows - seen.bad,
            float(betaincinv(seen.rows - seen.bad + 0.5, seen.bad + 0.5, 0.05)),
            float(betaincinv(seen.rows - seen.bad + 0.5, seen.bad + 0.5, 0.95)),
            chosen in (None, j),
        )
        for j, seen in state.candidates.items()
    )
    calls = sum(seen.rows * seen.call for seen in state.candidates.values())
    ahead = forecasts[keys.index(chosen)].mean() if chosen else min(each.mean() for each in forecasts)
    return Outlook(standings, float((state.rows + calls + ahead) / state.problem.rows))
