"""The blind mix: exact sequential designs for the candidates that are likely to save most, after a pilot.

1. Pilot: the first rows of the seeded order, used freely and never as evidence (`mix_pilot`).
2. Designs: for each of at most three finalists a part of α and a stopping table for the rows left, fixed before any
   evidence is seen, with exact worst-case error at most that part (`stats.design`, `stats.sequential`).
3. Evidence: the next rows of the same order, up to each look, are answered by the reference and the finalists still
   followed. A table that says stop settles how many of the rows left may go to its candidate; the others may be
   followed further while one of them is likely to save more (`onward`, in money only), and at the end the candidate
   whose share saves most is used.

Going on after a table has said stop does not weaken it: its share was a random draw of the rows left then, say the last
ones of the order, and what is handed over in the end is among them (`docs/claims.md`). The parts of α add up. A table
that is given up may still hand over as many rows as there are misses allowed, which can never be too many.

Rows without an answer of the reference are misses for good. Those of the pilot reduce the allowance; for those among
the evidence a part of it is set aside beforehand, and if they are more, only what the rest of the allowance covers
without evidence is handed over.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from smart_llm.procedures.mix import forecast as planning
from smart_llm.procedures.mix.forecast import Seen
from smart_llm.procedures.mix.pilot import State, heard, outlook
from smart_llm.procedures.money import AS_EXPENSIVE, CAP
from smart_llm.procedures.pinning import digest
from smart_llm.stats.design import Design
from smart_llm.stats.sequential import GO_ON
from smart_llm.types import BAD, ERROR, Answers, Ask, Floats, Json, Mix, Verdict

# --------------------------------------------------------------------------- the plan


@dataclass(frozen=True, slots=True)
class Plan:
    """Fixed before the evidence. pilot: rows of it; errors: the reference's among them; spare: errors provided for;
    allowance: of the designs. finalists: candidate → its design and the reference calls that following it may cost."""

    pilot: int
    errors: int
    spare: int
    allowance: int
    finalists: dict[int, tuple[Design, float]]


def planned(state: State) -> Plan:
    """The finalists and their designs; none where misses are already too many, or no candidate has shown anything.
    Where the plan sets nothing aside for rows without an answer (a recorded table, which knows how many there are),
    none is provided for until one is met."""
    expected_errors = state.errors / max(1, state.rows) * min(state.left, 2 * state.left ** (2 / 3))
    unmet = min(state.problem.reserve, max(0, state.allowance) // 100)
    spare = min(max(0, state.allowance), unmet + int(np.ceil(expected_errors)))
    allowance = state.allowance - spare
    likely = {j: seen for j, seen in state.asked.items() if seen.likely}
    chosen = state.field(likely).finalists() if likely and allowance >= 0 else ()
    most = rounded(max(0.0, CAP * state.problem.alone - state.spent) / max(1, len(chosen)))
    finalists = {}
    for j, part in chosen:
        seen, alpha = planning.plain(state.candidates[j]), state.problem.alpha * part
        design = planning.design_for(state.left, allowance, alpha, seen, most)
        finalists[j] = design, planning.costs_of(seen, state.left, allowance, most).most
    return Plan(state.rows, state.errors, spare, allowance, finalists)


def rounded(money: float) -> float:
    """Down to two digits, so that like pilots share one design."""
    if money <= 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(money)) - 1)
    return float(np.floor(money / unit) * unit)


# --------------------------------------------------------------------------- evidence


DEARER = 1.25
"""× what a finalist may cost: where it is given up because its calls have become more expensive than they were."""


@dataclass(frozen=True, slots=True)
class Course:
    """A finalist on its way through its table. most: reference calls it may cost. bad: seen of it, at `look`; share:
    settled there (`GO_ON`: not yet)."""

    candidate: int
    design: Design
    most: float
    look: int = 0
    bad: int = 0
    share: int = GO_ON

    @property
    def open(self) -> bool:
        """Whether it is still asked."""
        return self.share == GO_ON

    @property
    def ahead(self) -> int:
        """Rows that its next look has seen."""
        return self.design.table.looks[self.look + 1]

    def at(self, look: int, bad: int, left: int) -> Course:
        """The same after a look that brought this many more bad rows."""
        bad += self.bad
        return replace(self, look=look, bad=bad, share=self.design.table.share(look, bad, left))

    def given_up(self, left: int) -> Course:
        """Followed no further: what may be handed over without any evidence."""
        return replace(self, share=min(self.design.table.floor, left))


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far things are. errors: of the reference among the evidence."""

    state: State
    plan: Plan
    courses: tuple[Course, ...]
    errors: int = 0


