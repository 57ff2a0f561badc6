"""The look of the routed ladder: the reference and every candidate of the chosen way answer fresh rows; then the rule.

Whatever the way consists of (one candidate, several tiers, a gate), it is fixed before the look, and gives every row
one answer and one place in one delivery order: first the rows the first tier takes, surest first, then those of the
second among what is left, and so on; ties by the blank score u. So the one lemma of `stats.first_bad` covers it all:
deliver what stands before the (c+1)-th bad row of the look, in whatever tier that is. Tiers after it are never reached.

A row of the look whose answer is bad, or failed to come, and has no score is given no place by its tier. It may have
one when it is delivered, for what failed may be answered then. So it counts as bad before all others and costs credit.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.ways import Way
from smart_llm.procedures.money import likely_above
from smart_llm.procedures.pinning import digest
from smart_llm.routing import accepts, passes, reaches
from smart_llm.scores.traits import values
from smart_llm.stats.first_bad import covers_errors, credit_left, upper_level
from smart_llm.stats.grown import beyond
from smart_llm.stats.sampling import uniforms
from smart_llm.types import (
    BAD,
    DEFER,
    ERROR,
    Answers,
    Ask,
    Cascade,
    Floats,
    Grown,
    Ints,
    Json,
    Mix,
    Outlook,
    Tier,
    Verdict,
)

Stop = tuple[int, float, int]
"""Where delivery ends: (tier, score, u) of the first row not delivered."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Of the rows of the look that a tier would be given: on how many its candidate agreed, and how many were bad."""

    candidate: int
    agreed: int
    bad: int


@dataclass(frozen=True, slots=True)
class Places:
    """Rows in delivery order, arrays of shape (n,): the tier that takes the row (−1: none does), how sure it is, the
    blank score, and whether the answer it takes is bad."""

    tier: Ints
    score: Floats
    u: NDArray[np.uint64]
    bad: NDArray[np.bool_]

    def stop(self, spare: int) -> Stop | None:
        """The (spare + 1)-th bad row in delivery order; None if there are fewer."""
        found = np.flatnonzero(self.bad & (self.tier >= 0))
        if len(found) <= spare:
            return None
        row = found[np.lexsort((self.u[found], -self.score[found], self.tier[found]))][spare]
        return int(self.tier[row]), float(self.score[row]), int(self.u[row])


def places(rule: Cascade, answers: Answers, u: NDArray[np.uint64]) -> Places:
    """Where rows stand whose answers by all models of the rule are known."""
    here = np.full(len(u), -1)
    score, bad = np.full(len(u), np.nan), np.zeros(len(u), dtype=bool)
    left = passes(rule.gate, answers)
    for number, tier in enumerate(rule.tiers):
        taken = left & accepts(tier, answers, u)
        here[taken] = number
        score[taken] = values(tier.score, answers, tier.candidate)[taken]
        bad[taken] = answers.marks[taken, tier.candidate] == BAD
        left &= ~taken
    return Places(here, score, u, bad)


def unplaced(rule: Cascade, answers: Answers) -> NDArray[np.bool_]:
    """Shape (n,): rows that the rule may deliver wrongly and whose place is not known, because a call failed or a bad
    answer came without a score. Rows the reference has no answer for are paid for otherwise."""
    gone = np.zeros(len(answers.marks), dtype=bool)
    for tier in rule.tiers:
        no_score = np.isnan(values(tier.score, answers, tier.candidate))
        gone |= no_score & (answers.marks[:, tier.candidate] == BAD)
        for model in tier.models:
            gone |= failed(answers, model)
    return np.asarray(gone & passes(rule.gate, answers) & (answers.marks[:, 0] != ERROR))


def failed(answers: Answers, model: int) -> NDArray[np.bool_]:
    """Shape (n,): rows on which a candidate's call failed: bad, and there is no answer."""
    if answers.traits is None:
        return np.zeros(len(answers.marks), dtype=bool)
    return np.asarray((answers.marks[:, model] == BAD) & (answers.traits.key[:, model] == 0))


def ended(rule: Cascade, stop: Stop | None) -> Cascade:
    """The rule that delivers what stands before the stopping row."""
    if stop is None:
        return rule
    last = replace(rule.tiers[stop[0]], stop=stop[1:])
    return replace(rule, tiers=(*rule.tiers[: stop[0]], last))


def kept(rule: Cascade, answers: Answers, u: NDArray[np.uint64], floor: float) -> tuple[Cascade, list[Shown]]:
    """The rule as far as its candidates are likely to be above the floor on the rows they would be given, and what the
    rows of the look show of each tier. Delivering less than stands before the stopping row keeps the promise."""
    here = places(rule, answers, u)
    shown = []
    for number, tier in enumerate(rule.tiers):
        given, bad = here.tier == number, here.bad & (here.tier == number)
        shown.append(Shown(tier.candidate, int(given.sum() - bad.sum()), int(bad.sum())))
    enough = [likely_above(floor, each.agreed, each.bad) for each in shown]
    return replace(rule, tiers=rule.tiers[: enough.index(False)] if False in enough else rule.tiers), shown


