"""The benchmark of streams replays what it says, and its router is a fair one."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from smart_llm.procedures.stream import Tried
from smart_llm.simulation.stream import Coming


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    return importlib.import_module("stream")


def rows(count: int) -> tuple[Coming, ...]:
    """One answer in ten is bad; the surer, the rarer."""
    draw = np.random.default_rng(1)
    score = draw.normal(size=count)
    bad = draw.random(count) < 0.2 / (1 + np.exp(2 * score))
    return tuple(Coming((Tried(0, True, float(s), 0.1),), (bool(b),)) for s, b in zip(score, bad, strict=True))


def test_every_turn_has_every_row_once(stream: ModuleType) -> None:
    """A stream of three turns has each row three times."""
    replayed = stream.shuffled(rows(400), 1_200, 3)
    assert np.bincount(replayed.order).tolist() == [3] * 400


def test_bad_answers_come_three_times_as_often_after_the_change(stream: ModuleType) -> None:
    """Odds, not rates: weights of rows."""
    told = rows(5_000)
    replayed = stream.changing(told, 40_000, 0)
    bad = np.array([told[row].bad[0] for row in replayed.order])
    before, after = bad[:20_000].mean(), bad[20_000:].mean()
    assert after / (1 - after) == pytest.approx(3 * before / (1 - before), rel=0.15)


def test_the_router_keeps_the_promise_where_it_was_set(stream: ModuleType) -> None:
    """Of the first 500 requests its threshold lets through as few bad ones as are allowed; it costs less for it."""
    told = rows(5_000)
    windows = stream.routed(stream.shuffled(told, 5_000, 3), 1_000, 0.95, 0)
    assert len(windows) == 5
    assert all(window.misses < 90 for window in windows)
    assert all(window.rate < 0.8 for window in windows[1:])
