"""How many calls to one model may be in flight: as many as it bears.

Additive increase, multiplicative decrease: a round of successes adds a sixteenth of the ceiling, a rate limit takes a
seventh, once for all calls that were in flight when it came. What really keeps to a limit is the pause: Retry-After
stops all calls to the model; where a rate limit names no time, the pause doubles from half a second to a minute. A
sharper decrease would let a few calls that hang hold up all others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random

DECREASE = 6 / 7
INCREASE = 1 / 16
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds."""


class Pace:
    """A turnstile for the calls to one model, first come, first served."""

    def __init__(self, ceiling: int, random: Random) -> None:
        self._ceiling = float(ceiling)
        self._limit = float(ceiling)
        self._step = max(1.0, ceiling * INCREASE)
        self._random = random
        self._in_flight = 0
        self._epoch = 0
        self._in_a_row = 0
        self._resume_at = 0.0
        self._resume: asyncio.TimerHandle | None = None
        self._queue: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> int:
        """Wait for a turn; returns the epoch to give back to `throttled`."""
        if self._queue or self._resume is not None or self._in_flight >= self._limit:
            await self._turn()
        else:
            self._in_flight += 1
        return self._epoch

    def leave(self) -> None:
        """A call is over."""
        self._in_flight -= 1
        if self._queue:
            self._admit()

    def succeeded(self) -> None:
        """A call brought an answer: room for a little more."""
        self._in_a_row = 0
        if self._limit < self._ceiling:
            self._limit = min(self._ceiling, self._limit + self._step / self._limit)

    def throttled(self, epoch: int, retry_after: float | None) -> None:
        """A call met a rate limit: fewer calls, after a pause."""
        if epoch == self._epoch:
            self._epoch += 1
            self._in_a_row += 1
            self._limit = max(1.0, self._limit * DECREASE)
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._pause() if retry_after is None else retry_after)
        if until > self._resume_at:
            self._resume_at = until
            if self._resume is not None:
                self._resume.cancel()
            self._resume = loop.call_at(until, self._resumed)

    def _pause(self) -> float:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** max(0, self._in_a_row - 1))
        return longest * (0.5 + 0.5 * self._random.random())

    def _resumed(self) -> None:
        self._resume = None
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._resume is None and self._in_flight < int(self._limit):
            turn = self._queue.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the turn came together with the cancellation
            raise
