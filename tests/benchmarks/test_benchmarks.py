"""The benchmarks measure what they say: tables as promised, a yardstick that is exact, a broken mix that is caught."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom

from smart_llm.types import BAD

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
RECORDED = FOLDER.parent.parent / "shared" / "data" / "recorded"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark by name, as a script of its own folder would."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize("kind", ["one", "independent", "same", "nested", "disjoint", "block"])
def test_boundary_tables_have_exactly_the_bad_rows_they_say(script: Any, kind: str) -> None:
    """D per candidate, placed as the kind says: nested, disjoint, the same, or in one block."""
    boundary = script("boundary")
    cell = boundary.Cell(kind, 1 if kind in ("one", "block") else 3, 500, "1.3")
    bad = boundary.table(cell, 4)[:, 1:] == BAD
    assert bad.sum(axis=0).tolist() == cell.bad
    if kind == "nested":
        assert (bad[:, 0] <= bad[:, 1]).all()
    if kind == "disjoint":
        assert bad.sum(axis=1).max() == 1
    if kind == "same":
        assert (bad[:, 0] == bad[:, 2]).all()
    if kind == "block":
        assert np.ptp(np.flatnonzero(bad[:, 0])) == cell.bad[0] - 1


def test_the_boundary_is_one_row_beyond_the_allowance(script: Any) -> None:
    """D = B + 1 at 95 % of 500 rows is 26."""
    assert script("boundary").Cell("one", 1, 500, "+1").bad == [26]


def test_a_mix_without_its_tail_is_caught(script: Any) -> None:
    """With five times the allowance bad, the broken mix breaks the promise in far more than 5 % of runs."""
    boundary = script("boundary")
    cell = boundary.Cell("one", 1, 400, "5")
    parts = [boundary.chunk((cell, "tailless", first, 100)) for first in (0, 100, 200)]
    verdict = boundary.judge("tailless", [boundary.gather(cell, "tailless", parts)])
    assert not verdict["holds"]
    assert verdict["above"] == [cell.name]


def test_the_yardsticks_limit_is_exact(script: Any) -> None:
    """U is the largest number of bad rows still plausible at α, by scipy's hypergeometric distribution."""
    limits = script("one_look").upper_limits(300, 60, np.array([0, 3, 9]))
    for d, limit in zip((0, 3, 9), limits, strict=True):
        assert hypergeom.cdf(d, 300, int(limit), 60) > 0.05 >= hypergeom.cdf(d, 300, int(limit) + 1, 60)


def test_the_yardstick_is_free_for_a_perfect_candidate_and_useless_for_a_hopeless_one(script: Any) -> None:
    """A candidate never bad costs little more than its price; one always bad saves next to nothing."""
    yardstick = script("one_look").yardstick
    assert 0.1 < yardstick(2000, 200, [0], [0.1], [0.1]) < 0.15
    assert 0.9 < yardstick(2000, 200, [2000], [0.1], [0.1]) <= 1.0


@pytest.mark.parametrize(("task", "agreement"), [("crux_output", "0.80"), ("gsm8k", "0.95"), ("media_bias", "0.90")])
def test_the_yardstick_reproduces_the_known_figures(script: Any, task: str, agreement: str) -> None:
    """Within 6 % of the figures the data came with."""
    if not RECORDED.exists():
        pytest.skip("needs ../shared/data/recorded beside the project")
    recorded = script("recorded")
    table = recorded.load(RECORDED / f"{task}.parquet", reference=recorded.REFERENCES[task])
    known = recorded.FLOOR[task][1][recorded.AGREEMENTS.index(agreement)]
    assert recorded.one_look(table, agreement) == pytest.approx(known, rel=0.06)


def test_without_data_a_benchmark_says_so_and_ends_well(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No ../shared: one clear line, exit code 0."""
    common = script("common")
    monkeypatch.setattr(common, "DATA", tmp_path)
    with pytest.raises(SystemExit) as ended:
        common.need_data("recorded")
    assert ended.value.code == 0
    assert "../shared/data/recorded" in capsys.readouterr().out
