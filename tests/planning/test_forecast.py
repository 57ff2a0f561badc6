"""Forecasts: deterministic, within sense, and what a pilot shows moves them. How often they hold: benchmarks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from smart_llm.planning.forecast import Effort, Forecast, Urn, guess, simulated
from smart_llm.types import AGREE, BAD, DEFER, Answers, Marks, Problem, Traits

FEW = Effort(runs=4, seconds=1e9, least=4)
"""A fixed number of simulations, however long they take."""


def problem(rows: int = 2000, agreement: str = "0.9", rates: tuple[float, ...] = (1.0, 0.1)) -> Problem:
    """A table of so many rows."""
    names = tuple(f"cheap-{j}" for j in range(1, len(rates)))
    return Problem(rows, Fraction(agreement), Fraction("0.95"), "reference", names, rates, seed=3)


def pilot(bad: int, of: int = 40, *, deferred: int = 0) -> Answers:
    """What a pilot saw of one candidate at a tenth of the price: `bad` rows, then deferred ones, then good ones."""
    marks = np.full((of, 2), AGREE, np.int8)
    marks[:bad, 1] = BAD
    marks[bad : bad + deferred, 1] = DEFER
    cost = np.tile([1.0, 0.1], (of, 1))
    return Answers(marks, cost, np.full((of, 2), np.nan))


def scored(sheet: Answers, place: float) -> Answers:
    """The same with scores: the candidate's bad rows stand together at this place of their order."""
    bad, rows = sheet.marks[:, 1] == BAD, len(sheet.marks)
    rank = np.where(bad, place * rows, np.arange(rows))
    return replace(sheet, score=np.column_stack([np.full(rows, np.nan), -rank]))


def told(bad: int, *, seed: int = 0, deferred: int = 0, agreement: str = "0.9") -> Forecast:
    """The forecast by the shipped default."""
    return simulated("ladder", problem(agreement=agreement), pilot(bad, deferred=deferred), effort=FEW, seed=seed)


TINY = 1e-12
"""What the last digits of a mean may differ by."""


def test_a_forecast_repeats() -> None:
    """The same pilot, seed and effort give the same forecast."""
    assert told(2) == told(2)


@pytest.mark.parametrize("bad", [0, 2, 20])
def test_its_ends_hold_its_expectation(bad: int) -> None:
    """low ≤ expected ≤ high, none far above the reference alone; the shares are shares."""
    found = told(bad)
    assert 0 < found.low <= found.expected + TINY
    assert found.expected - TINY <= found.high < 1.2
    assert found.runs == FEW.runs
    assert found.certified is not None
    assert 0 <= found.certified <= 1
    assert 0 <= found.reference_share <= 1


def test_a_worse_pilot_costs_more() -> None:
    """More bad rows in a pilot forecast a dearer run; a hopeless one forecasts the reference's cost."""
    costs = [told(bad).expected for bad in (0, 4, 36)]
    assert costs == sorted(costs)
    assert costs[-1] > 0.9
    assert told(0).expected < 0.6


def test_scores_that_sort_save() -> None:
    """Bad rows behind the good ones in the order of scores cost less than bad rows before them."""
    costs = [simulated("ladder", problem(), scored(pilot(10), place), effort=FEW).expected for place in (1.0, 0.0)]
    assert costs[0] < 0.9 * costs[1]


def test_deferred_rows_cost() -> None:
    """Rows on which the candidate breaks the contract are paid twice, and the forecast knows."""
    assert told(0, deferred=20).expected > told(0).expected


def drawn(sheet: Answers) -> list[Marks]:
    """The candidate's marks in fifty populations like this pilot."""
    urn = Urn(sheet, seed=1)
    return [urn.population(weights, 1000, k).marks[:, 1] for k, weights in enumerate(islice(urn.weights(), 50))]


def test_populations_are_like_the_pilot() -> None:
    """Drawn populations hold its marks in about its proportions, and now and then a bad row nobody has seen."""
    shares = [(marks == BAD).mean() for marks in drawn(pilot(4))]
    assert 0.07 < np.mean(shares) < 0.15
    assert np.std(shares) > 0.01
    assert any((marks == BAD).any() for marks in drawn(pilot(0)))


def test_traits_stay_with_their_rows() -> None:
    """What belongs together stays together: key, length and text of a drawn row are those of one pilot row."""
    sheet, rows = pilot(3), np.arange(40)
    traits = Traits(np.column_stack([rows, rows]), np.column_stack([rows, rows]).astype(float), rows.astype(float))
    urn = Urn(replace(sheet, traits=traits), seed=2)
    drawn = urn.population(next(urn.weights()), 500, 0).traits
    assert drawn is not None
    assert (drawn.text == drawn.key[:, 0]).all()
    assert (drawn.length[:, 0] == drawn.key[:, 0]).all()


def test_before_a_pilot_the_guess_is_wide_and_cheaper_models_help() -> None:
    """From priors: anything between a bargain and the reference's cost, and nothing to gain without a cheaper one."""
    wide = guess(problem())
    assert wide.low < 0.5
    assert wide.high > 0.95
    assert wide.low <= wide.expected <= wide.high
    assert guess(problem(rates=(1.0, 0.02))).expected < wide.expected
    assert guess(problem(agreement="0.98")).expected > wide.expected
    assert guess(problem(rates=(1.0, 1.5))) == Forecast(1.0, 1.0, 1.0, 0, None, 1.0)
