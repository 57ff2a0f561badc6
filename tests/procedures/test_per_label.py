"""The promise per label: kept on the boundary, chosen in money; its evidence is looked at in `tests/verifying`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from smart_llm import procedures
from smart_llm.certificates.checks.per_label import is_largest
from smart_llm.routing import assign, route
from smart_llm.simulation.drive import Population, drive, simulate
from smart_llm.stats.clopper_pearson import interval
from smart_llm.stats.label_look import label_credit
from smart_llm.types import BAD, Answers, Ask, Cascade, Ints, Problem, SidePromise


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """The benchmark's populations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("per_label")


def problem(people: Population, seed: int) -> Problem:
    """A table's promise of .85, a label's of .8."""
    side = SidePromise(Fraction("0.8"), 50, (1, 2))
    rows = len(people.marks)
    return Problem(rows, Fraction("0.85"), Fraction("0.95"), "big", ("small",), (1.0, 0.1), seed, 0, side)


@pytest.mark.parametrize("place", ["best", "random", "tied"])
def test_the_promise_holds_just_beyond_the_allowance(bench: ModuleType, place: str) -> None:
    """A rare label spoilt by a tenth more than allowed: broken in at most 5 % of runs, by an exact interval."""
    people = bench.population(1000, 0.2, 0.22 + 1 / 200, 0.03, place=place, seed=1)
    procedure = procedures.get("per-label")
    runs = [simulate(procedure, problem(people, seed), people).delivered_by for seed in range(60)]
    failures = sum(any(bench.broken(people, by, share=0.8, agreement=0.85, least=50)) for by in runs)
    assert interval(failures, 60, 0.95)[0] <= 0.05


def test_a_good_candidate_is_certified_and_pays(bench: ModuleType) -> None:
    """Where every label is answered well, the promise per label is granted and most of the cost is saved."""
    people = bench.population(3000, 0.3, 0.02, 0.01, place="best", seed=2)
    outcome = simulate(procedures.get("per-label"), problem(people, 1), people)
    assert outcome.verdict.granted
    assert outcome.cost < 0.5 * 3000


def test_a_rare_label_is_not_sacrificed(bench: ModuleType) -> None:
    """A candidate that is always wrong on a label of a tenth of the rows is right often enough for the table's promise
    alone (.85), but is not delivered there when the label is promised."""
    people = bench.population(2000, 0.1, 1.0, 0.01, place="random", seed=3)
    assert people.traits is not None
    rare = people.traits.key[:, 0] == 2
    plain = simulate(procedures.get("ladder"), problem(people, 1), people).delivered_by
    kept = simulate(procedures.get("per-label"), problem(people, 1), people).delivered_by
    assert (plain[rare] == 0).mean() < 0.5
    assert (kept[rare] == 0).mean() >= 0.8


def test_an_outage_is_no_evidence(bench: ModuleType) -> None:
    """A candidate that is down, while the look is made, on just the rows of a label that it would get wrong, and up
    again when it delivers, is not taken for a good one: the label's promise is kept."""
    people = bench.population(1000, 0.2, 0.3, 0.03, place="random", seed=1)
    broken = 0
    for seed in range(20):
        by = through_outage(problem(people, seed), people)
        broken += any(bench.broken(people, by, share=0.8, agreement=0.85, least=50))
    assert broken <= 3


def through_outage(task: Problem, people: Population) -> Ints:
    """The model that answers each row; calls failed wherever rows of the look would be wrong."""

    def answer(ask: Ask) -> Answers:
        answers = people.answer(ask)
        assert answers.traits is not None
        gone = (answers.marks == BAD) & (ask.stage == "profile")
        key = np.where(gone, 0, answers.traits.key)
        return replace(answers, score=np.where(gone, np.nan, answers.score), traits=replace(answers.traits, key=key))

    verdict = drive(procedures.get("per-label"), task, answer)
    by = assign(verdict, task.seed, task.rows)
    if isinstance(verdict.rule, Cascade):
        left = np.setdiff1d(np.arange(task.rows), verdict.profiled)
        by[left] = route(
            verdict.rule, task.seed, task.rows, left, lambda rows, models: people.answer(Ask(rows, models, ""))
        )
    return by


@pytest.mark.parametrize("seen", [1, 30, 1000, 100_000])
@pytest.mark.parametrize("share", ["0.5", "0.9", "0.99"])
def test_a_labels_credit_is_checked_at_any_size(seen: int, share: str) -> None:
    """Verifier and procedure agree on a label's credit, and on no other, on tables of a million rows as well."""
    alpha = Fraction("0.045")
    found = label_credit(seen, Fraction(share), float(alpha))
    assert [is_largest(found + change, seen, Fraction(share), alpha) for change in (-1, 0, 1)] == [False, True, False]


def test_nothing_is_asked_where_nothing_can_pay() -> None:
    """Candidates as dear as the reference are never asked."""
    people = Population(np.zeros((50, 2), np.int8), np.ones((50, 2)), np.full((50, 2), np.nan))
    hopeless = Problem(
        50, Fraction("0.9"), Fraction("0.95"), "a", ("b",), (1.0, 1.0), 1, 0, SidePromise(Fraction("0.9"), 5, (1, 2))
    )
    outcome = simulate(procedures.get("per-label"), hopeless, people)
    assert outcome.profiled == 0
    assert outcome.cost == 50
