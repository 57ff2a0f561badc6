"""The evidence of `ladder/2`: recomputed by other code, and no number in it can be changed."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest

from smart_llm.engine.drive import Population, drive
from smart_llm.procedures.ladder_2 import procedure
from smart_llm.types import Answers, Ask, Json, Problem
from smart_llm.verifying import Round, check, recount, rule

CLAIM = {"rows": 300, "agreement": "0.85", "confidence": "0.9", "reserve": 0}


@lru_cache
def run(rate: float = 0.05) -> tuple[Json, tuple[Round, ...]]:
    """Evidence of one run, and its rounds as a ledger would have them."""
    rng = np.random.default_rng(3)
    marks = np.stack([np.zeros(300), rng.random(300) < rate, rng.random(300) < 0.3], axis=1).astype(np.int8)
    people = Population(marks, np.tile([1.0, 0.1, 0.08], (300, 1)), np.full((300, 3), np.nan))
    rounds: list[Round] = []

    def answer(ask: Ask) -> Answers:
        answers = people.answer(ask)
        rounds.append(Round(ask.stage, ask.models, answers.marks))
        return answers

    task = Problem(300, Fraction("0.85"), Fraction("0.9"), "r", ("a", "b"), (1.0, 0.1, 0.08), 11)
    return drive(procedure, task, answer).evidence, tuple(rounds)


def numbers(value: Json, path: tuple[Json, ...] = ()) -> Iterator[tuple[Json, ...]]:
    """Paths of all numbers."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from numbers(each, (*path, key))
    elif isinstance(value, list):
        for k, each in enumerate(value):
            yield from numbers(each, (*path, k))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def changed(evidence: Json, path: tuple[Json, ...], change: float) -> Json:
    """A copy with one number changed."""
    copy = deepcopy(evidence)
    spot = copy
    for key in path[:-1]:
        spot = spot[key]
    old = spot[path[-1]]
    spot[path[-1]] = old + int(change) if isinstance(old, int) else old * (1 + change / 1000)
    return copy


@pytest.mark.parametrize("rate", [0.05, 0.14, 0.4])
def test_true_evidence_passes(rate: float) -> None:
    """What the procedure says of itself holds, by other formulas, and agrees with the ledger."""
    evidence, rounds = run(rate)
    assert check("ladder/2", evidence, CLAIM) == []
    assert recount("ladder/2", evidence, rounds) == []
    assert rule("ladder/2", evidence)["shares"] == (
        [{"model": evidence["candidate"], "rows": evidence["granted"]}] if evidence["granted"] else []
    )


@pytest.mark.parametrize("change", [1, -1, 7])
def test_no_one_number_can_be_changed(change: int) -> None:
    """Every number of the evidence, one at a time, up or down: found out without the ledger."""
    evidence, _ = run()
    paths = list(numbers(evidence))
    assert len(paths) > 50
    assert [path for path in paths if not check("ladder/2", changed(evidence, path, change), CLAIM)] == []


def test_another_claim_does_not_follow() -> None:
    """The same evidence proves nothing for another table, target or confidence."""
    evidence, _ = run()
    for key, value in (("rows", 301), ("agreement", "0.95"), ("confidence", "0.99"), ("reserve", 3)):
        assert check("ladder/2", evidence, {**CLAIM, key: value})


def test_a_bolder_table_does_not_pass() -> None:
    """Shares raised together with their sums: the error is recomputed and is not the one stated."""
    bold = deepcopy(run()[0])
    design = next(each for each in bold["finalists"] if each["candidate"] == bold["candidate"])
    for k, shares in enumerate(design["shares"]):
        design["shares"][k] = [min(r + 5, design["left"][k]) if r >= 0 else r for r in shares]
        design["sums"][k] = sum(design["shares"][k])
    stop = design["stop"]
    stop["share"] = design["shares"][stop["look"]][stop["bad"]]
    bold["granted"] = stop["share"]
    assert check("ladder/2", bold, CLAIM)


def test_another_ledger_does_not_agree() -> None:
    """A bad row more or less, a round more or less: the counts differ."""
    evidence, rounds = run()
    marks = rounds[-1].marks.copy()
    candidate = rounds[-1].models[-1]
    marks[0, candidate] = 1 - marks[0, candidate]
    assert recount("ladder/2", evidence, [*rounds[:-1], Round(rounds[-1].stage, rounds[-1].models, marks)])
    assert recount("ladder/2", evidence, rounds[:-1])
    assert recount("ladder/2", evidence, [*rounds, rounds[-1]])
