"""What pilot rows say of a score: where bad rows stand, ties counted as what they are, and who is asked about more."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm import procedures
from smart_llm.procedures.ladder import forecast
from smart_llm.simulation.drive import Population
from smart_llm.types import BAD, Floats, Problem

SHAPE = 4.0


def pilot(rows: int, seed: int, tied: float) -> tuple[Floats, forecast.Shown]:
    """Rows whose bad ones stand as `SHAPE` says in the order of their score, of which the surest share ties."""
    rng = np.random.default_rng(seed)
    place = rng.random(rows)
    bad = rng.random(rows) < np.minimum(1.0, 0.25 * SHAPE * place ** (SHAPE - 1))
    ones = np.ones(rows)
    return -np.maximum(place, tied), forecast.Shown(bad, ones > 0, ones, forecast.row_weights(seed, rows))


@pytest.mark.parametrize("tied", [0.0, 0.45, 0.72])
def test_a_tie_at_the_top_hides_nothing_of_a_score(tied: float) -> None:
    """Over 40 pilots of 60 rows the shape is found, and the score trusted, as well with most rows tied as with none."""
    found = [pilot(60, seed, tied) for seed in range(40)]
    curves = [forecast.curve(score, shown, prior=forecast.OWN, seed=k) for k, (score, shown) in enumerate(found)]
    assert 3.0 < np.median([np.median(curve.shape) for curve in curves]) < 4.5
    assert np.median([curve.useless for curve in curves]) < 0.02


def test_a_score_that_knows_nothing_is_not_trusted_for_its_ties() -> None:
    """Over 40 pilots whose bad rows stand anywhere, most of the belief stays with "it knows nothing"."""
    told = []
    for seed in range(40):
        score, shown = pilot(60, seed, 0.72)
        blank = np.random.default_rng(seed).permutation(score)
        told.append(forecast.curve(blank, shown, prior=forecast.OWN, seed=seed).useless)
    assert np.median(told) > 0.7


@given(st.lists(st.integers(0, 5), max_size=40))
def test_every_row_lies_within_its_tie(values: list[int]) -> None:
    """Spans begin where the tie before ends, tied rows share one, and their width is their share of the rows."""
    score = np.array(values, dtype=float)
    spans, places = forecast.spread(score)
    for value in set(values):
        here = score == value
        assert np.allclose(spans[here], [(score > value).mean(), (score >= value).mean()])
        assert np.ptp(places[here]) == 0
    assert places.sum() == pytest.approx(-np.log((np.arange(len(score)) + 0.5) / max(1, len(score))).sum())


def test_expensive_candidates_are_asked_little_where_a_cheap_one_routes_well() -> None:
    """Two candidates at a third of the price that could not win are asked about a few rows of the pilot only."""
    rng, rows, prices = np.random.default_rng(2), 1800, (1.0, 0.06, 0.36, 0.37)
    marks, score = np.zeros((rows, 4), np.int8), np.full((rows, 4), np.nan)
    for j, bad in enumerate((0.22, 0.18, 0.16), 1):
        place = rng.random(rows)
        marks[:, j] = np.where(rng.random(rows) < np.minimum(1.0, bad * SHAPE * place ** (SHAPE - 1)), BAD, 0)
        score[:, j] = -np.maximum(place, 0.45)
    people = Population(marks, np.tile(prices, (rows, 1)), score)
    asked: Counter[int] = Counter()
    for seed in range(20):
        task = Problem(rows, Fraction("0.9"), Fraction("0.95"), "large", ("small", "b", "c"), prices, seed)
        conversation, answers = procedures.get("ladder")(task), None
        while True:
            ask = next(conversation) if answers is None else conversation.send(answers)
            if ask.stage == "profile":
                break
            answers = people.answer(ask)
            asked.update({model: len(ask.positions) for model in ask.models})
    assert asked[1] > 20 * 20
    assert asked[2] + asked[3] < 20 * 2 * 12
