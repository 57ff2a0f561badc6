"""Evidence that was forged with care: every digest and everything that follows worked out again. The ledger refuses it.

A forger may change anything in a certificate but not what the ledger holds: the answers, and what was recorded before
they were asked for. Evidence is a function of that, down to the last field, so nothing may be changed at all, with two
exceptions that are named here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from forging import changes, forged
from ledgers import Told, told
from odd import labelled, odd

from smart_llm import verifying
from smart_llm.engine.drive import Population
from smart_llm.procedures.look import cascade
from smart_llm.procedures.pinning import digest
from smart_llm.procedures.scored_pilot import Pilot
from smart_llm.procedures.ways import OWN, Way
from smart_llm.stats.first_bad import rows_needed
from smart_llm.stats.sampling import permutation
from smart_llm.types import (
    BAD,
    ERROR,
    Ask,
    Conversation,
    Gate,
    Json,
    Problem,
    Score,
    SidePromise,
    Tier,
    Traits,
)


def accepted(run: Told, few: int | None = None) -> list[str]:
    """The forgeries of a run that verification does not notice. few: so many changes, drawn by chance (None: all)."""
    evidence = run.evidence
    assert run.problems(evidence) == [], run.problem
    every = changes(evidence, run.names)
    chosen = np.random.default_rng(len(every)).permutation(len(every))[:few]
    return [
        what
        for k in chosen
        for what, other in forged(run.procedure, run.problem, evidence, run.claim, every[k])
        if other != evidence and not run.problems(other) and not harmless(run, evidence, other)
    ]


def harmless(run: Told, evidence: Json, other: Json) -> bool:
    """The two exceptions. Where a mix needed no evidence nothing was recorded before it; what it may then hand over is
    no more than may be missed without any. And models that `smart/2024` never asked stand in no order."""
    if run.fixed is None and "mix" in evidence:
        return other["mix"]["granted"] <= max(0, run.problem.allowance - evidence["mix"]["pilot"]["errors"])
    if "models" in evidence:
        return without_order(evidence) == without_order(other)
    return False


def without_order(evidence: Json) -> Json:
    """With the models that were never asked at the end, by index."""
    asked = [each for each in evidence["models"] if each["calls"]]
    others = sorted((each for each in evidence["models"] if not each["calls"]), key=lambda each: each["index"])
    return {**evidence, "models": [*asked, *others]}


# --------------------------------------------------------------------------- every field of a few runs


def sheet(rows: int, rates: tuple[float, ...], prices: tuple[float, ...], *, knows: float, seed: int) -> Population:
    """Candidates bad at these rates, with scores that know of it, or none."""
    rng = np.random.default_rng(seed)
    marks = np.stack([np.zeros(rows), *(rng.random(rows) < rate for rate in rates)], axis=1).astype(np.int8)
    score = rng.normal(size=marks.shape) - knows * (marks == BAD) if knows else np.full(marks.shape, np.nan)
    return Population(marks, np.broadcast_to((1.0, *prices), marks.shape), score)


def task(people: Population, agreement: str = "0.9", confidence: str = "0.95", **other: Json) -> Problem:
    """What is asked of it."""
    rows, models = people.marks.shape
    names, prices = tuple("abcd"[: models - 1]), tuple(people.cost[0].tolist())
    return Problem(rows, Fraction(agreement), Fraction(confidence), "reference", names, prices, 11, **other)


def by_default(people: Population, **other: Json) -> Told:
    """A run of the default."""
    return told("ladder", task(people, **other), people)


def unanswered(people: Population, share: float) -> Population:
    """The reference has no answer to a part of the rows."""
    lost = np.random.default_rng(5).random(len(people.marks)) < share
    marks = people.marks.copy()
    marks[lost, 0], marks[lost, 1:] = ERROR, BAD
    return replace(people, marks=marks)


def failing(people: Population, share: float) -> Population:
    """A candidate's calls fail on a part of the rows: bad, and no answer."""
    gone = np.random.default_rng(6).random(len(people.marks)) < share
    marks, score, key = people.marks.copy(), people.score.copy(), np.ones(people.marks.shape, np.int64)
    marks[gone, 1], score[gone, 1], key[gone, 1] = BAD, np.nan, 0
    return replace(people, marks=marks, score=score, traits=Traits(key, np.ones(key.shape), np.ones(len(key))))


