"""`smart/2024` re-checked on tables of several sizes: the evidence is followed look by look, limits by other code."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from forging import places, with_value
from ledgers import Told, told

from smart_llm.certificates import checks as verifying
from smart_llm.simulation.drive import Population
from smart_llm.types import Problem


def run(name: str, rates: list[float], agreement: str, rows: int) -> Told:
    """A run on independent rows."""
    rng = np.random.default_rng(5)
    marks = (rng.random((rows, len(rates))) < rates).astype(np.int8)
    prices = (1.0, *np.linspace(0.05, 0.3, len(rates) - 1).tolist())
    people = Population(marks, np.broadcast_to(prices, marks.shape), np.full(marks.shape, np.nan))
    names = tuple(f"m{j}" for j in range(1, len(rates)))
    return told(name, Problem(rows, Fraction(agreement), Fraction("0.95"), "big", names, prices, 0), people)


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
    """Recomputed limits, standings and shares, and every look made again, agree with the evidence."""
    told = run(*case)
    assert told.problems(told.evidence) == []
    assert verifying.check(told.procedure, told.evidence, told.claim) == []
    shares = verifying.rule(told.procedure, told.evidence).shares or ()
    assert [share.rows for share in shares] == [rows for _, rows in told.verdict.rule.shares]


@pytest.mark.parametrize("case", CASES)
def test_any_one_number_changed_is_rejected(case: tuple[str, list[float], str, int]) -> None:
    """Every number of the evidence, raised or lowered, is caught without the ledger."""
    told = run(*case)
    for path, value in places(told.evidence):
        if isinstance(value, int | float) and not isinstance(value, bool):
            for other in (value + 1, value - 1, value * 1.001 if isinstance(value, float) and value else value + 10):
                forged = with_value(told.evidence, path, other)
                assert verifying.check(told.procedure, forged, told.claim), (path, value, other)


@pytest.mark.parametrize("case", CASES[1:4])
def test_evidence_of_another_variant_is_refused(case: tuple[str, list[float], str, int]) -> None:
    """Shares by another rule than the one the plan names are no evidence for it."""
    told = run(*case)
    for variant in ("profile-all", "profile-smart", "model-mix"):
        if variant != told.evidence["variant"]:
            assert verifying.check(told.procedure, told.evidence | {"variant": variant}, told.claim)
            assert verifying.check(f"smart/2024:{variant}", told.evidence, told.claim)


def recount(run: Told, **change: object) -> list[str]:
    """With another third look."""
    rounds = [*run.rounds[:2], replace(run.rounds[2], **change), *run.rounds[3:]]
    return verifying.recount(run.procedure, run.evidence, rounds, run.fixed, run.names)


def test_looks_that_the_method_does_not_make_are_named() -> None:
    """A candidate left out of a look, asked after it was settled, or in another order; a look too few."""
    told = run(*CASES[0])
    look = told.rounds[2]
    assert len(look.models) == 3
    for models in (look.models[:2], (0, look.models[2], look.models[1]), look.models[1:]):
        assert recount(told, models=models), models
    assert verifying.recount(told.procedure, told.evidence, told.rounds[:-1], told.fixed, told.names)
