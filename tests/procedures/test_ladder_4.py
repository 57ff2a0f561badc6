"""`ladder/3` on made-up tables: routing pays where a score knows something, and never at the promise's expense."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binomtest

from smart_llm import planning_scores as forecast
from smart_llm.engine.drive import Population, drive, simulate
from smart_llm.procedures import ladder_2
from smart_llm.procedures.ladder_3 import procedure
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Answers, Ask, Cascade, Problem, Traits

RATES = (1.0, 0.1, 0.3)


def problem(rows: int, seed: int, agreement: str = "0.9", rates: tuple[float, ...] = RATES) -> Problem:
    """A table of so many rows, candidates a, b, …"""
    names = tuple("abcdef"[: len(rates) - 1])
    return Problem(rows, Fraction(agreement), Fraction("0.95"), "r", names, rates, seed)


def table(rows: int, seed: int, *, knows: float = 4.0, bad: float = 0.25) -> Population:
    """Candidate a is bad on that share of rows, b on half of it; their scores tell, the better the larger `knows`."""
    rng = np.random.default_rng([seed, 7])
    marks = np.zeros((rows, 3), np.int8)
    score = np.full((rows, 3), np.nan)
    for j, share in ((1, bad), (2, bad / 2)):
        marks[:, j] = np.where(rng.random(rows) < share, BAD, AGREE)
        score[:, j] = rng.normal(size=rows) - knows * (marks[:, j] == BAD)
    return Population(marks, np.broadcast_to(np.array(RATES), marks.shape), score)


def without_scores(population: Population) -> Population:
    """The same rows with nothing to go by."""
    return replace(population, score=np.full(population.score.shape, np.nan))


def test_a_score_that_knows_saves_and_routes_by_row() -> None:
    """With telling scores the rule is a cascade, and it costs far less than the mix of the same table."""
    population = table(2000, 0)
    outcome = simulate(procedure, problem(2000, 1), population)
    blind = simulate(ladder_2.procedure, problem(2000, 1), population)
    assert isinstance(outcome.verdict.rule, Cascade)
    assert outcome.verdict.granted
    assert outcome.cost < 0.8 * blind.cost
    assert outcome.misses <= 200


@pytest.mark.parametrize("rates", [RATES, RATES[:2]])
def test_without_scores_it_is_ladder_2(rates: tuple[float, ...]) -> None:
    """Nothing to go by: the very same asks, rule and cost, with one candidate or two."""
    population = without_scores(table(1500, 3))
    population = Population(*(part[:, : len(rates)] for part in (population.marks, population.cost, population.score)))
    mine, blind = (
        simulate(each, problem(1500, 5, rates=rates), population) for each in (procedure, ladder_2.procedure)
    )
    assert mine.cost == blind.cost
    assert mine.verdict.rule == blind.verdict.rule
    assert mine.verdict.evidence == {"mix": blind.verdict.evidence}
    assert mine.verdict.profiled.tolist() == blind.verdict.profiled.tolist()


def test_answers_that_cannot_be_delivered_are_not() -> None:
    """A broken contract and a missing score both send the row to the reference."""
    population = table(2000, 0)
    score, marks = population.score.copy(), population.marks.copy()
    broken, silent = np.arange(0, 2000, 10), np.arange(5, 2000, 10)
    marks[broken, 1:] = DEFER
    score[silent, 1:] = np.nan
    outcome = simulate(procedure, problem(2000, 1), replace(population, marks=marks, score=score))
    assert isinstance(outcome.verdict.rule, Cascade)
    assert not outcome.delivered_by[broken].any()
    assert not outcome.delivered_by[silent].any()


def test_what_comes_later_changes_nothing_earlier() -> None:
    """Predictable: asks up to the look depend only on answers already sent, and the same seed repeats the run."""
    population, other = table(1200, 2), table(1200, 9)

    def asks(later: Population, switch: int) -> list[tuple[tuple[int, ...], tuple[int, ...], str]]:
        found: list[tuple[tuple[int, ...], tuple[int, ...], str]] = []

        def answer(ask: Ask) -> Answers:
            found.append((tuple(ask.positions.tolist()), ask.models, ask.stage))
            return (population if len(found) <= switch else later).answer(ask)

        drive(procedure, problem(1200, 4), answer)
        return found

    first = asks(population, 10**6)
    assert first == asks(population, 0)
    for switch in range(len(first)):
        assert asks(other, switch)[: switch + 1] == first[: switch + 1]


@pytest.fixture
def always_routed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mix is never the cheaper way, so that every run puts its promise on the one look."""
    monkeypatch.setattr(forecast, "mix_costs", lambda *_: np.full((1, forecast.DRAWS), 1e9))