def of_look(tiers: tuple[Tier, ...], gate: Gate | None, credit: int) -> Callable[[Problem], Conversation]:
    """The shipped look with tiers and a gate of our own."""

    def procedure(problem: Problem) -> Conversation:
        order = permutation(problem.seed, "order", problem.rows)
        asked = tuple(range(len(problem.rates)))
        pilot = yield from Pilot.of(problem, []).after(Ask(order[:20], asked, "pilot"))
        looked = rows_needed(pilot.left, pilot.allowance, credit, problem.alpha)
        assert looked is not None
        *heads, last = tiers
        way = Way(
            last.candidate, last.score, last.peers, np.ones((1, 1)), ((credit, looked),), heads=tuple(heads), gate=gate
        )
        return (yield from cascade(pilot, order, way, "ladder/4"))

    return procedure


def gated() -> Told:
    """Two tiers behind a gate, the first with a peer."""
    people = failing(sheet(500, (0.2, 0.1), (0.02, 0.1), knows=3.0, seed=3), 0.01)
    assert people.traits is not None
    people = replace(people, traits=replace(people.traits, text=np.arange(500.0)))
    head = Tier(1, Score((("own", 1.0), ("same:2", 0.5))), (1.0, 0), (2,))
    return told(
        of_look((head, Tier(2, OWN, None)), Gate(Score((("text_length", -1.0),)), -6.0), 3),
        task(people, agreement="0.8"),
        people,
    )


def per_label(**other: Json) -> Told:
    """A look with a promise for each of two labels."""
    rng = np.random.default_rng(2)
    label = 1 + (rng.random(800) < 0.4).astype(np.int64)
    marks = np.stack([np.zeros(800), rng.random(800) < 0.03], axis=1).astype(np.int8)
    key = np.stack([label, np.where(marks[:, 1] == BAD, 3 - label, label)], axis=1)
    score = np.stack([np.full(800, np.nan), rng.normal(size=800) - 2 * (marks[:, 1] == BAD)], axis=1)
    people = Population(marks, np.broadcast_to((1.0, 0.05), marks.shape), score, Traits(key, np.ones(key.shape), label))
    side = SidePromise(Fraction("0.8"), 60, (1, 2))
    return told("per-label", replace(task(people, agreement="0.85"), side=side, **other), people)


ONE = sheet(20, (0.1,), (0.1,), knows=0.0, seed=1)


def published(variant: str) -> Told:
    """A run of the published system, one of whose candidates is dearer than the reference."""
    people = sheet(1500, (0.3, 0.09, 0.02, 0.0), (0.02, 0.1, 0.3, 2.0), knows=0.0, seed=4)
    return told(f"smart/2024:{variant}", task(people), people)


