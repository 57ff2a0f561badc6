"""Drives a stream as it ships against traffic that is made up or recorded.

`Traffic` makes the next request, and may look at the whole stream when it does: beliefs, counts, thresholds, everything
but the coin, which is drawn when the request has been accepted. Replies of the reference come back after a while.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from smart_llm.procedures.stream import COINS, Accepted, Another, Deferred, Stream, Tried, Window


@dataclass(frozen=True, slots=True)
class Coming:
    """A request as the simulation knows it. answers: what each way shows when it is asked. bad: by way, whether its
    answer is not equivalent to the reference's. cost: of the reference's call. fails: the reference gives no answer.
    repeats: the number of the request that it asks the same as (None: no other)."""

    answers: tuple[Tried, ...]
    bad: tuple[bool, ...]
    cost: float = 1.0
    fails: bool = False
    repeats: int | None = None


Traffic: TypeAlias = Callable[[Stream, np.random.Generator], Coming]


@dataclass(slots=True)
class WindowOutcome:
    """What became of a window, known to nobody but the simulation. cost: of all calls; alone: of the reference alone.
    misses: answers delivered that differ, and requests without an answer."""

    number: int
    accepted: int = 0
    misses: int = 0
    cost: float = 0.0
    alone: float = 0.0
    ended: Window | None = None

    @property
    def rate(self) -> float:
        """Cost as a share of the reference alone."""
        return self.cost / self.alone if self.alone else 1.0

    @property
    def broken(self) -> bool:
        """Whether more misses were delivered than the window promises."""
        return self.ended is not None and self.misses > self.ended.misses_at_most


@dataclass(slots=True)
class Drive:
    """A stream under way in some traffic. delay: how many requests later a reply of the reference comes back, at most;
    uniform."""

    stream: Stream
    traffic: Traffic
    draw: np.random.Generator
    delay: int = 0
    clock: int = 0
    outcomes: dict[int, WindowOutcome] = field(default_factory=dict)
    _due: list[tuple[int, int, Coming]] = field(default_factory=list)
    _known: set[int] = field(default_factory=set)

    def run(self, requests: int) -> list[WindowOutcome]:
        """That many requests more, and all replies; the windows so far."""
        for _ in range(requests):
            self._step()
        self._settle(self.clock + self.delay + 1)
        for number, outcome in self.outcomes.items():
            outcome.ended = self.stream.windows[number]
        return [self.outcomes[number] for number in sorted(self.outcomes)]

    def _step(self) -> None:
        self.clock += 1
        self._settle(self.clock)
        coming = self.traffic(self.stream, self.draw)
        if coming.repeats in self._known:
            told = self._of(self.stream.known())
            told.alone += coming.cost
            return
        decision, asked = self._decide(coming)
        outcome = self._of(decision)
        outcome.cost += sum(coming.answers[way].cost for way in asked)
        outcome.alone += coming.cost
        if isinstance(decision, Accepted):
            self._accepted(decision, coming, outcome)
        else:
            outcome.cost += coming.cost
            outcome.misses += coming.fails
            self._later(decision.request, coming)
        self.stream.take()

    def _of(self, decision: Accepted | Deferred) -> WindowOutcome:
        return self.outcomes.setdefault(decision.window, WindowOutcome(decision.window))

    def _decide(self, coming: Coming) -> tuple[Accepted | Deferred, list[int]]:
        share = float(self.draw.random())
        way, asked = self.stream.first(share), list[int]()
        while way is not None:
            asked.append(way)
            decision = self.stream.decide([coming.answers[each] for each in asked], share)
            if not isinstance(decision, Another):
                return decision, asked
            way = decision.way
        last = self.stream.decide((), share)
        assert not isinstance(last, Another)
        return last, asked

    def _accepted(self, decision: Accepted, coming: Coming, outcome: WindowOutcome) -> None:
        outcome.accepted += 1
        audit = self.stream.toss(decision, int(self.draw.integers(COINS))).audit
        replaced = audit and self.stream.promise.mode == "before"
        outcome.misses += coming.fails if replaced else coming.bad[decision.way]
        if audit:
            outcome.cost += coming.cost
            self._later(decision.request, coming)

    def _later(self, request: int, coming: Coming) -> None:
        when = self.clock + 1 + int(self.draw.integers(self.delay)) if self.delay else self.clock
        heapq.heappush(self._due, (when, request, coming))
        if not self.delay:
            self._settle(self.clock)

    def _settle(self, until: int) -> None:
        while self._due and self._due[0][0] <= until:
            _, request, coming = heapq.heappop(self._due)
            agreed = {way: not bad for way, bad in enumerate(coming.bad) if coming.answers[way].usable}
            self.stream.settle(request, answered=not coming.fails, agreed=agreed, cost=coming.cost)
            if coming.repeats is not None and not coming.fails:
                self._known.add(coming.repeats)
