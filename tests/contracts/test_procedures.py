"""The contract of every certifying procedure: what each of them must do, whatever its method."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from odd import labelled, odd
from trees import remembering

from smart_llm.certificates.checks import Promise, check, rule
from smart_llm.procedures import get, resolve
from smart_llm.simulation.drive import Outcome, Population, drive, simulate
from smart_llm.types import Answers, Ask, Problem

PROCEDURES = ("ladder",)


def people(rows: int, rates: tuple[float, ...], seed: int) -> Population:
    """Independent bad marks, prices 1, 0.05, 0.1 …"""
    rng = np.random.default_rng(seed)
    marks = np.stack([np.zeros(rows), *(rng.random(rows) < rate for rate in rates)], axis=1).astype(np.int8)
    prices = np.array([1.0, *(0.05 * j for j in range(1, len(rates) + 1))])
    return Population(marks, np.tile(prices, (rows, 1)), np.full(marks.shape, np.nan))


def task(population: Population, agreement: str = "0.9", confidence: str = "0.95", seed: int = 7) -> Problem:
    """The problem that goes with a population."""
    rows, models = population.marks.shape
    names = tuple(f"candidate-{j}" for j in range(1, models))
    prices = tuple(population.cost[0].tolist())
    return Problem(rows, Fraction(agreement), Fraction(confidence), "reference", names, prices, seed)


def run(name: str, population: Population, problem: Problem) -> Outcome:
    """One simulated run."""
    return simulate(get(name), problem, population)


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_false_certificate_is_at_most_as_likely_as_said(name: str) -> None:
    """All arrangements of all populations of eleven rows, one candidate, order fixed: none misses too often, and some
    often enough to tell."""
    missed, seen, procedure = defaultdict(int), defaultdict(int), remembering(get(name))
    for bits in product((0, 1), repeat=11):
        marks = np.array([[0, bit] for bit in bits], np.int8)
        population = Population(marks, np.tile([1.0, 0.001], (11, 1)), np.full(marks.shape, np.nan))
        problem = task(population, "0.7", "0.4")
        seen[sum(bits)] += 1
        missed[sum(bits)] += simulate(procedure, problem, population).misses > problem.allowance
    assert Fraction(1, 10) < max(Fraction(missed[each], seen[each]) for each in seen) <= Fraction(3, 5)


@pytest.mark.parametrize("name", PROCEDURES)
def test_the_same_answers_bring_the_same_verdict(name: str) -> None:
    """Pure and deterministic: two runs ask and decide alike."""
    population = people(700, (0.04, 0.2), 1)
    first, second = (run(name, population, task(population)) for _ in range(2))
    assert np.array_equal(first.verdict.profiled, second.verdict.profiled)
    assert first.verdict.rule == second.verdict.rule
    assert first.verdict.evidence == second.verdict.evidence


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ladder", "per-label"])
def test_no_row_that_was_decided_on_is_evidence(name: str) -> None:
    """Tables of every sort: what is decided is handed over with the first ask for evidence and with no other, and every
    row of evidence is asked about for the first time."""
    made, decided = {"ladder": odd, "per-label": labelled}[name], 0
    for seed in range(40):
        problem, population = made(seed, 200)
        asks: list[Ask] = []

        def answer(ask: Ask, people: Population = population, asks: list[Ask] = asks) -> Answers:
            asks.append(ask)
            return people.answer(ask)

        drive(get(name), problem, answer)
        evidence = [k for k, ask in enumerate(asks) if ask.stage == "profile"]
        assert [k for k, ask in enumerate(asks) if ask.fixed is not None] == evidence[:1]
        assert evidence == list(range(len(asks) - len(evidence), len(asks)))
        for k in evidence:
            assert not np.isin(asks[k].positions, [row for each in asks[:k] for row in each.positions]).any()
        decided += bool(evidence)
    assert decided > 10


@pytest.mark.parametrize("name", PROCEDURES)
def test_asks_are_for_rows_that_exist_and_the_profiled_are_those_asked(name: str) -> None:
    """No row twice in an ask; a verdict's profiled rows are all those the reference was asked about."""
    population = people(400, (0.05, 0.1), 2)
    asked: set[int] = set()

    def answer(ask: Ask) -> Answers:
        assert len(set(ask.positions.tolist())) == len(ask.positions) > 0
        assert 0 in ask.models
        asked.update(ask.positions.tolist())
        return population.answer(ask)

    verdict = drive(get(name), task(population), answer)
    assert set(verdict.profiled.tolist()) == asked


@pytest.mark.parametrize("name", PROCEDURES)
@pytest.mark.parametrize("rates", [(0.03,), (0.08, 0.3), (0.6,)])
def test_the_evidence_verifies_and_certifies_the_rule(name: str, rates: tuple[float, ...]) -> None:
    """Independent recomputation finds nothing wrong, and derives the rule that is delivered."""
    population = people(500, rates, 3)
    verdict = run(name, population, task(population)).verdict
    claim = Promise(rows=500, agreement="0.9", confidence="0.95", reserve=0)
    assert check(resolve(name), verdict.evidence, claim) == []
    assert bool(rule(resolve(name), verdict.evidence).shares) == verdict.granted


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_hopeless_candidate_costs_at_most_five_per_cent(name: str) -> None:
    """Nothing to save: the worst of twenty runs stays within 5 %, their mean within 2 %."""
    costs = []
    for seed in range(20):
        population = people(800, (0.9, 0.8), seed)
        costs.append(run(name, population, task(population, seed=seed)).cost / 800)
    assert max(costs) <= 1.05
    assert np.mean(costs) <= 1.02
