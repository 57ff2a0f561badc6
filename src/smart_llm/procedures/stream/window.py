"""The counts of one window: a frozen value, and a fold over its events.

`Counts` is the whole of what keeps the promise: it has no beliefs, and the rule that decides what to accept cannot
touch it. What is not known yet counts as a miss: a coin that is not tossed, an audit that is not back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from smart_llm.errors import LedgerError
from smart_llm.procedures.stream.events import Accepted, Deferred, Event, Opened, Restarted, Settled, Taught, Tossed
from smart_llm.procedures.stream.promise import WindowTerms


class Counts(Struct, frozen=True):
    """Requests of a window so far.

    untossed: accepted, no coin yet. audited: by their coin. waiting: audits that are not back. missed, failed: audits
    that found a miss, or no reference answer. deferred: the reference was asked at once. deferring: those without its
    answer yet. unanswered: ended without an answer. lost: coins that may have been lost.
    """

    decided: int = 0
    accepted: int = 0
    untossed: int = 0
    audited: int = 0
    waiting: int = 0
    missed: int = 0
    failed: int = 0
    deferred: int = 0
    deferring: int = 0
    unanswered: int = 0
    lost: int = 0

    @property
    def caught(self) -> int:
        """Audited misses, at the worst."""
        return self.missed + self.failed + self.waiting + self.untossed + self.lost

    def may_accept(self, terms: WindowTerms) -> bool:
        """Whether one more answer may be accepted."""
        return self.decided < terms.requests and self.caught <= terms.credit

    def accept(self) -> Counts:
        """One more is accepted; its coin comes later."""
        return replace(self, decided=self.decided + 1, accepted=self.accepted + 1, untossed=self.untossed + 1)

    def toss(self, audit: bool) -> Counts:
        """The coin of one of those without."""
        told = replace(self, untossed=self.untossed - 1)
        return replace(told, audited=self.audited + 1, waiting=self.waiting + 1) if audit else told

    def settle_audit(self, answered: bool, agreed: bool, terms: WindowTerms) -> Counts:
        """An audit is back. Where the reference failed the miss may be real; and before delivery there is then no
        answer of the reference to deliver, which uses the reserve."""
        told = replace(self, waiting=self.waiting - 1)
        if answered:
            return told if agreed else replace(told, missed=self.missed + 1)
        unanswered = self.unanswered + (terms.mode == "before")
        return replace(told, failed=self.failed + 1, unanswered=unanswered)

    def defer(self, known: bool) -> Counts:
        """One more goes to the reference."""
        deferring = self.deferring + (not known)
        return replace(self, decided=self.decided + 1, deferred=self.deferred + 1, deferring=deferring)

    def settle_deferral(self, answered: bool) -> Counts:
        """The reference has answered, or there will be no answer."""
        return replace(self, deferring=self.deferring - 1, unanswered=self.unanswered + (not answered))

    def restart(self, terms: WindowTerms, lost: int) -> Counts:
        """Nobody knows what became of what was under way; audits behind the answer can be asked for again."""
        before = self.waiting if terms.mode == "before" else 0
        gone = self.untossed + lost
        return replace(
            self,
            untossed=0,
            waiting=self.waiting - before,
            failed=self.failed + before,
            deferring=0,
            unanswered=self.unanswered + self.deferring + before + gone,
            lost=self.lost + gone,
        )


class Window(Struct, frozen=True):
    """A window: its number, its terms, its counts."""

    number: int
    terms: WindowTerms
    counts: Counts = Counts()

    @property
    def may_accept(self) -> bool:
        """Whether one more answer may be accepted now."""
        return self.counts.may_accept(self.terms)

    @property
    def full(self) -> bool:
        """Whether all its requests are decided."""
        return self.counts.decided >= self.terms.requests

    @property
    def settled(self) -> bool:
        """Whether nothing of it is under way any more."""
        counts = self.counts
        return self.full and not (counts.untossed or counts.waiting or counts.deferring)

    @property
    def stopped(self) -> bool:
        """Whether acceptance has ended for good: audited misses beyond the credit, without those not back yet. Where
        there is no credit it has not begun."""
        counts = self.counts
        return self.terms.credit >= 0 and counts.missed + counts.failed + counts.lost > self.terms.credit

    @property
    def unanswered(self) -> int:
        """Requests without an answer; those under way count."""
        return self.counts.unanswered + self.counts.deferring

    @property
    def covered(self) -> bool:
        """Whether the reserve covers the requests without an answer, so that the promise is about all N requests."""
        return self.unanswered <= self.terms.reserve

    @property
    def misses_at_most(self) -> int:
        """What the window promises: with the confidence of the promise, no more misses than this."""
        return self.terms.allowance + max(0, self.unanswered - self.terms.reserve)

    @property
    def verdict(self) -> str:
        """open: requests or answers are still to come. kept: the promise covers it. short: more requests than the
        reserve ended without an answer, so that `misses_at_most` is above the allowance."""
        if not self.covered:
            return "short"
        return "kept" if self.settled else "open"


class State(Struct, frozen=True):
    """How a stream stands: windows that may have changed since the last state, requests under way, those of them whose
    coin says audit, and the number of the last request."""

    windows: tuple[Window, ...]
    open: tuple[Accepted | Deferred, ...]
    tossed: tuple[int, ...]
    last: int


def replay(events: Iterable[Event]) -> dict[int, Window]:
    """The windows that these events make, by number; `LedgerError` where they cannot have happened in this order."""
    return Replay.of(events).windows


class Replay:
    """The fold: windows, and what is under way, by request."""

    def __init__(self) -> None:
        self.windows: dict[int, Window] = {}
        self.open: dict[int, Accepted | Deferred] = {}
        self.tossed: set[int] = set()
        self.last = 0
        self._unsettled = 1

    @classmethod
    def restored(cls, states: Iterable[State]) -> Self:
        """As it stood at the last of all its states."""
        told = cls()
        for state in states:
            told.windows |= {window.number: window for window in state.windows}
            told.open = {each.request: each for each in state.open}
            told.tossed, told.last = set(state.tossed), state.last
        told._settle()
        return told

    def state(self) -> State:
        """How it stands now."""
        changed = tuple(self.windows[number] for number in range(self._unsettled, len(self.windows) + 1))
        self._settle()
        return State(changed, tuple(self.open.values()), tuple(sorted(self.tossed)), self.last)

    def _settle(self) -> None:
        """From which window on they may still change: the newest one always may."""
        while self._unsettled < len(self.windows) and self.windows[self._unsettled].settled:
            self._unsettled += 1

    @classmethod
    def of(cls, events: Iterable[Event]) -> Replay:
        """After these events."""
        told = cls()
        for event in events:
            told.apply(event)
        return told

    @property
    def current(self) -> Window | None:
        """The newest window."""
        return self.windows[len(self.windows)] if self.windows else None

    def apply(self, event: Event) -> None:
        """One event more."""
        if isinstance(event, Taught):
            return
        if isinstance(event, Opened):
            self._open(event)
            return
        _need(event.window in self.windows, event, "there is no such window")
        if isinstance(event, Restarted):
            self._restart(event)
            return
        window = self.windows[event.window]
        counts = self._decide(event, window) if isinstance(event, Accepted | Deferred) else self._go_on(event, window)
        self.windows[event.window] = replace(window, counts=counts)

    def _open(self, event: Opened) -> None:
        """A new window, or new terms of one in which nothing has been accepted."""
        known = self.windows.get(event.window)
        if known is None:
            over = self.current is None or self.current.full
            _need(event.window == len(self.windows) + 1 and over, event, "windows follow one another")
            self.windows[event.window] = Window(event.window, event.terms)
            return
        same = replace(event.terms, reserve=0, audits=0, credit=0) == replace(
            known.terms, reserve=0, audits=0, credit=0
        )
        _need(known.counts.accepted == 0 and same, event, "the terms of the window stand")
        self.windows[event.window] = replace(known, terms=event.terms)

    def _decide(self, event: Accepted | Deferred, window: Window) -> Counts:
        _need(event.request == self.last + 1, event, "requests follow one another")
        _need(event.window == len(self.windows) and not window.full, event, "the window is over")
        self.last = event.request
        if isinstance(event, Accepted):
            _need(window.may_accept and bool(event.tried), event, "nothing may be accepted")
            self.open[event.request] = event
            return window.counts.accept()
        if not event.known:
            self.open[event.request] = event
        return window.counts.defer(event.known)

    def _go_on(self, event: Tossed | Settled, window: Window) -> Counts:
        decided = self.open.get(event.request)
        _need(decided is not None and decided.window == event.window, event, "no such request is under way")
        accepted = isinstance(decided, Accepted)
        if isinstance(event, Tossed):
            _need(accepted and event.request not in self.tossed, event, "there is no coin to toss")
            if event.audit:
                self.tossed.add(event.request)
            else:
                del self.open[event.request]
            return window.counts.toss(event.audit)
        _need(not accepted or event.request in self.tossed, event, "its coin is not tossed")
        del self.open[event.request]
        if not accepted:
            return window.counts.settle_deferral(event.answered)
        self.tossed.discard(event.request)
        agreed = dict(event.agreed).get(decided.tried[-1].way, False) if decided else False
        return window.counts.settle_audit(event.answered, agreed, window.terms)

    def _restart(self, event: Restarted) -> None:
        for number, window in self.windows.items():
            lost = event.lost if number == event.window else 0
            self.windows[number] = replace(window, counts=window.counts.restart(window.terms, lost))
        behind = {r for r in self.tossed if self.windows[self.open[r].window].terms.mode == "behind"}
        self.open = {request: self.open[request] for request in sorted(behind)}
        self.tossed = behind


def _need(holds: bool, event: Event, why: str) -> None:
    if not holds:
        raise LedgerError(f"the record of the stream does not hold together: {why} (at {event!r}).")
