"""The ledger of a run: what is bought is written before it is used, and what is written is never changed.

Identity: an answer belongs to the canonical JSON of its request (`keys.py`), so the same request is paid for once,
whatever run, row or process asks. The first answer bought stands; a second one is recorded as an attempt that cost
money, and is not used. Answers are sealed by a hash of their own; `verify` re-derives all of them.

Money: `answers` carries what each answer cost; `attempts` carries everything else that was or may have been paid. With
a budget a call is announced (`sent`, at its upper bound) before it leaves, so that a killed process leaves no unknown
spending behind.

Storage: SQLite in WAL mode, synchronous=FULL, readable by its owner only, one writer thread (`writer.py`), one process
(`lock.py`), any number of readers.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TypeAlias

from smart_llm.errors import InputError, LedgerError, SmartError
from smart_llm.ledger import ahead, lock
from smart_llm.ledger.key_filter import Seen
from smart_llm.ledger.keys import answer_json, canonical, request_json, seal, tagged
from smart_llm.ledger.migrations import migrate
from smart_llm.ledger.parts import PART
from smart_llm.ledger.reader import Reader, RunRecord
from smart_llm.ledger.writer import Writer
from smart_llm.types import Answer, Json, Request

_PUT = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ATTEMPT = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_RUN = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, 'pending', NULL)"
_FINISH = "UPDATE runs SET state = ?, certificate = ? WHERE id = ?"
_EVENT = "INSERT INTO events VALUES (NULL, ?, ?, ?, ?)"
_APART = "INSERT OR IGNORE INTO set_apart SELECT *, ? FROM answers WHERE key = ?"
_MARK = "INSERT INTO marks VALUES (NULL, ?, ?, ?, ?, ?)"


AnswerRow: TypeAlias = tuple[str, str, str | None, str, float, str]
"""Key, model, request (canonical JSON, None where text is not stored), answer (canonical JSON), USD, seal."""


def answer_row(key: str, request: Request, answer: Answer, *, store_text: bool = True) -> AnswerRow:
    """An answer as it is written. `ValueError` for an answer that is an error: those do not stick."""
    if answer.error is not None:
        raise ValueError("an error is not an answer; record an attempt")
    said = answer_json(answer).decode()
    asked = request_json(request).decode() if store_text else None
    return key, request.model, asked, said, answer.cost, seal(key, said)


class Ledger(Reader):
    """A ledger opened for writing by this process alone. Use `Ledger.open`."""

    def __init__(self, path: Path, *, store_text: bool = True, clock: Callable[[], float] = time.time) -> None:
        self._store_text, self._clock = store_text, clock
        self._take(path)

    def _take(self, path: Path) -> None:
        _check_place(path)
        self._lock = lock.acquire(path)
        try:
            self._connection = _writable(path)
            Reader.__init__(self, path)
            self._writer = _begun(path, self._connection, self._writer_of)
        except BaseException:
            self._lock.release()
            raise
        self._answer_ids = self._ids("answers", "set_apart")
        self._attempt_ids = self._ids("attempts")
        self._seen = Seen(key for (key,) in self._db.execute("SELECT key FROM answers"))

    @classmethod
    def open(cls, path: Path | str, *, store_text: bool = True, clock: Callable[[], float] = time.time) -> Ledger:
        """Open or create a ledger (mode 0600).

        With `store_text=False` no prompt is written: a request is known by the hash of its content only (someone who
        can guess a prompt can check the guess). Answers are written all the same: running again needs them.
        Raises `InputError` when another run is using it or it cannot be created, `LedgerError` when it is no ledger.
        """
        return cls(Path(path), store_text=store_text, clock=clock)

    def get(self, key: str) -> Answer | None:
        """The answer recorded for a request, or None."""
        return super().get(key) if PART in key or key in self._seen else None

    def number(self, key: str) -> int | None:
        """The number of that answer in the order in which they were recorded, or None."""
        return super().number(key) if PART in key or key in self._seen else None

    async def put(
        self, key: str, request: Request, answer: Answer, *, run: str = "", attempt: int | None = None
    ) -> Answer:
        """Record an answer; returns, once it is durable, the answer that stands for this request.

        attempt: the number `send` gave, which this answer settles. `ValueError` for an answer that is an error: those
        do not stick.
        """
        row = answer_row(key, request, answer, store_text=self._store_text)
        return await self.put_row(row, run=run, attempt=attempt) or answer

    async def put_row(self, row: AnswerRow, *, run: str = "", attempt: int | None = None) -> Answer | None:
        """`put` for a row made elsewhere; None where this very answer is the one that stands."""
        number, key = next(self._answer_ids), row[0]
        self._seen.add(key)
        if await self._writer.submit(_PUT, (number, *row, run, attempt, self._clock())):
            return None
        return await self._standing(number, key, row[1], row[4], run=run, attempt=attempt)

    def may_hold(self, key: str) -> bool:
        """False where this key certainly has no answer."""
        return key in self._seen

    async def send(self, key: str, model: str, bound: float, *, run: str = "") -> int:
        """Announce a call that may cost up to `bound` USD; returns, once durable, the number to settle it by."""
        number = next(self._attempt_ids)
        await self._writer.submit(_ATTEMPT, (number, None, run, key, model, "sent", bound, self._clock()))
        return number

    def attempt(
        self, key: str, model: str, outcome: str, cost: float, *, run: str = "", settles: int | None = None
    ) -> asyncio.Future[bool]:
        """Record a call that brought no answer; await the result to know it durable. It is queued at once, so it is
        durable before any answer put later. cost: USD, the upper bound where it is unknown.
        """
        row = (next(self._attempt_ids), settles, run, key, model, outcome, cost, self._clock())
        return self._writer.submit(_ATTEMPT, row)

    def new_run_id(self) -> str:
        """An id for a run that begins now; ids sort by time."""
        return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(self._clock()))}-{secrets.token_hex(3)}"

    def start_run(self, plan: Json, *, lookup: str, seed: int, run_id: str | None = None) -> RunRecord:
        """Record a plan (`FrozenPlan`, or its JSON) as a new run, state `pending`. run_id: where something was
        bought for it before."""
        now, frozen, run_id = self._clock(), canonical(plan), run_id or self.new_run_id()
        self._writer.execute(_RUN, (run_id, lookup, frozen.decode(), tagged(frozen), str(seed), now))
        record = self.find_run(lookup)
        assert record is not None
        return record

    def finish_run(self, run_id: str, certificate: Json, *, state: str = "done") -> None:
        """Record a run's certificate; a run that goes on may be finished again."""
        if not self._writer.execute(_FINISH, (state, canonical(certificate).decode(), run_id)):
            raise LedgerError(f"The ledger has no run {run_id}.")

    def event(self, run_id: str, kind: str, payload: Json) -> None:
        """Record something that happened. Blocks until durable: for decisions, not for rows."""
        self._writer.execute(_EVENT, (run_id, kind, canonical(payload).decode(), self._clock()))

    def mark(self, run_id: str, number: int, place: int, reading: Json) -> asyncio.Future[bool]:
        """Record what a profiled row was found to be; await the result to know it durable."""
        row = (run_id, number, place, canonical(reading).decode(), self._clock())
        return self._writer.submit(_MARK, row)

    def set_apart(self, keys: Iterable[str]) -> None:
        """Set these answers apart, so that their requests may be asked again; what they cost stays counted."""
        for key in keys:
            self._writer.execute(_APART, (self._clock(), key))
        self._seen = Seen(known for (known,) in self._db.execute("SELECT key FROM answers"))

    def _writer_of(self, connection: sqlite3.Connection) -> Writer:
        return Writer(connection)

    @property
    def store_text(self) -> bool:
        """Whether prompts are written."""
        return self._store_text

    @contextmanager
    def lent(self) -> Iterator[Path]:
        """Closed as long as the block lasts, so that another process can write it; then opened again."""
        self.close()
        try:
            yield self.path
        finally:
            self._take(self.path)

    def close(self) -> None:
        """Write what is queued, fold the write-ahead log in, give the lock up. Closing twice does no harm."""
        if not self._lock.is_locked:
            return
        self._writer.close()
        super().close()
        self._connection.close()
        self._lock.release()

    def _ids(self, *tables: str) -> count[int]:
        found = (self._db.execute(f"SELECT MAX(id) FROM {table}").fetchone()[0] for table in tables)
        return count(1 + max(last or 0 for last in found))

    async def _standing(
        self, number: int, key: str, model: str, cost: float, *, run: str, attempt: int | None
    ) -> Answer:
        """This write, or another in its transaction, met an answer that was there: which one stands?"""
        stands = self.get(key)
        assert stands is not None
        if self._db.execute("SELECT id FROM answers WHERE key = ?", (key,)).fetchone()[0] != number:
            await self.attempt(key, model, "superseded", cost, run=run, settles=attempt)
        return stands


