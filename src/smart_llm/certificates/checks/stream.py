"""A stream's record, recounted: from the life of every single request, not from running counts.

Each accepted request is a miss that may have been caught, from when it is accepted until its coin says that it is not
audited, or its audit that it agreed. So what could be caught at any moment is a sum of such intervals, and nothing may
be accepted while it is above the credit. The credit is worked out again from binomial terms.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import erfc, exp, inf, lgamma, log, log1p, sqrt

from smart_llm.procedures.stream import (
    COINS,
    Accepted,
    Deferred,
    Event,
    Opened,
    Restarted,
    Settled,
    StreamPromise,
    Taught,
    Tossed,
    WindowTerms,
)

UNLIKELY = 1e-9
"""Tosses less likely than this are not taken for those of a fair run of coins."""


@dataclass(slots=True)
class Life:
    """A request: its decision, and the places in the record of what followed (infinite: never)."""

    place: int
    decided: Accepted | Deferred
    tossed: float = inf
    audit: bool = False
    settled: float = inf
    answered: bool = False
    agreed: bool = False
    cut: float = inf

    @property
    def cleared(self) -> float:
        """From where on an accepted request is no miss that was caught. A kill before the coin leaves it one."""
        if not self.audit:
            return self.tossed
        return self.settled if self.answered and self.agreed else inf

    @property
    def unanswered(self) -> float:
        """From where on it has ended without an answer, `WindowTerms.mode` apart."""
        return self.cut if self.settled == inf else (inf if self.answered else self.settled)


@dataclass(slots=True)
class RecountedWindow:
    """A window as the lives of its requests make it."""

    number: int
    terms: WindowTerms
    lives: list[Life] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)

    @property
    def accepted(self) -> list[Life]:
        """Requests that a way's answer was accepted for."""
        return [life for life in self.lives if isinstance(life.decided, Accepted)]

    @property
    def audited(self) -> int:
        """Of those, the ones whose coin said so."""
        return sum(life.audit for life in self.accepted)

    @property
    def missed(self) -> int:
        """Audits that found a miss."""
        return sum(life.audit and life.answered and not life.agreed for life in self.accepted)

    @property
    def unanswered(self) -> int:
        """Requests that ended without an answer, or are still without one."""
        deferred = [life for life in self.lives if isinstance(life.decided, Deferred) and not life.decided.known]
        count = sum(not (life.settled < inf and life.answered) for life in deferred) + sum(
            count for _, count in self.lost
        )
        for life in self.accepted:
            waits = life.audit and self.terms.mode == "before" and life.unanswered < inf
            count += waits or (life.tossed == inf and life.cut < inf)
        return count

    @property
    def misses_at_most(self) -> int:
        """What is promised of it, with the confidence of the stream."""
        return self.terms.allowance + max(0, self.unanswered - self.terms.reserve)


def recounted(events: Sequence[Event]) -> tuple[list[RecountedWindow], list[str]]:
    """The windows, and what is wrong with the order of the record."""
    windows, lives, wrong = dict[int, RecountedWindow](), dict[int, Life](), list[str]()
    for place, event in enumerate(events):
        if isinstance(event, Taught):
            continue
        if isinstance(event, Opened):
            known = windows.setdefault(event.window, RecountedWindow(event.window, event.terms))
            if known.accepted and known.terms != event.terms:
                wrong.append(f"window {event.window}: its terms were changed after something was accepted")
            known.terms = event.terms
        elif event.window not in windows:
            wrong.append(f"window {event.window}: something happened before it began")
        elif isinstance(event, Accepted | Deferred):
            lives[event.request] = Life(place, event)
            windows[event.window].lives.append(lives[event.request])
        elif isinstance(event, Restarted):
            windows[event.window].lost.append((place, event.lost))
            _cut(place, lives.values(), windows)
        else:
            wrong += _follow(place, event, lives.get(event.request))
    return [windows[number] for number in sorted(windows)], wrong


def _cut(place: int, lives: Iterable[Life], windows: Mapping[int, RecountedWindow]) -> None:
    """A kill: what was under way has ended, but for audits behind the answer."""
    for life in lives:
        behind = life.audit and windows[life.decided.window].terms.mode == "behind"
        over = life.settled < inf or (life.tossed < inf and not life.audit)
        if not over and not behind and life.cut == inf and not getattr(life.decided, "known", False):
            life.cut = place