@pytest.mark.usefixtures("always_routed")
def test_rows_without_an_answer_count_as_misses() -> None:
    """Where the reference fails on some rows, promised misses include them."""
    failures = 0
    for seed in range(60):
        population = table(600, seed)
        marks = population.marks.copy()
        lost = np.random.default_rng(seed).random(600) < 0.03
        marks[lost, 0], marks[lost, 1:] = ERROR, BAD
        failures += simulate(procedure, problem(600, seed), replace(population, marks=marks)).misses > 60
    assert binomtest(failures, 60, 0.05, alternative="greater").pvalue > 0.01


def adversary(rows: int, bad: int, ties: int) -> Population:
    """Bad rows just over the allowance, all in the score's surest region, mixed with `ties` − 1 good ones each."""
    marks = np.zeros((rows, 2), np.int8)
    marks[: bad * ties : ties, 1] = BAD
    score = np.full((rows, 2), np.nan)
    score[:, 1] = -(np.arange(rows) // (10 * ties))
    return Population(marks, np.broadcast_to(np.array(RATES[:2]), marks.shape), score)


@pytest.mark.usefixtures("always_routed")
@pytest.mark.parametrize("ties", [1, 3])
def test_bad_rows_in_the_best_region_do_not_break_the_promise(ties: int) -> None:
    """The adversary's favourite: no more violations than 5 % explains, though the score puts the bad rows first."""
    population, runs = adversary(600, 72, ties), 100
    failures = sum(
        simulate(procedure, problem(600, seed, rates=RATES[:2]), population).misses > 60 for seed in range(runs)
    )
    assert binomtest(failures, runs, 0.05, alternative="greater").pvalue > 0.001


def test_scores_are_learned_where_models_give_none() -> None:
    """No log-probabilities, but two cheap candidates whose errors differ: where they agree they are right, and the runs
    cost less than the blind mix, or the same where the first rows look as if nothing were left to learn."""
    costs, blind, peers, missed = 0.0, 0.0, 0, 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows, rates = 3000, (1.0, 0.03, 0.03)
        truth = rng.integers(1, 6, rows)
        said = (np.where(rng.random(rows) < 0.3, rng.integers(1, 6, rows), truth) for _ in "ab")
        key = np.stack([truth, *said], axis=1)
        marks = np.where(key == truth[:, None], AGREE, BAD).astype(np.int8)
        traits = Traits(key.astype(np.int64), np.ones(key.shape), np.ones(rows))
        cost = np.broadcast_to(np.array(rates), marks.shape)
        population = Population(marks, cost, np.full(marks.shape, np.nan), traits)
        outcome = simulate(procedure, problem(rows, seed, rates=rates), population)
        costs += outcome.cost
        blind += simulate(ladder_2.procedure, problem(rows, seed, rates=rates), population).cost
        peers += isinstance(outcome.verdict.rule, Cascade) and bool(outcome.verdict.rule.tiers[0].peers)
        missed += outcome.misses > 300
    assert missed <= 1
    assert peers >= 2
    assert costs < 0.85 * blind
