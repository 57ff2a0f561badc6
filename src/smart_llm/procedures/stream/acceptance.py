"""Which way is asked and whether its answer is accepted: a matter of cost alone, never of the promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from smart_llm.procedures.stream.events import Accepted, Deferred, Settled, Tried
from smart_llm.procedures.stream.promise import COINS, StreamPromise, WindowTerms
from smart_llm.procedures.stream.window import Window


class Acceptance(Protocol):
    """What a stream asks of it. It may look at everything that has happened, and at nothing that has not."""

    def terms(self, last: Window | None) -> WindowTerms:
        """Of the next window."""

    def first(self, window: Window, draw: float) -> int | None:
        """The way to ask first; None: the reference at once."""

    def next(self, window: Window, tried: Sequence[Tried], draw: float) -> int | bool:
        """True: accept the last answer; False: defer; else the way to ask next (its number, an int)."""

    def learn(self, decided: Accepted | Deferred, settled: Settled | None) -> None:
        """What was decided, and later what became of it."""


class EvenPace:
    """The simplest rule: the first way, accepted while audited misses are not ahead of the requests."""

    def __init__(self, promise: StreamPromise, prices: Sequence[float]) -> None:
        self.promise = promise
        self.prices = tuple(prices)

    def terms(self, last: Window | None) -> WindowTerms:
        """About a dozen audited misses would use the allowance up."""
        reserve = min(self.promise.allowance // 2, 1 + self.promise.allowance // 50)
        return self.promise.terms(min(COINS // 2, 12 * COINS // max(1, self.promise.allowance)), reserve)

    def first(self, window: Window, draw: float) -> int | None:
        """The first way."""
        return 0 if self.prices else None

    def next(self, window: Window, tried: Sequence[Tried], draw: float) -> int | bool:
        """By pace."""
        share = (window.counts.decided + 1) / window.terms.requests
        return tried[-1].usable and window.counts.caught <= share * (window.terms.credit + 1)

    def learn(self, decided: Accepted | Deferred, settled: Settled | None) -> None:
        """Nothing."""
