"""A writer for those who wait for every answer: what comes in one turn of the event loop is committed in that turn, and
brought to the disk right after.

What is written survives the end of this process, also by SIGKILL, since it is the operating system's by then. What is
`synced` survives a power cut as well. A commit that waits for the disk takes milliseconds, one that does not takes some
hundredths of one, less than it takes to hand it to another thread. So whoever waits here waits for the write alone, and
says how much may be unsynced at any time (`within`). The disk is never idle while there is something to sync.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from smart_llm.errors import LedgerError
from smart_llm.ledger.writer import Job, Writer

CHECKPOINT = 16_000
"""Pages of the write-ahead log (4 kB each) after which it is folded in: that takes some hundredths of a second."""
CACHE = 16_384
"""kB of pages that are kept, so that the index of many answers is not read again for each."""


class Swift(Writer):
    """The only writer of a ledger, in the thread of the event loop. written, synced: how many jobs are, of those
    submitted so far."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        connection.execute(f"PRAGMA cache_size = -{CACHE}")
        self._connection, self._log = connection, Path(f"{path}-wal")
        self._queue: list[Job] = []
        self._open, self._failed = True, False
        self.submitted = self.written = self.synced = 0
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._rung = False
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._syncing = threading.Thread(target=self._sync, name="smart-sync", daemon=True)
        self._syncing.start()

    def together(self, jobs: list[tuple[str, tuple[Any, ...]]]) -> asyncio.Future[bool]:
        """Queue statements; the future resolves when all of them are written."""
        *first, (sql, parameters) = jobs
        for each in first:
            self._put((*each, None))
        return self.submit(sql, parameters)

    def execute(self, sql: str, parameters: tuple[Any, ...]) -> bool:
        """Write a statement and all before it."""
        done: Future[bool] = Future()
        self._put((sql, parameters, done))
        self.flush()
        return done.result()

    async def within(self, number: int) -> None:
        """Wait until so many jobs are synced."""
        if self.synced >= number:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, done))
        self._ring()
        await done

    def close(self) -> None:
        """Write what is queued and sync it, then stop."""
        if not self._open:
            return
        self.flush()
        self._open = False
        self._bell.put(False)
        self._syncing.join()

    def _put(self, job: Job) -> None:
        if not self._open:
            raise LedgerError("The ledger is closed.")
        if not self._queue:
            with contextlib.suppress(RuntimeError):  # no loop: `execute` does it, or `close`
                asyncio.get_running_loop().call_soon(self.flush)
        self._queue.append(job)
        self.submitted += 1

    def flush(self) -> None:
        """Commit what is queued, now. After a commit that failed there is no other: nothing may stand without what came
        before it."""
        if not self._queue:
            return
        batch, self._queue = self._queue, []
        fault = None
        results: Iterable[bool] = repeat(True)
        try:
            results = self._written(batch)
        except sqlite3.Error as error:
            fault = LedgerError(f"The ledger could not be written: {error}. What was paid before is kept.")
        for (_, _, done), outcome in zip(batch, results, strict=False):
            if done is None or done.done():
                continue
            if fault is None:
                done.set_result(outcome)
            else:
                done.set_exception(fault)

    def _ring(self) -> None:
        """There is something to sync."""
        if not self._rung:
            self._rung = True
            self._bell.put(True)

    def _written(self, batch: list[Job]) -> list[bool]:
        """One transaction, unless one has failed before."""
        if self._failed:
            raise sqlite3.OperationalError("an earlier write failed")
        try:
            results = self._commit(batch)
        except sqlite3.Error:
            self._failed = True
            raise
        self.written += len(batch)
        self._ring()
        return results

    def _synced(self, fault: LedgerError | None) -> None:
        """In the event loop: tell those whose jobs are on the disk by now."""
        told = [done for number, done in self._waiting if number <= self.synced]
        self._waiting = [pair for pair in self._waiting if pair[0] > self.synced]
        for done in told:
            _finish(done, fault)

    # ------------------------------------------------------------------ in a thread of its own

    def _sync(self) -> None:
        """Sync again whenever something was written since. No lock is shared with the event loop: it would wait for
        this thread, which waits for its turn on a busy machine."""
        log, fault = None, None
        while self._bell.get():
            self._rung = False
            here = self.written
            try:
                log = os.open(self._log, os.O_RDWR) if log is None else log
                os.fsync(log)
            except OSError as error:
                fault = LedgerError(f"The ledger could not be brought to the disk: {error.strerror}.")
            self.synced = here
            if self._waiting:
                with contextlib.suppress(RuntimeError):  # the loop is gone
                    self._waiting[0][1].get_loop().call_soon_threadsafe(self._synced, fault)
        if log is not None:
            os.fsync(log)
            os.close(log)


def _finish(done: asyncio.Future[None], fault: LedgerError | None) -> None:
    if done.done():
        return
    if fault is None:
        done.set_result(None)
    else:
        done.set_exception(fault)
