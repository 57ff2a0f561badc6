"""`smart/2024` re-checked: honest evidence passes, any one number changed does not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from smart_llm import procedures, verifying
from smart_llm.engine.drive import Population, drive
from smart_llm.types import Answers, Ask, Problem, Verdict

ROUNDS = dict[str, Any]


def evidence(name: str, rates: list[float], agreement: str, rows: int) -> tuple[Verdict, list[verifying.Round], ROUNDS]:
    """A run on independent rows: its verdict, what was asked, and the claim."""
    rng = np.random.default_rng(5)
    marks = (rng.random((rows, len(rates))) < rates).astype(np.int8)
    prices = (1.0, *np.linspace(0.05, 0.3, len(rates) - 1))
    population = Population(marks, np.broadcast_to(prices, marks.shape), np.full(marks.shape, np.nan))
    rounds = []

    def answer(ask: Ask) -> Answers:
        answers = population.answer(ask)
        rounds.append(verifying.Round(ask.stage, ask.models, answers.marks))
        return answers

    names = tuple(f"m{j}" for j in range(1, len(rates)))
    problem = Problem(rows, Fraction(agreement), Fraction("0.95"), "big", names, prices, 0)
    claim = {"rows": rows, "agreement": agreement, "confidence": "0.95", "reserve": 0}
    return drive(procedures.get(name), problem, answer), rounds, claim


CASES = [
    ("smart/2024:profile-all", [0, 0.3, 0.02], "0.9", 2000),
    ("smart/2024:profile-smart", [0, 0.3, 0.09], "0.9", 2000),
    ("smart/2024:model-mix", [0, 0.3, 0.09], "0.9", 2000),
    ("smart/2024:model-mix", [0, 0.15, 0.02], "0.9", 20000),
    ("smart/2024:model-mix", [0, 0.5], "0.99", 30),
    ("smart/2024:model-mix", [0, 0.0], "0.5", 8),
    ("smart/2024:model-mix", [0, 0.3, 0.2, 0.05], "0.8", 3000),
]


@pytest.mark.parametrize("case", CASES)
def test_honest_evidence_passes(case: tuple[str, list[float], str, int]) -> None:
    """Recomputed limits, standings and shares, and recounted rounds, agree with the evidence."""
    verdict, rounds, claim = evidence(*case)
    assert verifying.check(verdict.procedure, verdict.evidence, claim) == []
    assert verifying.recount(verdict.procedure, verdict.evidence, rounds) == []
    shares = verifying.rule(verdict.procedure, verdict.evidence)["shares"]
    assert [share["rows"] for share in shares] == [rows for _, rows in verdict.rule.shares]


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Where the numbers are."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from numbers(item, (*path, key))
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


@pytest.mark.parametrize("case", CASES)
def test_any_one_number_changed_is_rejected(case: tuple[str, list[float], str, int]) -> None:
    """Every number of the evidence, raised or lowered, is caught without the ledger."""
    verdict, _, claim = evidence(*case)
    for path, value in numbers(verdict.evidence):
        for changed in (value + 1, value - 1, value * 1.001 if isinstance(value, float) and value else value + 10):
            forged: Any = copy.deepcopy(dict(verdict.evidence))
            place = forged
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = changed
            assert verifying.check(verdict.procedure, forged, claim), (path, value, changed)


def test_other_answers_than_the_ledgers_are_rejected() -> None:
    """Counts that differ from the rounds asked are named."""
    verdict, rounds, _ = evidence(*CASES[2])
    assert verifying.recount(verdict.procedure, verdict.evidence, rounds[:-1])
