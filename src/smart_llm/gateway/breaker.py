"""A model that fails again and again is left alone for a while, so that nobody waits for it in vain."""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES = 3
"""In a row, after which it rests."""
FIRST, LONGEST = 2.0, 60.0
"""Seconds of a rest: doubles from the first to the longest."""


class Breaker:
    """Of one model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = self._rests = 0
        self._until = 0.0
        self._trying = False

    @property
    def rests(self) -> bool:
        """Whether it rests; after its rest one request tries it, while the others still go without."""
        return self._failures >= FAILURES and (self._trying or self._clock() < self._until)

    @property
    def left(self) -> float:
        """Seconds until it may be asked again."""
        return max(1.0, self._until - self._clock())

    def asked(self) -> bool:
        """It is asked. Returns whether this is a trial after a rest."""
        self._trying = self._failures >= FAILURES
        return self._trying

    def answered(self) -> None:
        """It has answered, or turned a request down for what it asked."""
        self._failures = self._rests = 0
        self._trying = False

    def failed(self) -> None:
        """It has not."""
        self._failures += 1
        self._trying = False
        if self._failures >= FAILURES and self._clock() >= self._until:
            self._until = self._clock() + min(LONGEST, FIRST * 2.0 ** min(self._rests, 16))
            self._rests += 1

    def dropped(self) -> None:
        """Nobody knows: whoever asked was stopped."""
        self._trying = False
