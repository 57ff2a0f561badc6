"""Many ways of answering: the promise holds whatever they do, and exploring them costs little."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from trees import remembering

from smart_llm.procedures import get, resolve
from smart_llm.simulation.drive import Population, drive, simulate
from smart_llm.types import BAD, Answers, Ask, Problem

LADDER = get(resolve("ladder"))


def problem(
    rows: int, rates: tuple[float, ...], packs: tuple[float, ...], kin: tuple[int, ...], **other: str
) -> Problem:
    """A table whose candidates are ways."""
    given = {"agreement": "0.9", "confidence": "0.95", **other}
    names = tuple(f"way {j}" for j in range(1, len(rates)))
    shares = Fraction(given["agreement"]), Fraction(given["confidence"])
    return Problem(rows, *shares, "reference", names, rates, 7, packs=packs, kin=kin)


def test_a_false_certificate_is_at_most_as_likely_as_said_with_packs() -> None:
    """All arrangements of all tables of eight rows with one or two bad ones more than allowed, two ways of one model,
    order fixed, the second one in packs of four whose answers depend on each other in any way: none misses too often,
    and some often enough to tell."""
    missed, seen = defaultdict[tuple[int, int], int](int), defaultdict[tuple[int, int], int](int)
    ladder = remembering(LADDER)
    rates, calls = (1.0, 0.001, 0.0002), np.stack([np.arange(8), np.arange(8), np.arange(8) // 4], axis=1)
    asked = problem(8, rates, (1.0, 1.0, 4.0), (0, 1, 1), agreement="0.7", confidence="0.4")
    for kinds in product(range(3), repeat=8):
        whole = kinds.count(1), kinds.count(2)
        if sum(whole) - asked.promised not in (1, 2):
            continue
        marks = np.array([[0, kind == 2, kind > 0] for kind in kinds], np.int8)
        people = Population(marks, np.tile(rates, (8, 1)), np.full(marks.shape, np.nan), None, calls)
        seen[whole] += 1
        missed[whole] += simulate(ladder, asked, people).misses > asked.allowance
    assert Fraction(1, 10) < max(Fraction(missed[each], seen[each]) for each in seen) <= Fraction(3, 5)


def made(rows: int, seed: int) -> tuple[Population, Problem]:
    """Three models, eight ways each: packs are cheaper and a little worse; one model is hopeless."""
    rng = np.random.default_rng(seed)
    marks, rates, packs, kin, calls = [np.zeros(rows, bool)], [1.0], [1.0], [0], [np.arange(rows)]
    for model, (price, bad) in enumerate(((0.12, 0.03), (0.06, 0.07), (0.02, 0.6)), 1):
        own = rng.random(rows) < bad
        for pack, cheaper in ((1, 1.0), (8, 0.25), (16, 0.2), (32, 0.15)):
            for short in (1.0, 0.6):
                call = np.empty(rows, np.int64)
                call[rng.permutation(rows)] = np.arange(rows) // pack
                wrong = rng.random(int(call.max()) + 1) < 0.002 * pack**0.5
                marks.append(own | wrong[call] | (rng.random(rows) < 0.02 * (short < 1)))
                rates.append(price * cheaper * short)
                packs.append(float(pack))
                kin.append(model)
                calls.append(call)
    table = np.stack(marks, axis=1).astype(np.int8) * BAD
    cost = np.broadcast_to(np.array(rates), table.shape)
    people = Population(table.astype(np.int8), cost, np.full(table.shape, np.nan), None, np.stack(calls, axis=1))
    return people, problem(rows, tuple(rates), tuple(packs), tuple(kin))


@pytest.mark.parametrize("seed", range(2))
def test_trying_ways_costs_little_and_what_was_tried_is_no_evidence(seed: int) -> None:
    """Of 24 ways few are kept; what candidates cost before anything is certified stays within the cap; rows that ways
    were compared on are asked about before any evidence, and never are evidence."""
    people, asked = made(5000, seed)
    asks = list[Ask]()

    def answer(ask: Ask) -> Answers:
        asks.append(ask)
        return people.answer(ask)

    drive(LADDER, asked, answer)
    pilot = [ask for ask in asks if ask.stage.startswith("pilot")]
    after = asks[len(pilot) :]
    assert all(ask.stage == "profile" for ask in after)
    piloted = {int(row) for ask in pilot for row in ask.positions}
    assert piloted.isdisjoint(int(row) for ask in after for row in ask.positions)
    assert len({model for ask in after for model in ask.models}) <= 4
    paid = np.zeros(people.marks.shape, bool)
    for ask in pilot:
        paid[np.ix_(ask.positions, np.array(ask.models))] = True
    assert float(people.cost[people.bought(paid)][:].sum() - len(piloted)) <= 0.03 * asked.rows
    assert simulate(LADDER, asked, people).cost < 0.25 * asked.rows


def test_nothing_changes_where_every_candidate_is_a_model_of_its_own() -> None:
    """Without ways the ladder asks what it asked before there were any."""
    people, _ = made(2000, 1)
    keep = [0, 1, 9, 17]
    plain = Population(people.marks[:, keep], people.cost[:, keep], people.score[:, keep])
    rates = tuple(plain.cost[0].tolist())
    told = [
        simulate(LADDER, problem(2000, rates, packs, kin), plain)
        for packs, kin in (((), ()), ((1.0,) * 4, (0, 1, 2, 3)))
    ]
    assert np.array_equal(told[0].verdict.profiled, told[1].verdict.profiled)
    assert told[0].verdict.rule == told[1].verdict.rule


def short_rows(ways: tuple[int, ...], seed: int) -> tuple[Population, Problem]:
    """A candidate at a twentieth of the price that errs on 2 % of the rows, however it is asked, and is less sure there
    than elsewhere; row by row, in packs of 8 and of 32, as far as these are among the ways."""
    rng, rows = np.random.default_rng(seed), 5000
    bad, call = rng.random(rows) < 0.02, rng.permutation(rows)
    sure = np.where(bad, rng.uniform(0.4, 0.8, rows), rng.uniform(0.6, 1.0, rows))
    price = {1: 0.05, 8: 0.0135, 32: 0.0074}
    columns = [np.zeros(rows, bool), *(bad for _ in ways)]
    marks = np.stack(columns, axis=1).astype(np.int8) * BAD
    cost = np.broadcast_to(np.array([1.0, *(price[pack] for pack in ways)]), marks.shape)
    score = np.stack([np.full(rows, np.nan), *(sure for _ in ways)], axis=1)
    calls = np.stack([np.arange(rows), *(call // pack for pack in ways)], axis=1)
    packs, kin = (1.0, *map(float, ways)), (0, *(1 for _ in ways))
    return Population(marks, cost, score, None, calls), problem(rows, tuple(cost[0].tolist()), packs, kin)


def test_ways_pay_where_no_score_is_needed_to_deliver_nearly_everything() -> None:
    """Packs of a good candidate, told how sure it is: at most .45 of the cost without ways in the mean of five orders,
    though pilot and evidence, which ways do not touch, are most of what is left; the promise is kept."""
    cost, ways = {"given": list[float](), "auto": list[float]()}, {"given": (1,), "auto": (1, 8, 32)}
    for name, seed in product(ways, range(5)):
        people, asked = short_rows(ways[name], seed)
        outcome = simulate(LADDER, replace(asked, seed=seed), people)
        cost[name].append(outcome.cost)
        assert outcome.misses <= asked.allowance
    assert np.mean(cost["auto"]) <= 0.45 * np.mean(cost["given"])


def test_how_many_rows_are_paid_for() -> None:
    """Asked about drawn rows, a way in packs is paid for theirs and those that share their calls."""
    asked = problem(1000, (1.0, 0.1, 0.01), (1.0, 1.0, 20.0), (0, 1, 1))
    assert asked.bought(1, 50) == 50
    rng, call = np.random.default_rng(1), np.arange(1000) // 20
    counts = [20 * len(np.unique(call[rng.choice(1000, 50, replace=False)])) for _ in range(300)]
    assert asked.bought(2, 50) == pytest.approx(np.mean(counts), rel=0.03)
    assert asked.bought(2, 1000) == pytest.approx(1000)