def certify(state: State, notes: list[str], procedure: str) -> Generator[Ask, Answers, Verdict]:
    """Follow the finalists' tables to the end of the cheapest."""
    plan = planned(state)
    courses = tuple(Course(j, *each).at(0, 0, state.left) for j, each in plan.finalists.items())
    evidence = onward(Evidence(state, plan, courses))
    look = 0
    while followed := [each for each in evidence.courses if each.open]:
        look += 1
        evidence = onward((yield from seen_until(evidence, look, followed)))
    return verdict(evidence, notes, procedure)


def seen_until(evidence: Evidence, look: int, followed: list[Course]) -> Generator[Ask, Answers, Evidence]:
    """Ask for the rows up to a look. All tables have their looks in the same places (some end sooner)."""
    state, seen = evidence.state, followed[0].design.table.looks[look]
    rows = evidence.plan.pilot + seen - state.rows
    models = tuple(each.candidate for each in followed)
    positions = state.order[state.rows : state.rows + rows]
    told = outlook(state, ahead(evidence), frozenset(models))
    first = fixed(evidence) if look == 1 else None
    answers = yield Ask(positions, (0, *models), "profile", told, first)
    state = heard(state, models, answers, fresh=rows)
    lost = answers.marks[:, 0] == ERROR
    bad = {j: int(((answers.marks[:, j] == BAD) | lost).sum()) for j in models}
    courses = tuple(
        each.at(look, bad[each.candidate], state.left) if each.candidate in bad else each for each in evidence.courses
    )
    return replace(evidence, state=state, courses=courses, errors=evidence.errors + int(lost.sum()))


def onward(evidence: Evidence) -> Evidence:
    """Who is still worth following. Money only: the promise does not depend on it."""
    return worth_following(within_cap(evidence))


def within_cap(evidence: Evidence) -> Evidence:
    """Open tables are given up whose rows have come to cost more than they may."""
    state = evidence.state

    def afford(each: Course) -> bool:
        price = state.candidates[each.candidate].price
        return price < AS_EXPENSIVE and each.ahead * price <= DEARER * each.most

    return replace(
        evidence,
        courses=tuple(
            each if not each.open or not each.look or afford(each) else each.given_up(state.left)
            for each in evidence.courses
        ),
    )


def worth_following(evidence: Evidence) -> Evidence:
    """No open course may go on once finishing with a settled share is cheaper, nor one whose next rows cost more than
    it can be expected to save."""
    state, open_ = evidence.state, [each for each in evidence.courses if each.open]
    if not open_ or len(evidence.courses) == 1:
        return evidence
    now = min((finish(evidence, each) for each in evidence.courses if not each.open), default=np.inf)
    costs = {each.candidate: ahead_of(evidence, each) for each in open_}
    rows = min(each.ahead - each.design.table.looks[each.look] for each in open_)
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
    courses = [
        each if not each.open or each.candidate in kept else each.given_up(state.left) for each in evidence.courses
    ]
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


def verdict(evidence: Evidence, notes: list[str], procedure: str) -> Verdict:
    """The settled share that saves most, less what errors, prices and the floor forbid."""
    state, plan = evidence.state, evidence.plan
    notes = [*notes, *as_expensive(state)]
    chosen = min(evidence.courses, key=lambda each: finish(evidence, each), default=None)
    granted = usable(evidence, chosen) if chosen else 0
    if evidence.errors > plan.spare:
        notes = [*notes, f"{evidence.errors} profiled rows have no answer, more than the {plan.spare} provided for."]
    rule = Mix(((chosen.candidate, granted),)) if chosen and granted else Mix()
    profiled = state.order[: state.rows]
    told = outlook(state, finish(evidence, chosen), frozenset({chosen.candidate})) if chosen else None
    return Verdict(granted > 0, rule, profiled, procedure, describe(evidence, chosen, granted), told, tuple(notes))


