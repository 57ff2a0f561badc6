"""Reading a ledger, also while a run writes it: a read-only connection that never holds the writer up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import msgspec

from smart_llm.errors import InputError, LedgerError
from smart_llm.ledger import ahead, parts
from smart_llm.ledger.keys import seal, tagged
from smart_llm.ledger.migrations import check_version
from smart_llm.types import Answer, Json
from smart_llm.types.plan import FORMAT, FrozenPlan, frozen_plan

PROBE = "probe"
"""The outcome of a call that was answered, and made to learn something about its server alone."""
_GET = "SELECT answer FROM answers WHERE key = ?"
RUN = "id, lookup, plan, plan_hash, seed, started, state, certificate"
_BOUGHT = "SELECT model, 'answered', COUNT(*), SUM(cost) FROM answers WHERE run = ? GROUP BY model"
_UNKNOWN = (
    "id NOT IN (SELECT attempt FROM answers WHERE attempt IS NOT NULL UNION ALL "
    "SELECT attempt FROM set_apart WHERE attempt IS NOT NULL UNION ALL "
    "SELECT settles FROM attempts WHERE settles IS NOT NULL)"
)
"""Of a call that was announced: nothing says what became of it."""
_LOST = (
    f"SELECT model, outcome, COUNT(*), SUM(cost) FROM attempts WHERE run = ? AND (outcome != 'sent' OR {_UNKNOWN}) "
    "GROUP BY model, outcome"
)
_APART = "SELECT model, 'set apart', COUNT(*), SUM(cost) FROM set_apart WHERE run = ? GROUP BY model"
CHUNK = 500
"""Keys per query of `get_many`."""

read_answer = msgspec.json.Decoder(Answer).decode
"""An answer from its canonical JSON."""
_json = msgspec.json.Decoder().decode


class _Snapshot(msgspec.Struct):
    """The one field of an answer that is wanted."""

    snapshot: str = ""


_snapshot = msgspec.json.Decoder(_Snapshot).decode


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as recorded. started: seconds since 1970. recorded, certificate: the plan and the certificate as JSON;
    plan_hash seals the plan."""

    run_id: str
    lookup: str
    recorded: Json
    plan_hash: str
    seed: int
    started: float
    state: str
    certificate: Json | None

    @property
    def plan(self) -> FrozenPlan:
        """The plan, read strictly; `LedgerError` for one of another version."""
        return frozen_plan(self.recorded, f"The plan of run {self.run_id}")

    @property
    def readable(self) -> bool:
        """Whether the plan is of the form that this version reads."""
        return isinstance(self.recorded, dict) and self.recorded.get("format") == FORMAT


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run bought of one model, or lost on it. outcome: "answered", or what came instead. cost: USD, at most."""

    model: str
    outcome: str
    calls: int
    cost: float


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run, in the order they happened. number: of it among all events of the ledger. created: seconds
    since 1970, by the clock of that machine."""

    number: int

    run_id: str
    kind: str
    payload: Json
    created: float