def _check_place(path: Path) -> None:
    """A ledger is a file: nothing else has its permissions changed or a lock put beside it."""
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path} is a link to {os.readlink(path)}, which is not there: name another ledger.")
    if path.exists() and not path.is_file():
        raise LedgerError(f"{path} is not a ledger: it is not a file.")
    if path.exists() and path.stat().st_nlink > 1:
        raise InputError(
            f"The ledger {path} has another name (a hard link), under which somebody else may write it: make a copy of "
            "its own, or remove the other name."
        )


def _writable(path: Path) -> sqlite3.Connection:
    """The writer's connection to a ledger that is there or is made here, private from its first byte on."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        with suppress(OSError):  # it belongs to somebody else
            os.chmod(path, 0o600)
    connection = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 16000")
        migrate(connection)
        ahead.settle(connection, path)
    except (sqlite3.Error, SmartError) as error:
        if connection is not None:
            connection.close()
        raise _unusable(path, error) from error
    return connection


def _begun(path: Path, connection: sqlite3.Connection, writer_of: Callable[[sqlite3.Connection], Writer]) -> Writer:
    """Its writer."""
    try:
        return writer_of(connection)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError | sqlite3.Error | SmartError) -> SmartError:
    """Why a ledger cannot be opened."""
    if isinstance(error, SmartError):
        return error
    if isinstance(error, OSError | sqlite3.OperationalError):  # no room, no permission, somebody else's
        return LedgerError(f"The ledger {path} cannot be written: {getattr(error, 'strerror', error)}.")
    return LedgerError(f"{path} is not a ledger: {error}.")
