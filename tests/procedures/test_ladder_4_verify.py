"""The evidence of `ladder/3` verifies, and no number in it can be changed unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from smart_llm import planning_scores as forecast
from smart_llm import verifying
from smart_llm.engine.drive import Population, drive
from smart_llm.procedures.ladder_3 import procedure
from smart_llm.types import AGREE, BAD, ERROR, Answers, Ask, Problem, Verdict
from smart_llm.verifying import Round

ROWS, RATES = 2000, (1.0, 0.1, 0.15)
CLAIM = {"rows": ROWS, "agreement": "0.9", "confidence": "0.95", "reserve": 3}


@pytest.fixture(scope="module", params=[0, 20])
def run(request: pytest.FixtureRequest) -> tuple[Verdict, list[Round]]:
    """A certified cascade, without and with rows that have no answer, and what its ledger would hold."""
    rng = np.random.default_rng(3)
    marks = np.where(rng.random((ROWS, 3)) < (0, 0.25, 0.2), BAD, AGREE).astype(np.int8)
    score = rng.normal(size=(ROWS, 3)) - 4 * (marks == BAD)
    lost = rng.choice(ROWS, request.param, replace=False)
    marks[lost, 0], marks[lost, 1:] = ERROR, BAD
    population = Population(marks, np.broadcast_to(np.array(RATES), marks.shape), score)
    problem = Problem(ROWS, Fraction(9, 10), Fraction(95, 100), "r", ("a", "b"), RATES, 11, reserve=3)
    rounds: list[Round] = []

    def answer(ask: Ask) -> Answers:
        answers = population.answer(ask)
        rounds.append(Round(ask.stage, ask.models, answers.marks))
        return answers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast, "mix_costs", lambda *_: np.full((1, forecast.DRAWS), 1e9))
        return drive(procedure, problem, answer), rounds


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers in a piece of JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def changed(evidence: Any, path: tuple[Any, ...], by: float) -> Any:
    """A copy with one number changed."""
    copy = json.loads(json.dumps(evidence))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] += by
    return copy


def test_what_was_certified_verifies(run: tuple[Verdict, list[Round]]) -> None:
    """Evidence as it goes through JSON holds, its counts are the ledger's, and its rule is the verdict's."""
    verdict, rounds = run
    evidence = json.loads(json.dumps(verdict.evidence))
    assert verifying.check("ladder/3", evidence, CLAIM) == []
    assert verifying.recount("ladder/3", evidence, rounds) == []
    tiers = verifying.rule("ladder/3", evidence)["tiers"]
    assert [tier["stop"] and tuple(tier["stop"]) for tier in tiers] == [tier.stop for tier in verdict.rule.tiers]


def test_any_changed_number_is_rejected(run: tuple[Verdict, list[Round]]) -> None:
    """One more or one less anywhere: rejected. (The level, a probability, is moved by a part in a thousand.)"""
    evidence = run[0].evidence
    for path in paths(json.loads(json.dumps(evidence))):
        for by in (-1, 1) if path != ("level",) else (-1e-3 * evidence["level"], 1e-3 * evidence["level"]):
            assert verifying.check("ladder/3", changed(evidence, path, by), CLAIM) != [], path


def test_another_claim_is_rejected(run: tuple[Verdict, list[Round]]) -> None:
    """The same evidence does not carry a bolder claim."""
    for change in ({"agreement": "0.91"}, {"confidence": "0.96"}, {"rows": ROWS + 1}, {"reserve": 4}):
        assert verifying.check("ladder/3", run[0].evidence, CLAIM | change) != [], change


def test_counts_of_the_ledger_must_agree(run: tuple[Verdict, list[Round]]) -> None:
    """A row missing from the ledger's look, or an error that is none, shows."""
    verdict, rounds = run
    short = Round(rounds[-1].stage, rounds[-1].models, rounds[-1].marks[1:])
    assert verifying.recount("ladder/3", verdict.evidence, [*rounds[:-1], short]) != []


def test_a_missing_stop_or_a_stranger_is_rejected(run: tuple[Verdict, list[Round]]) -> None:
    """Evidence without its stopping row, or of nothing at all, is refused rather than passed."""
    without = {key: value for key, value in run[0].evidence.items() if key != "stop"}
    assert verifying.check("ladder/3", without, CLAIM) != []
    assert verifying.check("ladder/3", {}, CLAIM) != []
