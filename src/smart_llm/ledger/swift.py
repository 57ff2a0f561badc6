"""A writer for those who wait for every answer: it appends to the files ahead of the ledger (`ahead`), brings them to
the disk in a thread, and folds them into the ledger in another one.

What is written survives the end of this process, also by SIGKILL, since it is the operating system's by then. What is
`synced` survives a power cut as well. Appending takes a few millionths of a second, less than it takes to hand it to
another thread; the disk takes milliseconds. So whoever writes has written when the call returns, and says how much may
be unsynced at any time (`within`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from smart_llm.errors import LedgerError
from smart_llm.ledger import ahead
from smart_llm.ledger.ahead import Entry
from smart_llm.ledger.writer import Writer

TICK = 0.05
"""Seconds after which what was written is brought to the disk, where nobody has asked for it before."""
FOLDING = 1.0
"""Seconds after which it is folded in, …"""
MANY = 8_000
"""… or entries."""
GATHER = 0.004
"""Seconds that the disk leaves for more to come: whoever answers many asks for it again and again."""
CHECKPOINT = 4_000
"""Pages of SQLite's own log (4 kB each) after which it is folded in."""


class Swift(Writer):
    """The only writer of a ledger, in the thread of the event loop. kinds: by statement, the kind of entry that it
    inserts. written, synced: how many records are. forget: is told, in the loop, which entries are folded in. failed:
    is told, in the loop, that nothing more can be written."""

    def __init__(self, connection: sqlite3.Connection, path: Path, kinds: dict[str, int]) -> None:
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        self._connection, self._kinds = connection, kinds
        self._ahead = ahead.begin(connection, path)
        self._held: list[Entry] = []
        self._fresh: list[Entry] = []
        self.forget: Callable[[Sequence[Entry]], None] = lambda _: None
        self.failed: Callable[[LedgerError], None] = lambda _: None
        self._open, self._fault = True, ""
        self.written = self.synced = 0
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._rung = False
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._syncing = threading.Thread(target=self._sync, name="smart-sync", daemon=True)
        self._syncing.start()
        self._folding: threading.Thread | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._due = 0.0

    def hold(self, entry: Entry) -> None:
        """Write this with the next entries that are written, before them, or soon."""
        self._held.append(entry)
        if self._tick is None:
            self._tick_later()

    def write(self, entries: list[Entry]) -> int:
        """Write these, all or none; the number of their record. `LedgerError`, from the first failure on."""
        if not self._open:
            raise LedgerError("The ledger is closed.")
        if self._fault:
            raise LedgerError(f"{self._fault} (an earlier write failed)")
        if self._held:
            entries, self._held = [*self._held, *entries], []
        try:
            self._ahead.append(entries)
        except OSError as error:
            raise self._fail(error.strerror or str(error)) from None
        self._fresh += entries
        self.written += 1
        if self._tick is None:
            self._tick_later()
        return self.written

    def submit(self, sql: str, parameters: tuple[Any, ...]) -> asyncio.Future[bool]:
        """The same as for other writers; written when this returns."""
        self.write([(self._kinds[sql], parameters)])
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    def execute(self, sql: str, parameters: tuple[Any, ...]) -> bool:
        """The same without a loop."""
        self.write([(self._kinds[sql], parameters)])
        return True

    def sync(self) -> None:
        """Bring what is written to the disk, and wait for it (for rare writes: it blocks the caller)."""
        here = self.written
        try:
            self._ahead.sync()
        except OSError as error:
            raise self._fail(error.strerror or str(error)) from None
        self.synced = max(self.synced, here)

    def sync_soon(self) -> None:
        """Bring what is written to the disk, as soon as it can take it."""
        if not self._rung:
            self._rung = True
            self._bell.put(True)

    async def within(self, number: int) -> None:
        """Wait until the first `number` records are on the disk."""
        if self.synced >= number:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, done))
        self.sync_soon()
        await done

    def close(self) -> None:
        """Fold everything in; where that cannot be done, it is left for the next writer."""
        if not self._open:
            return
        if self._held:
            with contextlib.suppress(LedgerError):
                self.write([])
        self._open = False
        if self._tick is not None:
            self._tick.cancel()
        if self._folding is not None:
            self._folding.join()
        self._bell.put(False)
        self._syncing.join()
        folded = False
        if not self._fault:
            with contextlib.suppress(sqlite3.Error, LedgerError):
                ahead.fold(self._connection, self._ahead.number, self._fresh, last=True)
                folded = True
        if not folded:
            with contextlib.suppress(OSError):
                self._ahead.sync()
        self._ahead.close(remove=folded)

    # ------------------------------------------------------------------ in the event loop

    def _tick_later(self) -> None:
        with contextlib.suppress(RuntimeError):  # no loop: the next write in one does it, or `close`
            self._tick = asyncio.get_running_loop().call_later(TICK, self._ticked)

    def _ticked(self) -> None:
        """Something was written not long ago."""
        self._tick = None
        if self._held:
            with contextlib.suppress(LedgerError):  # `failed` was told
                self.write([])
        now = asyncio.get_running_loop().time()
        self._due = self._due or now + FOLDING
        if self.synced < self.written:
            self.sync_soon()
        if self._folding is None and (len(self._fresh) >= MANY or now >= self._due):
            self._fold()
        if self._fresh or self.synced < self.written:
            self._tick_later()

    def _fold(self) -> None:
        """Begin the next piece, and fold this one in."""
        entries, number, self._due = self._fresh, self._ahead.number, 0.0
        self._fresh = []
        try:
            self._ahead.turn()
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        loop = asyncio.get_running_loop()
        self._folding = threading.Thread(target=self._folded, args=(number, entries, loop), name="smart-fold")
        self._folding.start()

    def _done(self, entries: Sequence[Entry], fault: str) -> None:
        self._folding = None
        if fault:
            self._fail(fault)
        else:
            self.forget(entries)

    def _fail(self, why: str) -> LedgerError:
        """Nothing may be written after what was not."""
        self._fault = self._fault or f"The ledger could not be written: {why}. What was recorded before is kept."
        error = LedgerError(self._fault)
        self.failed(error)
        return error

    def _synced(self, fault: LedgerError | None) -> None:
        """Tell those whose records are on the disk by now. The thread that syncs goes on meanwhile: what it has done is
        looked at once, or whoever falls between two looks waits for ever."""
        synced, waiting = self.synced, self._waiting
        told = [done for number, done in waiting if number <= synced]
        self._waiting = [pair for pair in waiting if pair[0] > synced]
        for done in told:
            if done.done():
                continue
            if fault is None:
                done.set_result(None)
            else:
                done.set_exception(fault)
        if self._waiting:
            self.sync_soon()

    # ------------------------------------------------------------------ in threads of their own

    def _sync(self) -> None:
        """Sync whenever it is asked for. No lock is shared with the event loop: it would wait for this thread, which
        waits for its turn on a busy machine."""
        fault = None
        while self._bell.get():
            time.sleep(GATHER)
            self._rung = False
            here = self.written
            try:
                self._ahead.sync()
            except OSError as error:
                self._fault = f"The ledger could not be brought to the disk: {error.strerror}."
                fault = LedgerError(self._fault)
            self.synced = max(self.synced, here)
            if waiting := self._waiting:  # looked at once: the event loop may empty it at any time
                with contextlib.suppress(RuntimeError):  # the loop is gone
                    waiting[0][1].get_loop().call_soon_threadsafe(self._synced, fault)

    def _folded(self, number: int, entries: Sequence[Entry], loop: asyncio.AbstractEventLoop) -> None:
        fault = ""
        try:
            ahead.fold(self._connection, number, entries)
        except (sqlite3.Error, LedgerError) as error:
            fault = str(error)
            self._fault = f"The ledger could not be written: {fault}. What was recorded before is kept."
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._done, entries, fault)
