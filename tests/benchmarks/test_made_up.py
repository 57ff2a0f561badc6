"""The made-up tables of `promise.py` and `ceiling.py` are what they say, and the two scripts can fail."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smart_llm import procedures
from smart_llm.types import BAD, DEFER, ERROR, Mix, Verdict


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """The benchmarks, as scripts of their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("made_up", "promise", "ceiling")})


@pytest.fixture(scope="module")
def cells(scripts: Any) -> list[Any]:
    """A spread of cells, none of them large."""
    return [cell for cell in scripts.promise.drawn(250, 5) if cell.rows <= 1000]


def test_first_candidates_have_exactly_the_bad_rows_they_say(scripts: Any, cells: list[Any]) -> None:
    """D bad rows that have an answer, whatever is lost or deferred; others may lose some of theirs to lost rows."""
    for cell in cells:
        people = scripts.made_up.made(cell)[1]
        lost = people.marks[:, 0] == ERROR
        bad = ((people.marks[:, 1:] == BAD) & ~lost[:, None]).sum(axis=0)
        assert lost.sum() == cell.lost
        assert bad[0] == cell.bad[0]
        assert (bad <= cell.bad).all()
        assert cell.lost or bad.tolist() == list(cell.bad)


def test_cells_stand_beyond_the_allowance(cells: list[Any]) -> None:
    """Some bad row must be allowed, and delivering the first candidate everywhere would break the promise."""
    for cell in cells:
        assert 1 <= cell.allowance < cell.bad[0] + cell.lost


@pytest.mark.parametrize("placed", ["together", "beside"])
def test_candidates_err_where_they_are_said_to(scripts: Any, placed: str) -> None:
    """On the same rows first, or on others as long as there are any."""
    cell = scripts.made_up.Cell(200, "0.9", "0.9", (25, 50, 60), (0.1, 0.2, 0.3), placed=placed)
    bad = scripts.made_up.made(cell)[1].marks[:, 1:] == BAD
    if placed == "together":
        assert (bad[:, 0] <= bad[:, 1]).all()
        assert (bad[:, 1] <= bad[:, 2]).all()
    else:
        assert bad.sum(axis=1).max() == 1


def test_blocks_are_blocks_of_duplicates(scripts: Any) -> None:
    """The bad rows stand side by side (the end of the table next to its start), and have one score."""
    cell = scripts.made_up.Cell(200, "0.9", "0.9", (25,), (0.1,), scores="blind", blocks=True)
    people = scripts.made_up.made(cell)[1]
    bad = people.marks[:, 1] == BAD
    assert (bad != np.roll(bad, 1)).sum() == 2
    assert len(np.unique(people.score[bad, 1])) == 1


def test_deferring_rows_look_bad_and_take_none_of_them(scripts: Any) -> None:
    """`defers=beside`: half as many broken contracts as bad rows, with the same low scores."""
    cell = scripts.made_up.Cell(1000, "0.9", "0.9", (120,), (0.1,), scores="keen", defers="beside")
    people = scripts.made_up.made(cell)[1]
    deferred, bad = people.marks[:, 1] == DEFER, people.marks[:, 1] == BAD
    assert (bad.sum(), deferred.sum()) == (120, 60)
    assert people.score[deferred, 1].mean() < -2 < -0.2 < people.score[~deferred & ~bad, 1].mean()


@pytest.mark.parametrize("costs", ["even", "uneven", "dear"])
def test_calls_cost_so_many_times_what_was_expected(scripts: Any, costs: str) -> None:
    """In the mean over rows; the reference costs 1."""
    cell = scripts.made_up.Cell(300, "0.9", "0.9", (40, 50), (0.1, 0.2), costs=costs, factors=(60.0, 1.0))
    problem, people = scripts.made_up.made(cell)
    assert problem.rates == (1.0, 0.1, 0.2)
    assert people.cost.mean(axis=0).tolist() == pytest.approx([1.0, 6.0, 0.2])


def test_scans_are_reproducible_and_extend_one_another(scripts: Any) -> None:
    """The first cells of a longer scan are those of a shorter one; another seed draws others; fresh seeds are fresh."""
    drawn, first_seed = scripts.promise.drawn, scripts.made_up.first_seed
    assert drawn(30, 1)[:20] == drawn(20, 1)
    assert drawn(20, 1) != drawn(20, 2)
    cell = drawn(1, 1)[0]
    places = [first_seed(cell, seed, stage) for seed in (1, 2) for stage in ("scan", "scan on", "again")]
    assert min(np.diff(sorted(places))) >= 2**24