class Reader:
    """A ledger opened for reading only: `smart runs`, `smart verify`, and the reading side of `Ledger`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None)
        try:
            self._db.execute("PRAGMA cache_size = -65536")
            check_version(self._db.execute("PRAGMA user_version").fetchone()[0])
            self._db.execute("SELECT 1 FROM answers, set_apart LIMIT 1")
            ahead.overlay(self._db, path)
        except LedgerError:
            self._db.close()
            raise
        except sqlite3.Error as error:
            self._db.close()
            raise LedgerError(f"{path} is not a ledger that can be read: {error}.") from error

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open an existing ledger; `InputError` when there is none, `LedgerError` when it is not one."""
        if not Path(path).is_file():
            raise InputError(f"There is no ledger at {path}.")
        return cls(Path(path))

    def get(self, key: str) -> Answer | None:
        """The answer recorded for a request, or for a row's part in one (`parts`), or None."""
        if parts.PART in key:
            return parts.answer(key, self.get)
        row = self._db.execute(_GET, (key,)).fetchone()
        return None if row is None else read_answer(row[0])

    def number(self, key: str) -> int | None:
        """The number of that answer in the order in which they were recorded, or None."""
        if parts.PART in key:
            call = parts.held(key, self.get)
            return None if call is None else self.number(call)
        row = self._db.execute("SELECT id FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def last_number(self) -> int:
        """The number of the last answer recorded so far; 0: none is."""
        return int(self._db.execute("SELECT MAX(id) FROM answers").fetchone()[0] or 0)

    def get_many(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The answers there are among these keys."""
        keys = list(keys)
        known = {key: read_answer(said) for key, said in self.said(parts.calls(keys)).items()}
        return parts.answers(keys, known)

    def keys(self, model: str, last: int) -> set[str]:
        """The keys of the requests that a model has answered, of the answers up to this number."""
        found = self._db.execute("SELECT key FROM answers WHERE model = ? AND id <= ?", (model, last))
        return {key for (key,) in found}

    def said(self, keys: Iterable[str]) -> dict[str, str]:
        """The same as they are recorded: canonical JSON."""
        found: dict[str, str] = {}
        for part in _parts(keys):
            sql = f"SELECT key, answer FROM answers WHERE key IN ({','.join('?' * len(part))})"
            found |= self._db.execute(sql, part).fetchall()
        return found

    def snapshots(self, keys: Iterable[str]) -> list[tuple[int, str]]:
        """Of the answers there are among these keys: their number in the order in which they were recorded, and what
        snapshot of its model gave them ("": it does not say)."""
        found: list[tuple[int, str]] = []
        for part in _parts(parts.calls(keys)):
            sql = f"SELECT id, answer FROM answers WHERE key IN ({','.join('?' * len(part))})"
            found += [(number, _snapshot(said).snapshot) for number, said in self._db.execute(sql, part)]
        return found

    def prompts(self, keys: Iterable[str]) -> dict[str, str]:
        """The prompts of these requests, where text was stored."""
        found: dict[str, str] = {}
        for part in _parts(keys):
            sql = f"SELECT key, request FROM answers WHERE key IN ({','.join('?' * len(part))}) AND request IS NOT NULL"
            found |= {key: _json(request)["prompt"] for key, request in self._db.execute(sql, part)}
        return found

    def account(self, run_id: str) -> list[Spent]:
        """Answers a run has bought, by model, and attempts that brought none, by model and outcome."""
        found = (self._db.execute(sql, (run_id,)) for sql in (_BOUGHT, _LOST, _APART))
        return [Spent(*row) for rows in found for row in rows]

    def last_answer(self, run_id: str) -> float | None:
        """When a run's latest answer was recorded, in seconds since 1970."""
        moment: float | None = self._db.execute("SELECT MAX(created) FROM answers WHERE run = ?", (run_id,)).fetchone()[
            0
        ]
        return moment

    def count(self, model: str | None = None) -> int:
        """How many answers are recorded, of one model or of all."""
        where, names = ("", ()) if model is None else (" WHERE model = ?", (model,))
        return int(self._db.execute(f"SELECT COUNT(*) FROM answers{where}", names).fetchone()[0])

    def spent(self, run_id: str) -> float:
        """USD this run has paid or may have paid: answers, what it learned of servers, failed attempts, and calls whose
        outcome is unknown."""
        bought = self._sum("SELECT SUM(cost) FROM answers WHERE run = ?", run_id)
        return bought + self.learning(run_id) + self.lost(run_id)

    def learning(self, run_id: str) -> float:
        """USD this run has paid for answers that only told something about a server."""
        return self._sum(f"SELECT SUM(cost) FROM attempts WHERE run = ? AND outcome = '{PROBE}'", run_id)

    def lost(self, run_id: str) -> float:
        """USD, at most: what this run may have paid without getting an answer for it that stands."""
        settled = self._sum(
            f"SELECT SUM(cost) FROM attempts WHERE run = ? AND outcome NOT IN ('sent', '{PROBE}')", run_id
        )
        unknown = self._sum(f"SELECT SUM(cost) FROM attempts WHERE run = ? AND outcome = 'sent' AND {_UNKNOWN}", run_id)
        apart = self._sum("SELECT SUM(cost) FROM set_apart WHERE run = ?", run_id)
        return settled + unknown + apart

    def runs(self) -> list[RunRecord]:
        """All runs in the order they were recorded, whatever the clock said."""
        return [_run(row) for row in self._db.execute(f"SELECT {RUN} FROM runs ORDER BY rowid")]

    def find_run(self, lookup: str) -> RunRecord | None:
        """The newest run with this lookup key, or None."""
        sql = f"SELECT {RUN} FROM runs WHERE lookup = ? ORDER BY rowid DESC LIMIT 1"
        row = self._db.execute(sql, (lookup,)).fetchone()
        return None if row is None else _run(row)

    def events(self, run_id: str) -> list[Event]:
        """The events of a run, oldest first."""
        columns = "id, run, kind, payload, created"
        rows = self._db.execute(f"SELECT {columns} FROM events WHERE run = ? ORDER BY id", (run_id,))
        return [Event(number, run, kind, _json(payload), created) for number, run, kind, payload, created in rows]

    def marks(self, run_id: str, number: int) -> dict[int, Json]:
        """What the rows of an ask were found to be, by their place in it; of what was recorded twice, the last."""
        rows = self._db.execute(
            "SELECT place, reading FROM marks WHERE run = ? AND number = ? ORDER BY id", (run_id, number)
        )
        return {place: _json(reading) for place, reading in rows}

    def latest(self, run_id: str, kind: str) -> Json:
        """What the last event of this kind says; None where there is none."""
        sql = "SELECT payload FROM events WHERE run = ? AND kind = ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(sql, (run_id, kind)).fetchone()
        return None if row is None else _json(row[0])

    def verify(self) -> list[str]:
        """Re-derive every hash and check the file itself; one line per problem, none when all is well."""
        try:
            return [*self._file_problems(), *self._answer_problems(), *self._run_problems()]
        except sqlite3.DatabaseError as error:
            return [f"the file is damaged: {error}"]

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sum(self, sql: str, run_id: str) -> float:
        return float(self._db.execute(sql, (run_id,)).fetchone()[0] or 0.0)

    def _file_problems(self) -> Iterator[str]:
        for (line,) in self._db.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"the file is damaged: {line}"

    def _answer_problems(self) -> Iterator[str]:
        columns = "id, key, model, request, answer, cost, digest"
        for number, key, model, request, said, cost, digest in self._db.execute(f"SELECT {columns} FROM answers"):
            if request is not None and tagged(request.encode()) != key:
                yield f"answer {number}: the request is not the one its key was made from"
            elif request is not None and _json(request)["model"] != model:
                yield f"answer {number}: the model is not the request's"
            if seal(key, said) != digest:
                yield f"answer {number}: the answer is not the one that was recorded"
            elif read_answer(said).cost != cost:
                yield f"answer {number}: the cost is not the answer's"

    def _run_problems(self) -> Iterator[str]:
        for run_id, plan, plan_hash in self._db.execute("SELECT id, plan, plan_hash FROM runs"):
            if tagged(plan.encode()) != plan_hash:
                yield f"run {run_id}: the plan is not the one that was frozen"


def _parts(keys: Iterable[str]) -> Iterator[list[str]]:
    """As many at a time as one query takes."""
    source = iter(keys)
    while part := list(islice(source, CHUNK)):
        yield part


def _run(row: Any) -> RunRecord:
    run_id, lookup, plan, plan_hash, seed, started, state, certificate = row
    return RunRecord(
        run_id, lookup, _json(plan), plan_hash, int(seed), started, state, certificate and _json(certificate)
    )
