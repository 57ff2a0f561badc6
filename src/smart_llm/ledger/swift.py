"""A writer for those who wait for every answer: a commit is written at once, and brought to the disk right after.

What is written survives the end of this process, also by SIGKILL, since it is the operating system's by then. What is
`synced` survives a power cut as well. A commit that waits for the disk takes milliseconds, one that does not takes a
fraction of one; so whoever waits here waits for the write alone, and says how much may be unsynced at any time
(`within`). The disk is never idle while there is something to sync.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from smart_llm.errors import LedgerError
from smart_llm.ledger.writer import Job, Writer


class Swift(Writer):
    """The only writer of a ledger. written, synced: how many jobs are, of those submitted so far."""

    gather = 0.001

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._log = Path(f"{path}-wal")
        self._submitted = self.written = self.synced = 0
        self._more = threading.Condition()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._stopped = False
        self._failed: sqlite3.Error | None = None
        connection.execute("PRAGMA synchronous = NORMAL")
        self._syncing = threading.Thread(target=self._sync, name="smart-sync", daemon=True)
        super().__init__(connection)
        self._syncing.start()

    def put(self, sql: str, parameters: tuple[Any, ...]) -> None:
        """Queue a statement that nobody waits for: it is written before whatever is submitted later."""
        self._put((sql, parameters, None))

    def submit_all(self, jobs: list[tuple[str, tuple[Any, ...]]]) -> asyncio.Future[bool]:
        """Queue statements; the future resolves when all of them are written."""
        *first, last = jobs
        for sql, parameters in first:
            self._put((sql, parameters, None))
        return self.submit(*last)

    @property
    def submitted(self) -> int:
        """How many jobs were submitted so far."""
        return self._submitted

    async def within(self, number: int) -> None:
        """Wait until so many jobs are synced."""
        if self.synced >= number:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._more:
            self._waiting.append((number, done))
            self._more.notify()
        await done

    def close(self) -> None:
        """Write what is queued and sync it, then stop."""
        if not self._open:
            return
        super().close()
        with self._more:
            self._stopped = True
            self._more.notify()
        self._syncing.join()

    def _put(self, job: Job) -> None:
        super()._put(job)
        self._submitted += 1

    def _commit(self, batch: list[Job]) -> list[bool]:
        """After a commit that failed there is no other: what comes later must not stand without what came before."""
        if self._failed is not None:
            raise self._failed
        try:
            results = super()._commit(batch)
        except sqlite3.Error as error:
            self._failed = error
            raise
        with self._more:
            self.written += len(batch)
            self._more.notify()
        return results

    def _sync(self) -> None:
        """Sync again whenever something was written since."""
        log = None
        while True:
            with self._more:
                self._more.wait_for(lambda: self.written > self.synced or self._stopped)
                here = self.written
                if here == self.synced:
                    break
            try:
                log = os.open(self._log, os.O_RDWR) if log is None else log
                os.fsync(log)
            except OSError as error:
                self._tell(LedgerError(f"The ledger could not be brought to the disk: {error.strerror}."), here)
                continue
            self._tell(None, here)
        if log is not None:
            os.close(log)

    def _tell(self, fault: LedgerError | None, here: int) -> None:
        with self._more:
            self.synced = here
            told = [done for number, done in self._waiting if number <= here]
            self._waiting = [pair for pair in self._waiting if pair[0] > here]
        for done in told:
            with contextlib.suppress(RuntimeError):  # the loop is gone
                done.get_loop().call_soon_threadsafe(_settle, done, fault)


def _settle(done: asyncio.Future[None], fault: LedgerError | None) -> None:
    if done.done():
        return
    if fault is None:
        done.set_result(None)
    else:
        done.set_exception(fault)
