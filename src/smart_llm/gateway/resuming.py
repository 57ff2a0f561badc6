"""How a series of windows stood when its gateway was stopped, without all that has happened in it.

Every `EVERY` requests, or every window where that is smaller, the gateway notes how the stream stands. Counts go on
from the last note; beliefs are learned again from as many of the newest requests as they rest on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from smart_llm.gateway.book import SUMMARY, events_of
from smart_llm.ledger import Reader
from smart_llm.procedures.stream import Event, State
from smart_llm.procedures.stream.beliefs import KEPT

EVERY = 4096
"""Requests between two notes, at most."""
_SUMMARIES = "SELECT id, payload FROM events WHERE run = ? AND kind = ? ORDER BY id"


class Summary(msgspec.Struct, frozen=True):
    """A note. stops: by window, after how many requests acceptance ended for good, for the windows in the state."""

    state: State
    stops: tuple[tuple[int, int], ...]


_read = msgspec.json.Decoder(Summary).decode


@dataclass(frozen=True, slots=True)
class Past:
    """What there is to go on from. learned: events before the last state; events: those since."""

    states: list[State]
    stops: dict[int, int]
    learned: Iterable[Event]
    events: list[Event]

    @classmethod
    def of(cls, reader: Reader, series: str) -> Past:
        """Of this series, as its ledger says."""
        notes = list(summaries_of(reader, series))
        last = notes[-1][0] if notes else 0
        from_, until = 0, notes[-1][1].state.last if notes else 0
        for number, note in notes:
            if until - note.state.last >= KEPT:
                from_ = number
        stops = {window: at for _, note in notes for window, at in note.stops}
        learned = events_of(reader, series, from_, last)
        return cls([note.state for _, note in notes], stops, learned, list(events_of(reader, series, last)))


def summaries_of(reader: Reader, series: str) -> Iterator[tuple[int, Summary]]:
    """All notes of a series, each with its number in the ledger."""
    for number, payload in reader._db.execute(_SUMMARIES, (series, SUMMARY)):
        yield number, _read(payload)