def pays(rule: Cascade, answers: Answers, u: NDArray[np.uint64]) -> bool:
    """Whether, on the rows of the look, what the rule delivers is worth more than the calls it makes."""
    left, asked, spent = passes(rule.gate, answers), set[int](), 0.0
    for tier in rule.tiers:
        fresh = [model for model in tier.models if model not in asked]
        spent += float(answers.cost[left & reaches(tier, u)][:, fresh].sum())
        asked |= set(tier.models)
        left = left & ~accepts(tier, answers, u)
    return float(answers.cost[places(rule, answers, u).tier >= 0, 0].sum()) > spent


def cascade(pilot: Pilot, order: Ints, way: Way, name: str) -> Generator[Ask, Answers, Verdict]:
    """Look, find the stopping row, and say whether delivering pays."""
    problem, (credit, looked) = pilot.problem, way.looks[way.best]
    rows = order[len(pilot.rows) : len(pilot.rows) + looked]
    rule = Cascade(way.tiers, way.gate)
    design = describe(pilot, rule, credit, looked)
    alone = problem.grown is not None and looked == problem.rows  # then nothing is left for a candidate to answer
    answers = yield Ask(rows, (0,) if alone else (0, *way.models), "profile", outlook(pilot, way), design)
    answers = by_nobody(answers) if alone else answers
    errors = int((answers.marks[:, 0] == ERROR).sum())
    nowhere = int(unplaced(rule, answers).sum())
    spare = credit_left(credit, errors, pilot.reserve) - nowhere
    certified = spare >= 0 and (errors == 0 or covered(pilot, credit, looked, errors))
    u = uniforms(problem.seed, "shares", problem.rows)[rows]
    stop = places(rule, answers, u).stop(spare) if certified else None
    delivered, shown = kept(ended(rule, stop), answers, u, float(problem.floor))
    granted = certified and bool(delivered.tiers) and pays(delivered, answers, u)
    names = problem.candidates
    evidence = design | {
        "errors": errors,
        "unplaced": nowhere,
        "credit_left": spare,
        "certified": certified,
        "stop": None if stop is None else list(stop),
        "shown": [{"model": names[each.candidate - 1], "agreed": each.agreed, "bad": each.bad} for each in shown],
        "kept": len(delivered.tiers) if certified else 0,
        "granted": granted,
    }
    evidence["pinned"] = digest(*(evidence[name] for name in PINNED))
    profiled = np.concatenate([pilot.rows, rows])
    return Verdict(granted, delivered if granted else Mix(), profiled, name, evidence)


def by_nobody(answers: Answers) -> Answers:
    """Of rows about which the reference alone was asked: no tier takes one of them."""
    marks = np.full_like(answers.marks, DEFER)
    marks[:, 0] = answers.marks[:, 0]
    return replace(answers, marks=marks)


def covered(pilot: Pilot, credit: int, looked: int, errors: int) -> bool:
    """Whether the look keeps its level although some of its rows have no answer. After another look these are paid for
    by the reserve alone, and by credit like any bad row (lemma 17)."""
    problem, reserve = pilot.problem, pilot.reserve
    if problem.grown is not None:
        return errors <= reserve
    return covers_errors(pilot.left, pilot.allowance, credit, looked, reserve=reserve, alpha=problem.alpha)


PINNED = ("tiers", "gate", "stop", "shown")


def outlook(pilot: Pilot, way: Way) -> Outlook:
    """What is expected of the chosen way."""
    return Outlook((), (len(pilot.rows) + pilot.spent + way.cost) / pilot.problem.rows)


def describe(pilot: Pilot, rule: Cascade, credit: int, looked: int) -> dict[str, Json]:
    """The part of the evidence that is decided before the look."""
    names = pilot.problem.candidates
    earlier = pilot.problem.grown
    level = upper_level(pilot.left, pilot.allowance, credit, np.array([looked]))[0]
    if earlier is not None:
        level = beyond((*earlier.parts, (pilot.left, credit, looked)), np.array([pilot.allowance]))[0]
    return {
        "pilot": len(pilot.rows),
        "pilot_errors": pilot.errors,
        "rows_left": pilot.left,
        "allowance": pilot.allowance,
        "reserve": pilot.reserve,
        "tiers": [_tier(tier, names) for tier in rule.tiers],
        "gate": rule.gate and {"score": [list(term) for term in rule.gate.score.terms], "floor": rule.gate.floor},
        "credit": credit,
        "looked": looked,
        "level": float(level),
    } | (behind(earlier) if earlier is not None else {})


def behind(earlier: Grown) -> dict[str, Json]:
    """What the level of the rows there were is made of."""
    told: dict[str, Json] = {"before": [list(look) for look in earlier.looks]} if earlier.looks else {}
    return told | ({"excess": [list(each) for each in earlier.excess]} if earlier.excess else {})


def _tier(tier: Tier, names: tuple[str, ...]) -> dict[str, Json]:
    """A tier as it was fixed before the look; only the last has no stop of its own."""
    return {
        "model": names[tier.candidate - 1],
        "score": [list(term) for term in tier.score.terms],
        "stop": None if tier.stop is None else list(tier.stop),
        "peers": [names[peer - 1] for peer in tier.peers],
    }
