"""Money in flight: a call leaves only when everything unsettled, at its upper bound, still fits the budget."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from smart_llm.errors import BudgetExhausted, Refused

Send: TypeAlias = Callable[[float], Coroutine[Any, Any, int]]
"""Announces an amount in USD, durably; returns the number of the note."""


class Budget:
    """A hard limit in USD, or none. `spent` is what this run has paid or may have paid, earlier sessions included.

    Guarantee: spent + reserved ≤ limit whenever a call leaves, so spent ≤ limit as long as no call costs more than
    was reserved for it. beyond: what stops the run where one did; whoever waits for money is told that.
    """

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit = limit
        self.spent = spent
        self.beyond: Refused | None = None
        self._reserved: list[float] = [0.0, 0.0]  # USD, calls
        self._queue: deque[tuple[float, asyncio.Future[None]]] = deque()

    async def reserve(self, bound: float) -> None:
        """Set aside `bound` USD; waits for calls in flight to settle when it does not fit yet, in order of asking.

        Raises `BudgetExhausted` when it would not fit even then.
        """
        if self.limit is None or (not self._queue and self._fits(bound)):
            self._take(bound)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((bound, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.settle(bound, 0.0)  # the turn came together with the cancellation
            raise

    def adopt(self, bound: float) -> None:
        """What an earlier session may have spent, up to `bound` USD, is in flight again: `settle` it like a call."""
        if self.limit is not None:
            self.spent -= bound
        self._take(bound)

    def settle(self, bound: float, cost: float) -> None:
        """A call set aside at `bound` has cost `cost`."""
        self.spent += cost
        self._reserved[0] -= bound
        self._reserved[1] -= 1
        if not self._reserved[1]:
            self._reserved[0] = 0.0  # no rounding left behind
        self._admit()

    def _fits(self, bound: float) -> bool:
        return self.limit is None or self.spent + self._reserved[0] + bound <= self.limit

    def _take(self, bound: float) -> None:
        self._reserved[0] += bound
        self._reserved[1] += 1

    def _admit(self) -> None:
        """Let those in who fit; when nothing is in flight, tell the first who does not that it never will."""
        while self._queue:
            bound, turn = self._queue[0]
            if turn.done():
                self._queue.popleft()
            elif self._fits(bound):
                self._queue.popleft()
                self._take(bound)
                turn.set_result(None)
            elif not self._reserved[1]:
                self._queue.popleft()
                turn.set_exception(self._exhausted(bound))
            else:
                return

    def _exhausted(self, bound: float) -> BudgetExhausted | Refused:
        return self.beyond or BudgetExhausted(
            f"The budget of ${self.limit:.6g} is reached: ${self.spent:.6g} spent, the next may cost ${bound:.6g}. "
            "Everything bought is kept; run again with a larger --budget to go on.",
            needed=self.spent + bound,
        )


class Announced:
    """What calls in flight may cost is in the ledger before they leave, by few notes instead of one a call: a note is
    written only when more is in flight than was announced before, and announces more than is needed at once.

    Guarantee: what the notes that are not settled announce is never less than what all calls in flight may cost.
    """

    AHEAD, HEADROOM = 4, 1.25
    """For how many calls more there is room before one waits for its turn, and how much is announced for a dollar that
    is in flight."""

    def __init__(self) -> None:
        self._out: list[float] = [0.0, 0.0]  # USD, calls
        self._known = 0.0
        self._notes: list[int] = []
        self._writing = asyncio.Lock()

    def has_room(self, bound: float) -> bool:
        """Whether calls that may cost so much can leave with nothing to write."""
        return self._known >= self._out[0] + self.AHEAD * bound

    async def make_room(self, bound: float, send: Send) -> None:
        """See to it, before one of them waits for its turn."""
        while self._known < self._out[0] + self.AHEAD * bound:
            async with self._writing:
                if self._known < self._out[0] + self.AHEAD * bound:
                    await self._write(self.HEADROOM * self._out[0] + 2 * self.AHEAD * bound - self._known, send)

    def take(self, bound: float) -> None:
        """A call leaves, once it is `covered`."""
        self._out[0] += bound
        self._out[1] += 1

    @property
    def covers(self) -> bool:
        """Whether all that is taken is announced."""
        return self._known >= self._out[0]

    async def cover(self, send: Send) -> None:
        """Announce what is not."""
        while not self.covers:
            async with self._writing:
                if not self.covers:
                    await self._write(self.HEADROOM * self._out[0] - self._known, send)

    def give(self, bound: float) -> None:
        """It is over, and what it cost is known."""
        self._out[0] -= bound
        self._out[1] -= 1
        if not self._out[1]:
            self._out[0] = 0.0  # no rounding left behind

    def settled(self) -> list[int]:
        """The notes to settle, once nothing is in flight any more."""
        notes, self._notes, self._known = self._notes, [], 0.0
        return notes

    async def _write(self, more: float, send: Send) -> None:
        """One note more; it counts even if whoever waits for it is cancelled."""

        def written(note: asyncio.Future[int]) -> None:
            if not note.cancelled() and note.exception() is None:
                self._notes.append(note.result())
                self._known += more

        note = asyncio.ensure_future(send(more))
        note.add_done_callback(written)
        await asyncio.shield(note)
