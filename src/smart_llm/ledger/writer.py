"""Group commit: one thread, one connection, one transaction for everything that waits.

While a commit is on its way to the disk, new jobs queue up; the next commit takes them all. So the cost of a durable
write falls as load rises. After a commit of many, a few milliseconds are left for as many more to come: at that rate
most of a row's cost in the ledger is its share of the commit. Elsewhere nothing waits for a timer. Jobs are written in
the order they were given.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from itertools import groupby
from operator import itemgetter
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from smart_llm.errors import LedgerError

Done: TypeAlias = "asyncio.Future[bool] | Future[bool] | None"
Job: TypeAlias = tuple[str, tuple[Any, ...], Done]
"""SQL, parameters, and the future that is told whether the statement (and its neighbours alike) changed a row each;
None: nobody waits for it."""

Outcome: TypeAlias = bool | LedgerError

MANY, GATHER = 8, 0.004
"""Jobs of a transaction from which on the next one waits, and how long, in seconds."""
MOST = 4096
"""Jobs per transaction: bounds the memory of one commit and how long the first job waits for the last."""


class Writer:
    """The only writer of a ledger."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="smart-ledger", daemon=True)
        self._open = True
        self._thread.start()

    def submit(self, sql: str, parameters: tuple[Any, ...]) -> asyncio.Future[bool]:
        """Queue a statement; the future resolves when it is durable."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._put((sql, parameters, done))
        return done

    def execute(self, sql: str, parameters: tuple[Any, ...]) -> bool:
        """Write a statement and wait until it is durable (for rare writes: it blocks the caller)."""
        done: Future[bool] = Future()
        self._put((sql, parameters, done))
        return done.result()

    def close(self) -> None:
        """Write what is queued, then stop."""
        if self._open:
            self._open = False
            self._jobs.put(None)
            self._thread.join()

    def _put(self, job: Job) -> None:
        if not self._open:
            raise LedgerError("The ledger is closed.")
        self._jobs.put(job)

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._next_batch()
            if batch:
                try:
                    results = self._commit(batch)
                except sqlite3.Error as error:
                    _settle(
                        batch, LedgerError(f"The ledger could not be written: {error}. What was paid before is kept.")
                    )
                else:
                    _settle(batch, results)
                if more and len(batch) >= MANY:
                    time.sleep(GATHER)

    def _next_batch(self) -> tuple[list[Job], bool]:
        """Wait for one job, then take all that are there; False when the writer was closed."""
        batch: list[Job] = []
        job = self._jobs.get()
        with contextlib.suppress(Empty):
            while job is not None:
                batch.append(job)
                if len(batch) == MOST:
                    return batch, True
                job = self._jobs.get_nowait()
        return batch, job is not None

    def _commit(self, batch: list[Job]) -> list[bool]:
        """One transaction; for every job, whether each statement of its group changed a row."""
        results: list[bool] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, group in groupby(batch, itemgetter(0)):
                rows = [parameters for _, parameters, _ in group]
                before = self._connection.total_changes
                self._connection.executemany(sql, rows)
                results += [self._connection.total_changes - before == len(rows)] * len(rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return results


def _settle(batch: list[Job], results: list[bool] | LedgerError) -> None:
    """Tell everybody who waits: one wake-up per event loop, however many wait there."""
    outcomes: Sequence[Outcome] = results if isinstance(results, list) else [results] * len(batch)
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], Outcome]]] = {}
    for (_, _, done), outcome in zip(batch, outcomes, strict=True):
        if isinstance(done, Future):
            _finish(done, outcome)
        elif done is not None:
            waiting.setdefault(done.get_loop(), []).append((done, outcome))
    for loop, pairs in waiting.items():
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everybody who waited there
            loop.call_soon_threadsafe(_finish_all, pairs)


def _finish_all(pairs: Iterable[tuple[asyncio.Future[bool], Outcome]]) -> None:
    for done, outcome in pairs:
        if not done.done():  # whoever waited may have been cancelled; the write stands
            _finish(done, outcome)


def _finish(done: asyncio.Future[bool] | Future[bool], outcome: Outcome) -> None:
    if isinstance(outcome, LedgerError):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