def _follow(place: int, event: Tossed | Settled, life: Life | None) -> list[str]:
    """A coin or a reply."""
    if life is None or life.decided.window != event.window or life.cut < inf or life.settled < inf:
        return [f"request {event.request}: something happened to it that could not"]
    accepted = isinstance(life.decided, Accepted)
    if isinstance(event, Tossed):
        fits = accepted and life.tossed == inf
        life.tossed, life.audit = place, event.audit
    else:
        fits = life.audit if accepted else not getattr(life.decided, "known", False)
        way = life.decided.tried[-1].way if life.decided.tried else -1
        life.settled, life.answered, life.agreed = place, event.answered, dict(event.agreed).get(way, False)
    return [] if fits else [f"request {event.request}: its coin and its decision do not fit"]


def check(promise: StreamPromise, events: Sequence[Event]) -> list[str]:
    """What does not hold of a stream's record; empty when all does."""
    windows, wrong = recounted(events)
    requests = [life.decided.request for window in windows for life in window.lives]
    if requests != list(range(1, len(requests) + 1)):
        wrong.append("requests are missing, or not in their order")
    if [window.number for window in windows] != list(range(1, len(windows) + 1)):
        wrong.append("windows are missing, or not in their order")
    for window in windows:
        full = len(window.lives) == window.terms.requests
        if len(window.lives) > window.terms.requests or not (full or window is windows[-1]):
            wrong.append(f"window {window.number}: {len(window.lives)} requests instead of {window.terms.requests}")
        wrong += [f"window {window.number}: {what}" for what in (*_terms(promise, window), *_kept(window))]
    return wrong


def _terms(promise: StreamPromise, window: RecountedWindow) -> list[str]:
    """Whether they are what the promise allows, and the coins fell as they say."""
    terms = window.terms
    if (terms.requests, terms.allowance, terms.mode) != (promise.window, promise.allowance, promise.mode):
        return ["its terms are not those of the promise"]
    usable, share = terms.allowance - terms.reserve, terms.audits / COINS
    if not (terms.reserve >= 0 and 0 <= terms.audits <= COINS):
        return ["its terms make no sense"]
    trials = usable if terms.mode == "behind" else usable + 1 + terms.credit
    if terms.credit >= 0 and (terms.credit >= trials or tail(trials, terms.credit, share) > promise.alpha * (1 + 1e-9)):
        return [f"a credit of {terms.credit} is more than audits with probability {share:.6f} allow"]
    tossed = sum(life.tossed < inf for life in window.accepted)
    spread = sqrt(max(tossed * share * (1 - share), 1e-9))
    if erfc(max(0.0, abs(window.audited - tossed * share) - 3) / spread / sqrt(2)) < UNLIKELY:
        return [f"{window.audited} of {tossed} coins said audit, which chance {share:.4f} does not do"]
    return []


def _kept(window: RecountedWindow) -> list[str]:
    """Whether nothing was accepted while what could be caught was above the credit."""
    changes: dict[float, int] = defaultdict(int)
    accepted = window.accepted
    for life in accepted:
        changes[life.place] += 1
        changes[life.cleared] -= 1
    for kill, lost in window.lost:
        changes[kill] += lost
    places = sorted(changes)
    sums = [0]
    for place in places:
        sums.append(sums[-1] + changes[place])
    for life in accepted:
        if sums[bisect_left(places, life.place)] > window.terms.credit:
            return [f"request {life.decided.request} was accepted beyond the credit"]
    return []


def tail(trials: int, count: int, share: float) -> float:
    """P(Bin(trials, share) ≤ count), term by term."""
    if share <= 0 or share >= 1:
        return 1.0 if share <= 0 else float(count >= trials)
    top = lgamma(trials + 1)
    logs = (
        top - lgamma(k + 1) - lgamma(trials - k + 1) + k * log(share) + (trials - k) * log1p(-share)
        for k in range(min(count, trials) + 1)
    )
    return sum(map(exp, logs))
