"""The blind mix, which is what the default does where there is nothing to go by: edges, costs, rows without an answer.

The whole default is enumerated in `test_default_orders`; here with rows set aside beforehand, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from chance import worst
from scipy.stats import hypergeom

from smart_llm import procedures
from smart_llm.procedures.mix import pilot as mix_pilot
from smart_llm.procedures.mix import procedure as mix
from smart_llm.simulation.drive import Population, drive, simulate
from smart_llm.stats.sampling import permutation
from smart_llm.types import BAD, DEFER, ERROR, Answers, Ask, Problem

procedure = procedures.get("ladder")


def population(marks: np.ndarray, prices: tuple[float, ...]) -> Population:
    """Marks of shape (N, 1 + m), one price per model."""
    cost = np.broadcast_to(np.array(prices, float), marks.shape).copy()
    return Population(marks.astype(np.int8), cost, np.full(marks.shape, np.nan))


def problem(rows: int, agreement: str, confidence: str, prices: tuple[float, ...], seed: int = 1) -> Problem:
    """A problem with those prices, reference first."""
    names = tuple(f"candidate-{j}" for j in range(1, len(prices)))
    return Problem(rows, Fraction(agreement), Fraction(confidence), "reference", names, prices, seed)


def drawn(rows: int, rates: tuple[float, ...], seed: int) -> np.ndarray:
    """Independent bad marks at these rates, reference first."""
    rng = np.random.default_rng(seed)
    bad = [np.zeros(rows), *(rng.random(rows) < rate for rate in rates)]
    return np.stack(bad, axis=1).astype(np.int8)


def leaves(task: Problem, choices: int) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Every way a run can go, whatever the answers: (patterns of the profiled rows in order, candidate, rows handed
    over). A pattern is a bit per candidate: bad or not. Rows never profiled are not decided on. Where a run asks about
    more rows than were, it goes on with the first of all ways they can be, and the others are still open."""
    order = permutation(task.seed, "order", task.rows)
    place = np.argsort(order)
    script, open_ = tuple[int, ...](), [tuple[int, ...]()]

    def answer(ask: Ask) -> Answers:
        nonlocal script
        at = place[ask.positions]
        ways = product(range(choices), repeat=max(0, int(at.max()) + 1 - len(script)))
        script, *others = [(*script, *end) for end in ways]
        open_.extend(others)
        marks = np.zeros((len(at), len(task.rates)), np.int8)
        for k, pattern in enumerate(script[i] for i in at):
            marks[k, 1:] = [pattern >> j & 1 for j in range(len(task.candidates))]
        cost = np.broadcast_to(np.array(task.rates, float), marks.shape)
        return Answers(marks, cost, np.full(marks.shape, np.nan))

    while open_:
        script = open_.pop()
        verdict = drive(procedure, task, answer)
        assert len(verdict.profiled) == len(script)
        yield script, *(verdict.rule.shares[0] if verdict.rule.shares else (0, 0))


def worst_miss(task: Problem) -> float:
    """The largest probability, over all populations (rows of each pattern), that more is missed than allowed."""
    choices = 2 ** len(task.candidates)
    ends = Counter((tuple(np.bincount(s, minlength=choices)), j, r) for s, j, r in leaves(task, choices) if r)

    def missed(seen: np.ndarray, left: np.ndarray, candidate: int, share: int) -> np.ndarray:
        bad = left @ (np.arange(choices) >> (candidate - 1) & 1)
        return hypergeom.sf(task.allowance, left[0].sum(), np.arange(left[0].sum() + 1), share)[bad]

    return worst(task.rows, choices, ends, missed)


@pytest.mark.parametrize(("rows", "confidence"), [(15, "0.5"), (13, "0.3")])
@pytest.mark.parametrize(("aside", "lost"), [(1, 0), (1, 1), (2, 1)])
def test_rows_set_aside_leave_the_promise_as_it_is(aside: int, lost: int, rows: int, confidence: str) -> None:
    """Some of 15 rows were piloted before: whatever the population of the others is, chosen by whoever knows the pilot,
    and in every order, the target of the whole table is missed with probability at most α, and with a good part of it.
    The allowance is the whole table's, less the rows set aside that have no answer."""
    whole = problem(rows, "0.7", confidence, (1.0, 0.0001))
    task = replace(whole, rows=rows - aside, set_aside=aside, lost=lost)
    assert task.allowance == whole.allowance - lost
    alpha = float(1 - task.confidence)
    assert 0.1 * alpha < worst_miss(task) <= alpha


def test_the_promise_holds_at_the_boundary() -> None:
    """Simulated populations just beyond the allowance: the rate of misses stays about or below α."""
    missed = 0
    for seed in range(300):
        marks = np.zeros((400, 2), np.int8)
        marks[np.random.default_rng(seed).permutation(400)[:90], 1] = BAD
        task = problem(400, "0.8", "0.8", (1.0, 0.05), seed)
        missed += simulate(procedure, task, population(marks, task.rates)).misses > task.allowance
    assert missed / 300 <= 0.2 + 3 * (0.2 * 0.8 / 300) ** 0.5


