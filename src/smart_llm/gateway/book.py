"""The ledger of a gateway: what is bought, and what is decided, in one order of writing.

    event  run GATEWAY, kind SESSION   a gateway begins, on this start of the machine; kind ENDED: it ended in order
    event  run SERIES,  kind SERIES    what a series of windows promises: route, task, models, agreement, …
    event  run SERIES,  kind STREAM    some events of the stream procedure (`procedures.stream.events`), a list
    event  run SERIES,  kind ASKED     requests' numbers, and the ledger's keys of the calls that may be made for them
    event  run SERIES,  kind SUMMARY   how the stream stands after all events before (`resuming`)

All of it goes through the files ahead of the ledger (`ledger.ahead`). Answers leave when what was decided is written:
it survives the process. At most `UNSYNCED` accepted answers may have
left before the disk has them. If the machine itself goes down meanwhile, that number of answers counts as lost when the
gateway starts again: as misses.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from smart_llm.errors import LedgerError
from smart_llm.ledger import Ledger, Reader, canonical, tagged
from smart_llm.ledger.ahead import ANSWER, ATTEMPT, EVENT, PART, Entry, boot_of
from smart_llm.ledger.store import _ATTEMPT, _EVENT, _PUT, answer_row
from smart_llm.ledger.swift import Swift
from smart_llm.procedures.stream import Event, Tossed, read_events, write_event
from smart_llm.types import Answer, Json, Request

GATEWAY, SESSION, ENDED = "gateway", "session", "ended"
SERIES, STREAM, ASKED, SUMMARY = "series", "stream", "asked", "summary"
UNSYNCED = 8
"""Accepted answers that may have left before the disk has what was decided about them."""
_KINDS = {_PUT: ANSWER, _ATTEMPT: ATTEMPT, _EVENT: EVENT}
_EVENTS = "SELECT payload FROM events WHERE run = ? AND kind = ? AND id > ? AND id < ? ORDER BY id"
_BOUGHT = "SELECT model, request FROM answers WHERE key = ?"
_BACKWARDS = "SELECT payload FROM events WHERE run = ? AND kind = ? ORDER BY id DESC"
_json = msgspec.json.Decoder().decode
_request = msgspec.json.Decoder(Request).decode


class Book(Ledger):
    """A ledger that a gateway writes."""

    _writer: Swift

    def __init__(self, path: Path, *, store_text: bool = True) -> None:
        self._fresh: dict[str, Answer] = {}
        self._loose: deque[int] = deque()
        super().__init__(path, store_text=store_text)

    def _writer_of(self, connection: sqlite3.Connection) -> Swift:
        writer = Swift(connection, self.path, _KINDS)
        writer.forget = self._forget
        return writer

    def on_failure(self, failed: Callable[[LedgerError], None]) -> None:
        """What to call where nothing can be written any more, though nobody writes."""
        self._writer.failed = failed

    # ------------------------------------------------------------------ answers

    def get(self, key: str) -> Answer | None:
        """The answer recorded for a request."""
        return self._fresh.get(key) or super().get(key)

    async def put(
        self, key: str, request: Request, answer: Answer, *, run: str = "", attempt: int | None = None
    ) -> Answer:
        """Written before anything that is decided by it."""
        if (known := self._fresh.get(key)) is not None:
            return known
        row = answer_row(key, request, answer, store_text=self._store_text)
        self._writer.hold((ANSWER, (next(self._answer_ids), *row, run, attempt, self._clock())))
        self._fresh[key] = answer
        self._seen.add(key)
        return answer

    def _forget(self, entries: Iterable[Entry]) -> None:
        """These can be read by now."""
        for kind, row in entries:
            if kind == ANSWER:
                self._fresh.pop(row[1], None)

    # ------------------------------------------------------------------ the stream

    def write(self, series: str, events: Sequence[Event], asked: Json = None, summary: Json = None) -> None:
        """Record what a stream has decided, in this order, and how it stands then; written when this returns."""
        now = self._clock()
        entries: list[Entry] = [(PART, (series, STREAM, write_event(event).decode(), now)) for event in events]
        if asked is not None:
            entries.append((PART, (series, ASKED, canonical(asked).decode(), now)))
        if summary is not None:
            entries.append((EVENT, (series, SUMMARY, canonical(summary).decode(), now)))
        number = self._writer.write(entries)
        if any(isinstance(event, Tossed) for event in events):
            self._loose.append(number)

    async def settled_down(self) -> None:
        """Wait while more accepted answers than may be are known to be written and not to be on the disk."""
        while self._loose and self._loose[0] <= self._writer.synced:
            self._loose.popleft()
        if len(self._loose) > UNSYNCED:
            await self._writer.within(self._loose[-1 - UNSYNCED])
        elif len(self._loose) > UNSYNCED // 2:
            self._writer.sync_soon()

    def begin(self, now: float) -> int:
        """A gateway begins. Returns how many accepted answers the last one may have lost: none, unless the machine
        went down under it."""
        last = self._db.execute(
            "SELECT kind, payload FROM events WHERE run = ? ORDER BY id DESC LIMIT 1", (GATEWAY,)
        ).fetchone()
        boot = boot_of()
        self.event(GATEWAY, SESSION, {"boot": boot, "at": now})
        self._writer.sync()  # before any answer: or one that is lost later would not be known to be
        if last is None or last[0] == ENDED or (boot is not None and _json(last[1])["boot"] == boot):
            return 0
        return UNSYNCED

    def end(self) -> None:
        """It ended in order: everything is on the disk when this ledger is closed."""
        self.event(GATEWAY, ENDED, {"at": time.time()})

    def spent_since(self, run: str, moment: float) -> float:
        """USD that a route has paid or may have paid since that time."""
        bought = self._db.execute("SELECT SUM(cost) FROM answers WHERE run = ? AND created >= ?", (run, moment))
        lost = self._db.execute(
            "SELECT SUM(cost) FROM attempts WHERE run = ? AND created >= ? AND (outcome != 'sent' OR id NOT IN "
            "(SELECT settles FROM attempts WHERE settles IS NOT NULL))",
            (run, moment),
        )
        return sum(float(found.fetchone()[0] or 0.0) for found in (bought, lost))


def series_of(described: Json) -> str:
    """The name of the series of windows that keeps this promise: other models, another task, another series."""
    return f"gateway:{described['route']}:{tagged(canonical(described))}"


def events_of(reader: Reader, series: str, after: int = 0, before: int = 2**63 - 1) -> Iterator[Event]:
    """The stream's events of a series, in their order. after, before: numbers of events in the ledger."""
    for (payload,) in reader._db.execute(_EVENTS, (series, STREAM, after, before)):
        yield from read_events(payload)


def asked_of(reader: Reader, series: str) -> Iterator[Json]:
    """What was asked for the requests of a series, the newest first."""
    for (payload,) in reader._db.execute(_BACKWARDS, (series, ASKED)):
        yield from reversed(_json(payload))


def bought(reader: Reader, key: str) -> tuple[str, Request | None]:
    """Which model's answer a key stands for ("": none is recorded), and to what, where texts are stored."""
    found = reader._db.execute(_BOUGHT, (key,)).fetchone()
    if found is None:
        return "", None
    return found[0], None if found[1] is None else _request(found[1])


def all_series(reader: Reader) -> dict[str, Json]:
    """What every series of a ledger promises."""
    rows = reader._db.execute("SELECT run, payload FROM events WHERE kind = ? ORDER BY id", (SERIES,))
    return {run: _json(payload) for run, payload in rows}