RUNS: dict[str, Callable[[], Told]] = {
    "mix": lambda: by_default(sheet(150, (0.05, 0.3), (0.0008, 0.0009), knows=0.0, seed=3), agreement="0.85"),
    "mix with errors": lambda: by_default(
        unanswered(sheet(150, (0.04, 0.1), (0.001, 0.002), knows=0.0, seed=2), 0.05), agreement="0.8", reserve=4
    ),
    "cascade": lambda: by_default(sheet(600, (0.25, 0.1), (0.01, 0.02), knows=4.0, seed=2)),
    "tiers and gate": gated,
    "per label": per_label,
    "per label, withheld": lambda: per_label(floor=Fraction("0.99")),
    "profile-all": lambda: published("profile-all"),
    "profile-smart": lambda: published("profile-smart"),
    "model-mix": lambda: published("model-mix"),
    "reference-only": lambda: told("reference-only", *(lambda people: (task(people), people))(ONE)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_no_field_can_be_forged(name: str) -> None:
    """Every field, every entry of every list, in many ways, alone and with care: refused."""
    run = RUNS[name]()
    assert run.verdict.granted == (name not in ("per label, withheld", "profile-all", "reference-only"))
    assert ("tiers" in run.evidence) == (name in ("cascade", "tiers and gate"))
    assert accepted(run) == []


def test_what_a_forger_would_like_best() -> None:
    """No stopping row, so that everything is delivered, and a look that showed nothing bad: this passes without the
    ledger, and is refused with it."""
    run = RUNS["cascade"]()
    evidence = run.evidence
    shown = [{**each, "agreed": evidence["looked"], "bad": 0} for each in evidence["shown"]]
    bold = {**evidence, "stop": None, "shown": shown}
    bold["pinned"] = digest(*(bold[name] for name in ("tiers", "gate", "stop", "shown")))
    assert verifying.check(run.procedure, bold, run.claim) == []
    assert verifying.rule(run.procedure, bold)["tiers"][-1]["stop"] is None
    assert run.problems(bold) != []


# --------------------------------------------------------------------------- a few fields of many runs

ODD = [
    *(25, 55, 53, 240, 179, 281, 75, 193, 355, 80, 109, 114, 118),  # cascades: granted, without gain, without credit
    *(5, 37, 10, 13, 20, 50, 104, 260, 194, 72, 120, 176, 234, 307, 87, 101),  # mixes with evidence
    *(1, 42, 30, 190, 199, 272, 364, 323, 340),  # mixes without
]
FEW = 25
"""Changes in each run."""


def kinds(run: Told) -> Iterator[str]:
    """What a run shows of all that runs can come to."""
    evidence, granted = run.evidence, "granted" if run.verdict.granted else "not granted"
    if not evidence:
        yield "nothing"
    elif "mix" in evidence:
        mix = evidence["mix"]
        yield f"mix, {granted}"
        yield f"{len(mix['finalists'])} followed"
        yield "errors" if mix["profiled"]["errors"] else "no errors"
        yield from ("given up" for each in mix["finalists"] if each["stop"]["given_up"])
    else:
        yield f"look, {granted}"
        yield "stopping row" if evidence.get("stop") else "no stopping row"
        yield "look with errors" if evidence["errors"] else "look without errors"


@pytest.mark.slow
def test_nothing_can_be_forged_in_odd_runs_of_the_default() -> None:
    """Cascades and mixes, granted or not, with errors, with finalists given up: honest evidence passes, none forged."""
    seen = Counter[str]()
    for seed in ODD:
        run = told("ladder", *odd(seed, 160))
        assert accepted(run, FEW) == [], seed
        seen.update(kinds(run))
    wanted = ["mix, granted", "mix, not granted", "look, granted", "look, not granted", "1 followed", "2 followed"]
    wanted += ["errors", "given up", "stopping row", "no stopping row", "look with errors"]
    assert min(seen[kind] for kind in wanted) >= 2, seen


@pytest.mark.slow
def test_nothing_can_be_forged_in_odd_runs_per_label() -> None:
    """The same with promises per label."""
    seen = Counter[str]()
    for seed in range(1, 121):
        run = told("per-label", *labelled(seed, 250))
        assert accepted(run, FEW) == [], seed
        seen.update(kinds(run))
    wanted = ["look, granted", "look, not granted", "stopping row", "no stopping row", "look with errors", "nothing"]
    assert min(seen[kind] for kind in wanted) >= 5, seen


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["profile-all", "profile-smart", "model-mix"])
def test_nothing_can_be_forged_in_odd_runs_of_the_published_system(variant: str) -> None:
    """The same for `smart/2024`."""
    for seed in range(25):
        run = told(f"smart/2024:{variant}", *odd(seed, 300))
        assert accepted(run, FEW) == [], seed
