"""`ladder/2`: a pilot, then exact sequential designs for the candidates that are likely to save most.

1. Pilot: the first rows of the seeded order, used freely and never as evidence (`pilot`).
2. Designs: for each of at most three finalists a part of α and a stopping table for the rows left, fixed before any
   evidence is seen, with exact worst-case error at most that part (`stats.design`, `stats.sequential`).
3. Evidence: the next rows of the same order, up to each look, are answered by the reference and the finalists still
   followed. A table that says stop settles how many of the rows left may go to its candidate; the others may be
   followed further while one of them is likely to save more (`onward`, in money only), and at the end the candidate
   whose share saves most is used.

Going on after a table has said stop does not weaken it: its share was a random draw of the rows left then, say the last
ones of the order, and what is handed over in the end is among them (`docs/claims.md`). The parts of α add up.

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
from smart_llm.procedures.pilot import State, heard, outlook, pilot, start
from smart_llm.stats.design import Design
from smart_llm.stats.sequential import GO_ON
from smart_llm.types import BAD, ERROR, Answers, Ask, Floats, Mix, Problem, Verdict

NAME = "ladder/2"


def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Pilot, designs, evidence, verdict."""
    state, notes = start(problem)
    if not state.candidates:
        return Verdict(False, Mix(), np.empty(0, np.int64), NAME, {"finalists": []}, None, tuple(notes))
    state = yield from pilot(state)
    return (yield from certify(state, notes))


# --------------------------------------------------------------------------- the plan


@dataclass(frozen=True, slots=True)
class Plan:
    """Fixed before the evidence. pilot: rows of it; errors: the reference's among them; spare: errors provided for;
    allowance: of the designs. finalists: candidate → its part of α and its design."""

    pilot: int
    errors: int
    spare: int
    allowance: int
    finalists: dict[int, tuple[float, Design]]


