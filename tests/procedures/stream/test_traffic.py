"""The stream as it ships in made-up traffic, its coins drawn after each decision; and two broken ones, found out."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from smart_llm.procedures.stream import Counts, Opened, Replay, Stream, StreamPromise
from smart_llm.simulation.stream import Drive, WindowOutcome
from smart_llm.stats.clopper_pearson import interval

ALPHA = 0.05
REQUESTS, WINDOWS = 150, 50


@pytest.fixture(scope="module")
def traffic() -> Iterator[ModuleType]:
    """The benchmark's traffic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[3] / "benchmarks")
        yield importlib.import_module("traffic")


class Careless(Counts, frozen=True):
    """Broken on purpose: audits that are not back do not count."""

    @property
    def caught(self) -> int:
        """Audited misses known so far."""
        return self.missed + self.failed + self.lost


class CarelessReplay(Replay):
    """Begins every window with such counts."""

    def _open(self, event: Opened) -> None:
        super()._open(event)
        window = self.windows[event.window]
        if not window.counts.decided:
            self.windows[event.window] = replace(window, counts=Careless())


class CarelessStream(Stream):
    """Accepts while audits known to be misses are within the credit."""

    fold = CarelessReplay


def drive(kind: Any, mode: str, *, of: type[Stream] = Stream, delay: int = 5, seed: int = 0) -> list[WindowOutcome]:
    """The windows of one stream."""
    stream = of(StreamPromise("0.9", "0.95", REQUESTS, mode), [0.05])
    outcomes = Drive(stream, kind(seed), np.random.default_rng([seed, 14]), delay).run(REQUESTS * WINDOWS)
    return [each for each in outcomes if each.ended is not None and each.ended.full]


@pytest.mark.parametrize("mode", ["before", "behind"])
@pytest.mark.parametrize("kind", ["calm", "break", "drift", "attacker", "shameless", "bursts"])
def test_the_promise_holds_in_any_traffic(traffic: ModuleType, kind: str, mode: str) -> None:
    """The lower 99 % limit of the rate of broken windows is not above 1 − confidence."""
    outcomes = drive(traffic.KINDS[kind], mode)
    assert len(outcomes) >= WINDOWS - 1
    broken = sum(each.broken for each in outcomes)
    assert interval(broken, len(outcomes), 0.98)[0] <= ALPHA
    assert any(each.accepted for each in outcomes)


@pytest.mark.parametrize("mode", ["before", "behind"])
def test_audits_not_back_that_do_not_count_are_found_out(traffic: ModuleType, mode: str) -> None:
    """Broken on purpose: where replies take long, bad answers go out until the first audits are back."""
    outcomes = drive(traffic.KINDS["shameless"], mode, of=CarelessStream, delay=150)
    assert interval(sum(each.broken for each in outcomes), len(outcomes), 0.98)[0] > ALPHA


@pytest.mark.parametrize("mode", ["before", "behind"])
def test_a_coin_seen_before_the_decision_is_found_out(traffic: ModuleType, mode: str) -> None:
    """Broken on purpose: traffic that knows the next coin sends a bad answer only where it is not audited."""
    coins = np.random.default_rng(14)
    coming = [int(coins.integers(2**32))]

    class Peeked(Stream):
        """Uses the coin that the traffic has seen."""

        def toss(self, accepted: Any, coin: int) -> Any:
            """With the coin tossed beforehand."""
            told = super().toss(accepted, coming[0])
            coming[0] = int(coins.integers(2**32))
            return told

    def peeking(seed: int) -> Any:
        honest = traffic.calm(seed)

        def next_one(stream: Stream, draw: np.random.Generator) -> Any:
            window = stream.window
            if window is None or window.number <= 3 or not window.may_accept:
                return honest(stream, draw)
            return traffic.shown(4.0, coming[0] >= window.terms.audits)

        return next_one

    outcomes = drive(peeking, mode, of=Peeked)
    assert interval(sum(each.broken for each in outcomes), len(outcomes), 0.98)[0] > ALPHA
