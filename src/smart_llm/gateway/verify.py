"""The windows of a gateway, counted again from its ledger alone; may be done while the gateway writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from smart_llm.certificates.checks.stream import check
from smart_llm.certificates.recount import rebuilt
from smart_llm.errors import LedgerError
from smart_llm.gateway.book import all_series, asked_of, bought, events_of
from smart_llm.gateway.config import FORMAT
from smart_llm.gateway.questions import as_reference
from smart_llm.gateway.resuming import summaries_of
from smart_llm.gateway.tally import Standing
from smart_llm.ledger import Reader, request_key
from smart_llm.procedures.stream import (
    Accepted,
    Deferred,
    Event,
    Replay,
    Settled,
    StreamPromise,
    Tossed,
    Window,
    replay,
)
from smart_llm.tasks import Task
from smart_llm.types import Json
from smart_llm.types.plan import DescribedTask

MOST = 50
"""Problems of a series that are listed."""
DAMAGE = (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, sqlite3.Error)
"""What reading raises that meets something else than a gateway writes."""
_HEAD = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Series:
    """What a series of windows promises, how its windows stand, and what does not hold."""

    told: Mapping[str, Json]
    windows: Mapping[int, Window]
    problems: list[str]

    def to_json(self) -> dict[str, Json]:
        """As JSON values."""
        confidence = float(self.told["confidence"])
        standings = [Standing.of(window, confidence) for window in self.windows.values()]
        return {
            "route": self.told["route"],
            "agreement": float(self.told["agreement"]),
            "confidence": confidence,
            "audit": self.told["audit"],
            "windows": [_told(each) for each in standings],
            "problems": self.problems,
        }


def is_ledger(path: Path) -> bool:
    """Whether a file is a ledger, and no certificate."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HEAD)) == _HEAD
    except OSError:
        return False


def verify_windows(path: Path) -> tuple[list[Series], list[str]]:
    """Every series of windows in a ledger, and what does not hold of the ledger as a whole."""
    with Reader.open(path) as reader:
        problems, found = reader.verify(), list[Series]()
        try:
            every = all_series(reader)
        except DAMAGE as damage:
            return [], [*problems, f"what a series of windows promises cannot be read: {damage}"]
        for name, told in every.items():
            try:
                series = _series(reader, name, told)
                series.to_json()
                found.append(series)
            except DAMAGE as damage:
                problems.append(f"{name}: what is recorded of it cannot be read ({type(damage).__name__}: {damage})")
    if not every:
        with Reader.open(path) as reader:
            runs = bool(reader.runs())
        of_run = "; of a run, check OUT.certificate.json, with this as its --ledger" if runs else ""
        problems.append(f"the ledger holds no windows: no gateway has used it{of_run}")
    return found, problems


def _series(reader: Reader, name: str, told: Mapping[str, Json]) -> Series:
    if told.get("format") != FORMAT:
        return Series(told, {}, ["another version of smart-llm has written it; verify it with that one"])
    events = list(events_of(reader, name))
    try:
        windows = replay(events)
    except LedgerError as error:
        return Series(told, {}, [str(error)])
    problems = list(_notes(reader, name))
    promise = StreamPromise(told["agreement"], told["confidence"], told["window"], told["audit"])
    problems += [*check(promise, events), *_counted(reader, name, told, events)]
    return Series(told, windows, problems[:MOST])


def _notes(reader: Reader, name: str) -> Iterator[str]:
    """What a gateway noted of how the stream stands is what its events say."""
    stream, place = Replay(), 0
    for number, note in summaries_of(reader, name):
        for event in events_of(reader, name, place, number):
            stream.apply(event)
        if stream.state() != note.state:
            yield f"request {note.state.last}: how the stream stood then is not what its events say"
        place = number


def _counted(reader: Reader, name: str, told: Mapping[str, Json], events: Iterable[Event]) -> Iterator[str]:
    """Every accepted answer is in the ledger, and what was found of audits and deferrals is what the answers say."""
    task = rebuilt(msgspec.convert(told["task"], DescribedTask))
    if task is None:
        yield "the task has functions of its own, so that no answer can be read again"
        return
    asked, ways = {each["request"]: each for each in asked_of(reader, name)}, dict[int, int]()
    for each in asked.values():
        yield from _paired(reader, told["models"], each)
    for event in events:
        if isinstance(event, Accepted):
            ways[event.request] = event.way
        if isinstance(event, Accepted | Deferred) and event.request not in asked:
            yield f"request {event.request}: what was asked for it is not recorded"
        elif isinstance(event, Deferred) and event.known:
            if _value(reader, task, asked[event.request].get("reference")) is None:
                yield f"request {event.request}: the reference's answer is not in the ledger"
        elif isinstance(event, Tossed) and _said(reader, task, ways[event.request], asked.get(event.request)) is None:
            yield f"request {event.request}: the accepted answer is not in the ledger"
        elif isinstance(event, Settled) and event.answered:
            yield from _settled(reader, task, event, asked.get(event.request, {}))


def _paired(reader: Reader, models: Sequence[Mapping[str, Json]], asked: Mapping[str, Json]) -> Iterator[str]:
    """Every answer is by the model that it is said to be by, and to the same request; that is known where texts are
    stored."""
    reference, number = asked["reference"], asked["request"]
    name, settings = models[0]["name"], {key: value for key, value in models[0].items() if key != "name"}
    said = {0: reference, **{1 + int(way): key for way, key in asked["keys"].items()}}
    for model, key in said.items():
        by, request = bought(reader, key)
        if by and by != models[model]["name"]:
            yield f"request {number}: an answer of {models[model]['name']} is recorded that {by} has given"
        elif model and request is not None and request_key(as_reference(request, name, settings)) != reference:
            yield f"request {number}: the candidate was asked something else than the reference"


def _settled(reader: Reader, task: Task, event: Settled, asked: Mapping[str, Json]) -> Iterator[str]:
    reference = _value(reader, task, asked.get("reference"))
    if reference is None:
        yield f"request {event.request}: the reference's answer is not in the ledger"
        return
    for way, agreed in event.agreed:
        said = _said(reader, task, way, asked)
        if task.equivalent(said, reference) != agreed:
            yield f"request {event.request}: it is recorded as {'' if agreed else 'not '}equivalent, and is not so"


def _said(reader: Reader, task: Task, way: int, asked: Mapping[str, Json] | None) -> Any:
    return _value(reader, task, asked["keys"].get(str(way)) if asked else None)


def _value(reader: Reader, task: Task, key: str | None) -> Any:
    return None if key is None else task.read(reader.get(key))


def _told(standing: Standing) -> dict[str, Json]:
    window, counts, terms = standing.window, standing.window.counts, standing.window.terms
    return {
        "window": window.number,
        "state": standing.state,
        "requests": terms.requests,
        "decided": counts.decided,
        "accepted": counts.accepted,
        "audited": counts.audited,
        "misses_found": counts.missed,
        "audits_failed": counts.failed + counts.lost,
        "audits_awaited": counts.waiting + counts.untossed,
        "credit": terms.credit,
        "audit_share": terms.audit_share,
        "deferred": counts.deferred,
        "unanswered": window.unanswered,
        "reserve": terms.reserve,
        "allowance": terms.allowance,
        "misses_delivered": [round(each) for each in standing.bad],
        "agreement": list(standing.agreement),
    }