def test_later_rows_change_nothing_earlier() -> None:
    """What is asked up to a round depends only on the answers of the rounds before."""
    task = problem(600, "0.9", "0.95", (1.0, 0.1, 0.2), 5)
    first, second = drawn(600, (0.05, 0.1), 1), drawn(600, (0.3, 0.02), 2)
    asks = list(conversation(task, population(first, task.rates)))
    for rounds in range(1, len(asks)):
        told = np.concatenate([ask.positions for ask in asks[:rounds]])
        mixed = second.copy()
        mixed[told] = first[told]
        again = list(conversation(task, population(mixed, task.rates)))
        for ask, other in zip(asks[: rounds + 1], again[: rounds + 1], strict=True):
            assert ask.models == other.models
            assert np.array_equal(ask.positions, other.positions)


def conversation(task: Problem, people: Population):
    """The asks of one run."""
    running = procedure(task)
    try:
        ask = next(running)
        while True:
            yield ask
            ask = running.send(people.answer(ask))
    except StopIteration:
        return


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("candidates", [1, 2, 5])
@pytest.mark.parametrize("agreement", ["0.5", "0.95", "0.01"])
def test_small_tables_come_to_an_end(rows: int, candidates: int, agreement: str) -> None:
    """From one row up, few candidates or many, any allowance: a verdict, and no more rows than there are."""
    task = problem(rows, agreement, "0.95", (1.0, *(0.1 * j for j in range(1, candidates + 1))))
    outcome = simulate(procedure, task, population(drawn(rows, (0.1,) * candidates, 3), task.rates))
    assert outcome.profiled <= rows
    assert sum(count for _, count in outcome.verdict.rule.shares) <= rows - outcome.profiled


def test_a_good_candidate_is_used_and_a_hopeless_one_costs_little() -> None:
    """Clear cases: savings near the price ratio, or at most two per cent on top of the reference."""
    task = problem(3000, "0.9", "0.95", (1.0, 0.05, 0.3), 2)
    good = simulate(procedure, task, population(drawn(3000, (0.02, 0.01), 4), task.rates))
    hopeless = simulate(procedure, task, population(drawn(3000, (1.0, 0.95), 4), task.rates))
    assert good.verdict.granted
    assert good.cost < 0.15 * 3000
    assert not hopeless.verdict.granted
    assert hopeless.cost <= 1.02 * 3000


def test_dear_candidates_do_not_eat_the_saving() -> None:
    """Five candidates on a thousand rows, two at a third of the price: close to what the cheap good one alone costs."""
    rates = (0.04, 0.3, 0.4, 0.02, 0.02)
    task = problem(1000, "0.9", "0.95", (1.0, 0.05, 0.03, 0.04, 0.33, 0.34), 3)
    alone = problem(1000, "0.9", "0.95", (1.0, 0.05), 3)
    together = simulate(procedure, task, population(drawn(1000, rates, 5), task.rates))
    single = simulate(procedure, alone, population(drawn(1000, rates[:1], 5), alone.rates))
    assert together.cost <= single.cost + 0.08 * 1000


def test_candidates_that_cannot_pay_are_named_and_never_asked() -> None:
    """Dearer than the reference, or as dear: dropped, with a note."""
    task = problem(200, "0.9", "0.95", (1.0, 1.0, 2.0))
    outcome = simulate(procedure, task, population(drawn(200, (0.0, 0.0), 1), task.rates))
    assert outcome.profiled == 0
    assert not outcome.verdict.granted
    assert all(any(name in note for note in outcome.verdict.notes) for name in task.candidates)


def test_free_models_are_all_the_same() -> None:
    """Nothing can be saved where the reference costs nothing."""
    task = problem(100, "0.9", "0.95", (0.0, 0.0))
    assert not simulate(procedure, task, population(drawn(100, (0.0,), 1), task.rates)).verdict.granted


def test_a_free_candidate_is_profiled_like_any_other() -> None:
    """A price of zero is a price."""
    task = problem(800, "0.9", "0.95", (1.0, 0.0), 4)
    outcome = simulate(procedure, task, population(drawn(800, (0.03,), 1), task.rates))
    assert outcome.verdict.granted
    assert outcome.cost < 0.3 * 800


def test_broken_contracts_are_paid_for_but_no_misses() -> None:
    """A candidate that always breaks its contract saves nothing and is not used; the run costs at most 5 % more."""
    marks = np.zeros((1000, 2), np.int8)
    marks[:, 1] = DEFER
    task = problem(1000, "0.9", "0.95", (1.0, 0.1), 6)
    outcome = simulate(procedure, task, population(marks, task.rates))
    assert outcome.misses == 0
    assert not outcome.verdict.granted
    assert outcome.cost <= 1.05 * 1000


