"""A stream's record is recounted by code of its own, and a record that was tampered with is found out."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from smart_llm.certificates.checks.stream import check, recounted, tail
from smart_llm.procedures.stream import (
    COINS,
    Accepted,
    Deferred,
    Event,
    Opened,
    Restarted,
    Settled,
    Stream,
    StreamPromise,
    Tossed,
    replay,
)
from smart_llm.simulation.stream import Drive
from smart_llm.stats.audits import audit_credit, upper_chance

REQUESTS = 120


class Recorder(Stream):
    """Keeps all it has told."""

    record: list[Event]

    def take(self) -> list[Event]:
        """And keeps it."""
        told = super().take()
        self.__dict__.setdefault("record", []).extend(told)
        return told


@pytest.fixture(scope="module", params=["before", "behind"])
def recorded(request: pytest.FixtureRequest) -> tuple[StreamPromise, list[Event]]:
    """Some windows of drifting traffic, killed in between with requests under way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
        traffic: Any = importlib.import_module("traffic")
    promise = StreamPromise("0.8", "0.95", REQUESTS, request.param)
    stream = Recorder(promise, [0.05])
    drive = Drive(stream, traffic.drift(3), np.random.default_rng(3), delay=5)
    drive.run(int(3.5 * REQUESTS))
    for _ in range(7):
        drive._step()
    record = [*stream.record, *stream.take()]
    again = Recorder.resume(promise, [0.05], record)
    assert isinstance(again, Recorder)
    Drive(again, traffic.calm(3), np.random.default_rng(4), delay=5).run(3 * REQUESTS)
    again.take()
    return promise, record + again.record


def test_a_sound_record_holds(recorded: tuple[StreamPromise, list[Event]]) -> None:
    """Nothing is found, and the counts are those of the stream."""
    promise, record = recorded
    assert check(promise, record) == []
    windows = replay(record)
    found, _ = recounted(record)
    assert sum(isinstance(event, Restarted) for event in record) == 1
    assert sum(window.counts.accepted for window in windows.values()) > REQUESTS
    for window in found:
        counts = windows[window.number].counts
        told = (len(window.lives), len(window.accepted), window.audited, window.missed, window.unanswered)
        assert told == (
            counts.decided,
            counts.accepted,
            counts.audited,
            counts.missed,
            windows[window.number].unanswered,
        )
        assert window.misses_at_most == windows[window.number].misses_at_most


def _first(record: list[Event], kind: type, **fields: Any) -> int:
    """The place of the first such event."""
    fits = [
        place
        for place, event in enumerate(record)
        if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
    ]
    return fits[0]


def test_a_record_that_was_tampered_with_is_found_out(recorded: tuple[StreamPromise, list[Event]]) -> None:
    """Events left out, coins turned, credit raised, more accepted than allowed, another promise."""
    promise, record = recorded
    forged: dict[str, list[Event]] = {}
    for kind in (Accepted, Deferred, Tossed):
        place = _first(record, kind)
        forged[f"no {kind.__name__}"] = record[:place] + record[place + 1 :]
    forged["no first window"] = [e for e in record if e.window != 1] if isinstance(record[0], Opened) else []
    forged["more credit"] = [
        replace(e, terms=replace(e.terms, credit=e.terms.credit + 1)) if isinstance(e, Opened) else e for e in record
    ]
    forged["fewer audits"] = [
        replace(e, terms=replace(e.terms, audits=e.terms.audits // 2)) if isinstance(e, Opened) else e for e in record
    ]
    forged["more reserve"] = [
        replace(e, terms=replace(e.terms, reserve=e.terms.reserve + 9)) if isinstance(e, Opened) else e for e in record
    ]
    forged["no coin says audit"] = [
        replace(e, audit=False) if isinstance(e, Tossed) else e
        for e in record
        if not (isinstance(e, Settled) and _audit(record, e))
    ]
    forged["all audits missed"] = [
        replace(e, agreed=tuple((way, False) for way, _ in e.agreed)) if isinstance(e, Settled) else e for e in record
    ]
    forged["settled twice"] = [*record, record[_first(record, Settled)]]
    forged["tossed twice"] = [*record, record[_first(record, Tossed)]]
    for name, events in forged.items():
        assert check(promise, events), name
    assert check(StreamPromise("0.85", "0.95", REQUESTS, promise.mode), record)
    assert check(StreamPromise("0.8", "0.99", REQUESTS, promise.mode), record)


def _audit(record: list[Event], settled: Settled) -> bool:
    """Whether this reply was one to an audit."""
    return any(isinstance(e, Accepted) and e.request == settled.request for e in record)


def test_tails_agree_with_those_of_the_procedure() -> None:
    """Binomial terms added up one by one give what the distribution function gives."""
    for trials, count, share in ((5, 0, 0.3), (60, 7, 0.2), (500, 16, 0.05), (40, 40, 0.5), (9, 3, 0.0)):
        told = upper_chance(trials, count, share, delivered=True)
        assert tail(trials, count, share) == pytest.approx(told, rel=1e-7)
    assert audit_credit(500, 0.05, 0.05, delivered=True) == 16
    assert COINS == 2**32