def test_reference_only_costs_one_and_proves_nothing(scripts: Any, cells: list[Any]) -> None:
    """A procedure that grants nothing breaks nothing, and every cell says that it has no power."""
    for cell in cells[:20]:
        tally = scripts.made_up.runs((cell, "reference-only", 0, 2))
        assert (tally.broken, tally.granted, tally.risked) == (0, 0, 0)
        assert tally.cost == pytest.approx(2)
        assert scripts.promise.figures(cell, tally)[""] == "no power"


def test_a_careless_procedure_is_broken(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the rows handed to the first candidate unseen: found out where it errs on 36 rows of 100 and 8 may be."""
    careless = SimpleNamespace(get=lambda name: careless_procedure, resolve=procedures.resolve)
    monkeypatch.setattr(scripts.made_up, "procedures", careless)
    cell = scripts.made_up.Cell(100, "0.92", "0.9", (36,), (0.3,))
    line = scripts.promise.figures(cell, scripts.made_up.runs((cell, "careless", 0, 100)))
    assert (line[""], line["granted"], line["risked"]) == ("BROKEN", 1.0, 1.0)


def careless_procedure(problem: Any) -> Any:
    """Asks nothing."""
    return Verdict(True, Mix(((1, problem.rows // 2),)), np.empty(0, np.int64), "careless", {})
    yield


def test_worse_cells_come_first_and_more_runs_count_for_more(scripts: Any) -> None:
    """Sorted by the posterior probability that the rate is above what is allowed, not by the rate."""
    cell, tally = scripts.promise.KNOWN[0], scripts.made_up.Tally
    few, many = tally(runs=20, broken=2), tally(runs=2000, broken=160)
    assert scripts.promise.odds_of(cell, many) > max(0, scripts.promise.odds_of(cell, few))
    assert scripts.promise.odds_of(cell, tally(runs=2000, broken=90)) < 0


def test_more_lost_rows_than_were_set_aside_are_not_claimed(scripts: Any) -> None:
    """As the engine decides: errors that nobody profiled count against the reserve."""
    cell = scripts.made_up.Cell(100, "0.9", "0.9", (12,), (0.3,), lost=4, reserve=3)
    problem, people = scripts.made_up.made(cell)
    lost = np.flatnonzero(people.marks[:, 0] == ERROR)
    outcome = SimpleNamespace(verdict=SimpleNamespace(granted=True, profiled=lost[:0]), delivered_by=np.zeros(100, int))
    assert not scripts.made_up.claimed(outcome, problem, people)
    outcome.verdict.profiled = lost[:1]
    assert scripts.made_up.claimed(outcome, problem, people)
    outcome.verdict.granted = False
    assert not scripts.made_up.claimed(outcome, problem, people)


def test_every_place_of_the_grid_is_a_cell(scripts: Any) -> None:
    """Each once, in an order that the seed gives; what a call costs is told apart from what it was expected to."""
    ceiling = scripts.ceiling
    cells = ceiling.grid(0, 1)
    assert len({cell.number for cell in cells}) == len(cells) == 9 * 4 * 5 * 6 * 4
    assert cells[:50] == ceiling.grid(50, 1)
    assert {len(cell.prices) for cell in cells} == {1, 2, 3, 4}
    assert ceiling.one_call(replace(ceiling.KNOWN[5], prices=(0.1,), factors=(200.0,))) == "to 0.025"


def test_a_mean_and_a_run_above_the_ceiling_are_told_apart(scripts: Any) -> None:
    """By standard errors for the mean, for the run as it is."""
    ceiling, tally = scripts.ceiling, scripts.made_up.Tally
    cell = ceiling.KNOWN[0]

    def verdict(mean: float, spread: float, worst: float) -> str:
        square = 100 * (mean**2 + spread**2)
        return str(ceiling.figures(cell, tally(runs=100, cost=100 * mean, square=square, dearest=worst))[""])

    assert verdict(1.03, 0.01, 1.04) == "MEAN"
    assert verdict(1.021, 0.01, 1.04) == "holds"
    assert verdict(1.0, 0.01, 1.06) == "WORST"
