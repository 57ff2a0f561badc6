"""Tables too small to profile: every procedure ends, its evidence verifies, the promise holds."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from smart_llm import procedures
from smart_llm.certificates import checks as verifying
from smart_llm.simulation.drive import Population, simulate
from smart_llm.types import BAD, DEFER, Problem


@pytest.mark.parametrize("name", ["ladder/6", "smart/2024:model-mix"])
@pytest.mark.parametrize("mark", [0, BAD, DEFER])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 11, 30])
@pytest.mark.parametrize("agreement", ["0.9", "0.5", "0.05"])
def test_small_tables(name: str, mark: int, rows: int, agreement: str) -> None:
    """N from 1 to 30, candidates always right, always wrong, or always breaking the contract."""
    marks = np.zeros((rows, 3), np.int8)
    marks[:, 1:] = mark
    cost = np.tile([10.0, 1.0, 0.1], (rows, 1))
    problem = Problem(rows, Fraction(agreement), Fraction("0.95"), "big", ("small", "tiny"), (10.0, 1.0, 0.1), 7)
    outcome = simulate(procedures.get(name), problem, Population(marks, cost, np.full((rows, 3), np.nan)))
    claim = verifying.Promise(rows=rows, agreement=agreement, confidence="0.95", reserve=0)
    assert verifying.check(name, json.loads(json.dumps(outcome.verdict.evidence)), claim) == []
    assert outcome.misses <= problem.allowance
