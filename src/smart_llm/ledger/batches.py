"""Batches in the ledger: what is submitted as one piece is written down before it leaves, step by step.

A batch is a row (its own id, the keys of its requests, the most it can cost) and a list of events, each durable before
the next step is taken:

    (row)        it was put together                      nothing can have been bought
    uploaded     its file is at the provider              nothing can have been bought
    submitting   the provider is about to be asked        from here on it may run: its bound counts as spent
    submitted    the provider's own id for it             it runs, or has run
    settled      every result is in the ledger, or it is certain that it never ran

So whoever finds an unsettled batch after a crash knows what may have happened, and never submits it a second time
before having looked for it at the provider. Between `submitting` and `settled` one attempt (`sent`, at the batch's
bound) stands for all its money; `settled` replaces it by what was lost, the answers themselves carry what they cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from smart_llm.ledger.keys import answer_json, canonical, seal
from smart_llm.ledger.store import Ledger
from smart_llm.types import Answer, Json

_BATCH = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_EVENT = "INSERT INTO batch_events VALUES (NULL, ?, ?, ?, ?)"
_ATTEMPT = "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_PUT = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OPEN = (
    "SELECT id, run, model, url, keys, bound, attempt, created FROM batches "
    "WHERE id NOT IN (SELECT batch FROM batch_events WHERE kind = 'settled') ORDER BY created, rowid"
)

_json = msgspec.json.Decoder().decode
_keys = msgspec.json.Decoder(tuple[str, ...]).decode


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as recorded. bound: USD. created: seconds since 1970. events: kind → payload of the last one."""

    batch_id: str
    run: str
    model: str
    url: str
    keys: tuple[str, ...]
    bound: float
    attempt: int
    created: float
    events: Mapping[str, Json] = field(default_factory=dict)

    @property
    def file(self) -> str | None:
        """The provider's id of the uploaded file, where there is one."""
        return self.events["uploaded"]["file"] if "uploaded" in self.events else None

    @property
    def remote(self) -> str | None:
        """The provider's id of the batch, once that is known."""
        return self.events["submitted"]["remote"] if "submitted" in self.events else None

    @property
    def may_run(self) -> bool:
        """Whether the provider may have been asked to run it."""
        return "submitting" in self.events


class BatchBook:
    """The batches of one ledger. Every method that writes returns once it is durable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def unsettled(self) -> list[BatchRecord]:
        """Batches that may still bring answers, oldest first."""
        rows = self._ledger._db.execute(_OPEN).fetchall()
        return [
            BatchRecord(name, run, model, url, _keys(keys), bound, attempt, created, self._events(name))
            for name, run, model, url, keys, bound, attempt, created in rows
        ]

    def remotes(self) -> set[str]:
        """The providers' ids of all batches this ledger knows."""
        rows = self._ledger._db.execute("SELECT payload FROM batch_events WHERE kind = 'submitted'")
        return {_json(payload)["remote"] for (payload,) in rows}

    def announced(self, record: BatchRecord) -> bool:
        """Whether the attempt that stands for the batch's money is in the ledger, unsettled."""
        sql = "SELECT 1 FROM attempts WHERE id = ? AND NOT EXISTS (SELECT 1 FROM attempts WHERE settles = ?)"
        return self._ledger._db.execute(sql, (record.attempt, record.attempt)).fetchone() is not None

    async def begin(
        self, batch_id: str, model: str, url: str, keys: tuple[str, ...], *, bound: float, run: str
    ) -> BatchRecord:
        """Write a batch down, before anything of it leaves."""
        attempt, now = next(self._ledger._attempt_ids), self._ledger._clock()
        record = BatchRecord(batch_id, run, model, url, keys, bound, attempt, now)
        row = (batch_id, run, model, url, canonical(keys).decode(), bound, attempt, now)
        await self._ledger._writer.submit(_BATCH, row)
        return record

    async def uploaded(self, record: BatchRecord, file: str) -> BatchRecord:
        """Its file is at the provider, under this id."""
        return await self._note(record, "uploaded", {"file": file})

    async def submitting(self, record: BatchRecord) -> BatchRecord:
        """The provider is about to be asked to run it: from here on its bound counts as spent."""
        now = self._ledger._clock()
        row = (record.attempt, None, record.run, record.batch_id, record.model, "sent", record.bound, now)
        _, noted = await asyncio.gather(
            self._ledger._writer.submit(_ATTEMPT, row), self._note(record, "submitting", {"at": now})
        )
        return noted

    async def submitted(self, record: BatchRecord, remote: str) -> BatchRecord:
        """The provider runs it under this id."""
        return await self._note(record, "submitted", {"remote": remote})

    async def settled(self, record: BatchRecord, outcome: str, lost: float = 0.0) -> None:
        """Nothing more is to come of it. lost: USD that may have been paid for requests whose results are gone."""
        number, now = next(self._ledger._attempt_ids), self._ledger._clock()
        row = (number, record.attempt, record.run, record.batch_id, record.model, f"batch {outcome}", lost, now)
        await asyncio.gather(
            self._ledger._writer.submit(_ATTEMPT, row),
            self._note(record, "settled", {"outcome": outcome, "lost": lost}),
        )

    async def put_unasked(self, record: BatchRecord, key: str, answer: Answer) -> None:
        """Record an answer whose request nobody has asked for in this session: known by its key only."""
        said = answer_json(answer).decode()
        number, now = next(self._ledger._answer_ids), self._ledger._clock()
        row = (number, key, record.model, None, said, answer.cost, seal(key, said), record.run, None, now)
        self._ledger._seen.add(key)
        await self._ledger._writer.submit(_PUT, row)

    def _events(self, batch_id: str) -> dict[str, Json]:
        rows = self._ledger._db.execute(
            "SELECT kind, payload FROM batch_events WHERE batch = ? ORDER BY id", (batch_id,)
        )
        return {kind: _json(payload) for kind, payload in rows}

    async def _note(self, record: BatchRecord, kind: str, payload: Json) -> BatchRecord:
        row = (record.batch_id, kind, canonical(payload).decode(), self._ledger._clock())
        await self._ledger._writer.submit(_EVENT, row)
        return replace(record, events={**record.events, kind: payload})
