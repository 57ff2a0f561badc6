"""The stream as it ships in made-up traffic, its coins drawn after each decision; and two broken ones, found out."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from smart_llm.procedures.stream import Stream, StreamPromise
from smart_llm.simulation.stream import Drive, WindowOutcome
from smart_llm.stats.clopper_pearson import interval

ALPHA = 0.05
REQUESTS, WINDOWS = 150, 35


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    """The benchmarks can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[3] / "benchmarks")
        yield


@pytest.fixture(scope="module")
def traffic(scripts: None) -> ModuleType:
    """The benchmark's traffic."""
    return importlib.import_module("traffic")


@pytest.fixture(scope="module")
def broken(scripts: None) -> dict[str, type[Stream]]:
    """Streams that are broken on purpose."""
    streams: dict[str, type[Stream]] = importlib.import_module("broken_streams").BROKEN
    return streams


def drive(kind: Any, mode: str, *, of: type[Stream] = Stream, delay: int = 5, seed: int = 0) -> list[WindowOutcome]:
    """The windows of one stream."""
    stream = of(StreamPromise("0.9", "0.95", REQUESTS, mode), [0.05])
    outcomes = Drive(stream, kind(seed), np.random.default_rng([seed, 14]), delay).run(REQUESTS * WINDOWS)
    return [each for each in outcomes if each.ended is not None and each.ended.full]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *product(["attacker", "shameless", "bursts"], ["before", "behind"]),
        *(("calm", "behind"), ("break", "before"), ("drift", "behind")),
    ],
)
def test_the_promise_holds_in_any_traffic(traffic: ModuleType, kind: str, mode: str) -> None:
    """The lower 99 % limit of the rate of broken windows is not above 1 − confidence."""
    outcomes = drive(traffic.KINDS[kind], mode)
    assert len(outcomes) >= WINDOWS - 1
    broken = sum(each.broken for each in outcomes)
    assert interval(broken, len(outcomes), 0.98)[0] <= ALPHA
    assert any(each.accepted for each in outcomes)


@pytest.mark.parametrize("mode", ["before", "behind"])
@pytest.mark.parametrize("who", ["careless", "peeking"])
def test_a_broken_stream_is_found_out(
    traffic: ModuleType, broken: dict[str, type[Stream]], who: str, mode: str
) -> None:
    """Audits that are not back do not count; the coin is tossed before the decision: either fails the test above."""
    kind = traffic.peeking if who == "peeking" else traffic.shameless
    outcomes = drive(kind, mode, of=broken[who], delay=3 * REQUESTS if who == "careless" else 5)[traffic.TRUSTED :]
    assert interval(sum(each.broken for each in outcomes), len(outcomes), 0.98)[0] > ALPHA