def planned(state: State) -> Plan:
    """The finalists and their designs. Where the plan sets nothing aside for rows without an answer (a recorded table,
    which knows how many there are), none is provided for until one is met."""
    expected_errors = state.errors / max(1, state.rows) * min(state.left, 2 * state.left ** (2 / 3))
    unmet = min(state.problem.reserve, state.allowance // 100)
    spare = min(state.allowance, unmet + int(np.ceil(expected_errors)))
    allowance = state.allowance - spare
    finalists = {
        j: (alpha, planning.design_for(state.left, allowance, alpha, planning.plain(state.candidates[j])))
        for j, part in state.field.finalists()
        for alpha in [state.problem.alpha * part]
    }
    return Plan(state.rows, state.errors, spare, allowance, finalists)


# --------------------------------------------------------------------------- evidence


@dataclass(frozen=True, slots=True)
class Course:
    """A finalist on its way through its table. bad: seen of it, at `look`; share: settled there (`GO_ON`: not yet)."""

    candidate: int
    alpha: float
    design: Design
    look: int = 0
    bad: int = 0
    share: int = GO_ON
    followed: bool = True

    @property
    def open(self) -> bool:
        """Whether it is still asked."""
        return self.followed and self.share == GO_ON

    def at(self, look: int, bad: int, left: int) -> Course:
        """The same after a look that brought so many more bad rows."""
        bad += self.bad
        return replace(self, look=look, bad=bad, share=self.design.table.share(look, bad, left))


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far things are. errors: of the reference among the evidence."""

    state: State
    plan: Plan
    courses: tuple[Course, ...]
    errors: int = 0


def certify(state: State, notes: list[str]) -> Generator[Ask, Answers, Verdict]:
    """Follow the finalists' tables to the end of the cheapest."""
    plan = planned(state)
    courses = tuple(Course(j, *each).at(0, 0, state.left) for j, each in plan.finalists.items())
    evidence = onward(Evidence(state, plan, courses))
    look = 0
    while followed := [each for each in evidence.courses if each.open]:
        look += 1
        evidence = yield from seen_until(evidence, look, followed)
        evidence = onward(evidence)
    return verdict(evidence, notes)


def seen_until(evidence: Evidence, look: int, followed: list[Course]) -> Generator[Ask, Answers, Evidence]:
    """Ask for the rows up to a look. All tables have their looks in the same places (some end sooner)."""
    state, seen = evidence.state, followed[0].design.table.looks[look]
    rows = evidence.plan.pilot + seen - state.rows
    models = tuple(each.candidate for each in followed)
    positions = state.order[state.rows : state.rows + rows]
    answers = yield Ask(positions, (0, *models), "profile", outlook(state, ahead(evidence), frozenset(models)))
    state = heard(state, models, answers, fresh=rows)
    lost = answers.marks[:, 0] == ERROR
    bad = {j: int(((answers.marks[:, j] == BAD) | lost).sum()) for j in models}
    courses = tuple(
        each.at(look, bad[each.candidate], state.left) if each.candidate in bad else each for each in evidence.courses
    )
    return replace(evidence, state=state, courses=courses, errors=evidence.errors + int(lost.sum()))


def onward(evidence: Evidence) -> Evidence:
    """Who is still worth following: no open course may go on once finishing with a settled share is cheaper, nor one
    whose next rows cost more than it can be expected to save. Money only: the promise does not depend on it."""
    state, open_ = evidence.state, [each for each in evidence.courses if each.open]
    if not open_ or len(evidence.courses) == 1:
        return evidence
    now = min((finish(evidence, each) for each in evidence.courses if each.share != GO_ON), default=np.inf)
    costs = {each.candidate: ahead_of(evidence, each) for each in open_}
    rows = min(each.design.table.looks[each.look + 1] - each.design.table.looks[each.look] for each in open_)
    kept = set(costs)
    for each in sorted(open_, key=lambda each: -costs[each.candidate].mean()):
        others = np.min([np.full(planning.DRAWS, now), *(costs[j] for j in kept if j != each.candidate)], axis=0)
        hope = np.maximum(0.0, others - costs[each.candidate]).mean()
        if hope <= rows * state.candidates[each.candidate].call:
            kept.discard(each.candidate)
    if kept and now < np.inf:
        calls = sum(state.candidates[j].call for j in kept)
        later = now + rows * (1 + calls - now / max(1, state.left))
        best = np.min([np.full(planning.DRAWS, later), *(costs[j] for j in kept)], axis=0)
        kept = kept if best.mean() < now else set()
    courses = (
        replace(each, followed=each.followed and (not each.open or each.candidate in kept)) for each in evidence.courses
    )
    return replace(evidence, courses=tuple(courses))


def finish(evidence: Evidence, course: Course) -> float:
    """Cost of the rows left if a settled share is used now, in reference calls."""
    state = evidence.state
    return state.left - max(0.0, state.candidates[course.candidate].gain) * usable(evidence, course)


def usable(evidence: Evidence, course: Course) -> int:
    """Rows of a settled share that may still be handed over, and should be."""
    plan, left = evidence.plan, evidence.state.left
    granted = min(course.share, left)
    if evidence.errors > plan.spare:
        granted = min(granted, max(0, plan.allowance + plan.spare - evidence.errors))
    return 0 if withheld(evidence.state.candidates[course.candidate]) else granted


def ahead_of(evidence: Evidence, course: Course) -> Floats:
    """Shape (DRAWS,): cost of the rows left if an open course is followed to its end, by its table."""
    table = course.design.ahead
    assert table is not None
    rates = planning.drawn_rates(course.candidate, evidence.state.candidates[course.candidate])
    return table.at(course.look, course.bad, rates)


def ahead(evidence: Evidence) -> float:
    """Expected cost of the rows left, for the progress display."""
    return float(np.min([ahead_of(evidence, each) for each in evidence.courses if each.open], axis=0).mean())


# --------------------------------------------------------------------------- verdict


def verdict(evidence: Evidence, notes: list[str]) -> Verdict:
    """The settled share that saves most, less what errors and prices forbid."""
    state, plan = evidence.state, evidence.plan
    chosen = min((each for each in evidence.courses if each.share != GO_ON), key=lambda each: finish(evidence, each))
    granted = usable(evidence, chosen)
    if evidence.errors > plan.spare:
        notes = [*notes, f"{evidence.errors} profiled rows have no answer, more than the {plan.spare} provided for."]
    rule = Mix(((chosen.candidate, granted),)) if granted else Mix()
    profiled = state.order[: state.rows]
    told = outlook(state, finish(evidence, chosen), frozenset({chosen.candidate}))
    return Verdict(granted > 0, rule, profiled, NAME, describe(evidence, chosen, granted), told, tuple(notes))


def withheld(seen: Seen) -> str | None:
    """Why a certified share is not used: the candidate saves nothing, or is surely wrong more often than right."""
    if seen.gain <= 0:
        return "no gain"
    return "below one half" if betaincinv(seen.bad + 0.5, seen.rows - seen.bad + 0.5, 0.05) > 0.5 else None


def describe(evidence: Evidence, chosen: Course, granted: int) -> dict[str, object]:
    """The evidence: designs, counts, share. Counts come in pairs that add up, so that no one number can be changed."""
    state, plan = evidence.state, evidence.plan
    rows = state.rows - plan.pilot
    return {
        "candidate": state.problem.candidates[chosen.candidate - 1],
        "allowance": state.problem.allowance,
        "pilot": {"rows": plan.pilot, "errors": plan.errors},
        "spare": plan.spare,
        "population": state.problem.rows - plan.pilot,
        "finalists": [described(evidence, each) for each in evidence.courses],
        "profiled": {"rows": rows, "errors": evidence.errors, "answered": rows - evidence.errors},
        "left": state.left,
        "withheld": withheld(state.candidates[chosen.candidate]),
        "granted": granted,
    }


def described(evidence: Evidence, course: Course) -> dict[str, object]:
    """One finalist: its table, and where it stands in it (share null: it was followed no further)."""
    plan, table = evidence.plan, course.design.table
    population, seen, worst = evidence.state.problem.rows - plan.pilot, table.looks[course.look], course.design.worst
    return {
        "candidate": evidence.state.problem.candidates[course.candidate - 1],
        "allowance": plan.allowance,
        "looks": list(table.looks),
        "left": [population - each for each in table.looks],
        "shares": [shares.tolist() for shares in table.shares],
        "sums": [int(shares.sum()) for shares in table.shares],
        "worst": {"bad": worst.bad, "good": population - worst.bad, "error": worst.error},
        "stop": {
            "look": course.look,
            "seen": seen,
            "bad": course.bad,
            "fine": seen - course.bad,
            "share": None if course.share == GO_ON else course.share,
        },
    }