def test_rows_without_an_answer_shrink_the_allowance() -> None:
    """Reference errors are misses: with them, delivered misses still stay within the allowance in nearly all runs."""
    missed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        marks = drawn(500, (0.1,), seed)
        lost = rng.random(500) < 0.03
        marks[lost] = (ERROR, BAD)
        task = problem(500, "0.85", "0.9", (1.0, 0.05), seed)
        outcome = simulate(procedure, task, population(marks, task.rates))
        late = int(lost.sum()) - int(lost[outcome.verdict.profiled].sum())
        missed += outcome.misses - late > task.allowance
    assert missed <= 12


def test_an_answer_that_breaks_the_contract_is_no_agreement() -> None:
    """Half of the candidate's answers break the contract: the outlook shows no more than the other half agreeing."""
    task = problem(400, "0.8", "0.95", (1.0, 0.1))
    marks = drawn(400, (0.0,), 0)
    marks[::2, 1] = DEFER
    told = population(marks, task.rates)
    shown, proper, asked = [], 0, 0

    def answer(ask: Ask) -> Answers:
        nonlocal proper, asked
        shown.append((ask.outlook, proper, asked))
        proper, asked = proper + int((marks[ask.positions, 1] != DEFER).sum()), asked + len(ask.positions)
        return told.answer(ask)

    drive(procedure, task, answer)
    assert len(shown) > 1
    for outlook, agreed, rows in shown:
        assert outlook is not None
        (standing,) = outlook.standings
        assert (standing.agreeing, standing.profiled) == (agreed, rows)


def test_more_errors_than_provided_for_leave_only_the_allowance() -> None:
    """Where the evidence brings more errors than were set aside, no more than what is left is handed over."""
    marks = np.zeros((400, 2), np.int8)
    marks[np.random.default_rng(2).permutation(400)[:16]] = (ERROR, BAD)
    task = problem(400, "0.8", "0.95", (1.0, 0.05), 2)
    verdict = simulate(procedure, task, population(marks, task.rates)).verdict
    evidence = verdict.evidence["mix"]
    errors, spare = evidence["profiled"]["errors"], evidence["spare"]
    assert errors > spare
    assert 0 < evidence["granted"] <= task.allowance - errors
    assert any("no answer" in note for note in verdict.notes)


@pytest.mark.parametrize(("reserve", "errors", "spare"), [(0, 0, 0), (3, 0, 3), (50, 0, 4), (0, 1, 10), (3, 1, 13)])
def test_misses_are_set_aside_only_where_rows_may_have_no_answer(reserve: int, errors: int, spare: int) -> None:
    """A plan that expects no rows without an answer gives up none of its allowance until one is met; else a hundredth
    of it or what the plan has set aside for late ones, if that is less."""
    task = replace(problem(5000, "0.9", "0.95", (1.0, 0.05)), reserve=reserve)
    state, _ = mix_pilot.start(task)
    assert mix.planned(replace(state, rows=60, errors=errors)).spare == spare


def test_every_ask_says_how_things_stand() -> None:
    """An outlook with a standing per candidate goes with every ask."""
    task = problem(500, "0.9", "0.95", (1.0, 0.1, 0.2), 3)
    for ask in conversation(task, population(drawn(500, (0.05, 0.1), 1), task.rates)):
        assert ask.outlook is not None
        assert len(ask.outlook.standings) == 2
        assert 0 < ask.outlook.expected_cost_ratio < 2


def test_an_unlucky_beginning_does_not_end_a_run() -> None:
    """A candidate whose first few answers are bad by chance is asked about a few more rows before it is given up: of 40
    runs with one that agrees on 81 % at a fiftieth of the price, none costs nearly as much as the reference alone."""
    costs = []
    for seed in range(40):
        people = population(drawn(4000, (0.19,), seed), (1.0, 0.02))
        outcome = simulate(procedure, problem(4000, "0.8", "0.95", (1.0, 0.02), seed), people)
        costs.append(outcome.cost / people.cost[:, 0].sum())
    assert max(costs) < 0.6


def test_a_candidate_of_no_use_is_given_up_early() -> None:
    """A candidate that is bad on nine rows of ten costs next to nothing before it is given up, in every one of 40
    runs, on small tables and on large ones."""
    for rows, price in ((80, 0.2), (300, 0.05), (4000, 0.02)):
        for seed in range(40):
            people = population(drawn(rows, (0.9,), seed), (1.0, price))
            outcome = simulate(procedure, problem(rows, "0.8", "0.95", (1.0, price), seed), people)
            assert outcome.cost <= 1.03 * people.cost[:, 0].sum()