def as_expensive(state: State) -> list[str]:
    """What to say of candidates whose calls have turned out as expensive as the reference's."""
    names = state.problem.candidates
    return [
        f"{names[j - 1]} turned out to cost {seen.price:.2g} × what {state.problem.reference} costs: not used."
        for j, seen in state.candidates.items()
        if seen.price >= AS_EXPENSIVE
    ]


def withheld(seen: Seen) -> str | None:
    """Why a certified share is not used: the candidate saves nothing, or may be wrong too often on what it answers."""
    if seen.gain <= 0:
        return "no gain"
    return None if seen.likely else "below the floor"


def describe(evidence: Evidence, chosen: Course | None, granted: int) -> dict[str, Json]:
    """The evidence: designs, counts, share. Counts come in pairs that add up, so that no one number can be changed.
    shown: rows of pilot and evidence that the chosen candidate was asked about."""
    state, plan = evidence.state, evidence.plan
    rows = state.rows - plan.pilot
    seen = state.candidates[chosen.candidate] if chosen else None
    found: dict[str, Json] = {
        "candidate": state.problem.candidates[chosen.candidate - 1] if chosen else None,
        "allowance": state.problem.allowance,
        "floor": float(state.problem.floor),
        "pilot": {"rows": plan.pilot, "errors": plan.errors},
        "spare": plan.spare,
        "population": state.problem.rows - plan.pilot,
        "finalists": [described(evidence, each) for each in evidence.courses],
        "profiled": {"rows": rows, "errors": evidence.errors, "answered": rows - evidence.errors},
        "left": state.left,
        "shown": showed(seen) if seen else None,
        "withheld": withheld(seen) if seen else None,
        "granted": granted,
    }
    guesses = [each["guess"] for each in found["finalists"]]
    return {**found, "pinned": digest(guesses, *(found[name] for name in ("candidate", "shown", "withheld")))}


def showed(seen: Seen) -> dict[str, int]:
    """What a candidate has shown, in rows."""
    deferred = seen.rows - seen.agreed - seen.bad
    return {"rows": seen.rows, "agreed": seen.agreed, "bad": seen.bad, "deferred": deferred}


def fixed(evidence: Evidence) -> dict[str, Json]:
    """What is decided before the evidence is seen."""
    plan = evidence.plan
    finalists = [committed(evidence, each) for each in evidence.courses]
    return {"pilot": {"rows": plan.pilot, "errors": plan.errors}, "spare": plan.spare, "finalists": finalists}


def committed(evidence: Evidence, course: Course) -> dict[str, Json]:
    """One finalist: what its call was expected to cost before any was made, in reference calls, and its table."""
    plan, table, worst = evidence.plan, course.design.table, course.design.worst
    population = evidence.state.problem.rows - plan.pilot
    return {
        "candidate": evidence.state.problem.candidates[course.candidate - 1],
        "guess": evidence.state.candidates[course.candidate].rate,
        "allowance": plan.allowance,
        "looks": list(table.looks),
        "left": [population - each for each in table.looks],
        "shares": [shares.tolist() for shares in table.shares],
        "sums": [int(shares.sum()) for shares in table.shares],
        "worst": {"bad": worst.bad, "good": population - worst.bad, "error": worst.error},
    }


def described(evidence: Evidence, course: Course) -> dict[str, Json]:
    """One finalist: its table, and where it stands in it (given up: followed no further than there)."""
    seen = course.design.table.looks[course.look]
    given_up = course.design.table.share(course.look, course.bad, evidence.state.problem.rows) == GO_ON
    stop = {
        "look": course.look,
        "seen": seen,
        "bad": course.bad,
        "fine": seen - course.bad,
        "share": course.share,
        "given_up": given_up,
    }
    return {**committed(evidence, course), "stop": stop}
