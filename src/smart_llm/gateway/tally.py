"""What a route has done since the gateway began, and how its windows stand: for the page and the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import exp

from smart_llm.procedures.stream import Event, Restarted, Settled, Window
from smart_llm.procedures.stream.window import Replay
from smart_llm.stats.audited import limits_of_bad

EARLY = 0.05
"""A stop is early that comes sooner than in this share of windows in which risks are as they were taken to be."""
UNUSED = 1 / 4
"""Of what an earlier window has accepted: a window with less than that could hardly use its candidates."""


@cache
def early_share(credit: int) -> float:
    """The share of a window before which a stop is early: with this credit, and misses caught at such a rate that the
    last one is expected when the window ends. A Poisson process; found by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        mean, term = (credit + 1) * middle, exp(-(credit + 1) * middle)
        fewer = term
        for count in range(1, credit + 1):
            term *= mean / count
            fewer += term
        low, high = (middle, high) if 1 - fewer < EARLY else (low, middle)
    return low


@dataclass
class Tally:
    """Counts since the gateway began. answered: by model; refused: by status; alone: USD that the reference alone would
    have cost for the requests answered, as far as is known from its calls; spent: USD. stops: by window, after how many
    requests acceptance ended for good. unread: replies of the reference that are no answer to the task."""

    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    known: int = 0
    audits: int = 0
    alone: float = 0.0
    stops: dict[int, int] = field(default_factory=dict)
    unread: int = 0
    _paired: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def watch(self, window: Window) -> bool:
        """Remember when a window stopped; whether it just has."""
        new = window.stopped and window.number not in self.stops
        if new:
            self.stops[window.number] = window.counts.decided
        return new

    def remember(self, stops: Mapping[int, int], told: Replay, events: Iterable[Event]) -> None:
        """The same of windows that were before. stops: what was remembered; told: how it stood then; events: since."""
        self.stops |= stops
        for event in events:
            told.apply(event)
            if isinstance(event, Settled | Restarted):
                self.watch(told.windows[event.window])

    def unreadable(self) -> bool:
        """Count one more such reply; whether it is time to say how many there are: at the first, at each doubling."""
        self.unread += 1
        return self.unread & (self.unread - 1) == 0

    def both(self, guessed: float, cost: float) -> None:
        """The reference was asked: what it was thought to cost by a candidate's tokens, and what it did cost."""
        self._paired[0] += guessed
        self._paired[1] += cost

    def spared(self, guessed: float) -> None:
        """It was not asked, and would have cost about so much by a candidate's tokens."""
        thought, cost = self._paired
        self.alone += guessed * (cost / thought if thought else 1.0)

    def early(self, windows: Mapping[int, Window], number: int) -> bool:
        """Whether a window stopped early. After such a one acceptance may hardly begin in the next: so one that could
        use its candidates far less often than another before it counts as well."""
        window, stop = windows[number], self.stops.get(number)
        most = max((windows[n].counts.accepted for n in range(1, number)), default=0)
        unused = window.full and window.counts.accepted < UNUSED * most
        return unused or (stop is not None and stop < early_share(window.terms.credit) * window.terms.requests)

    def warns(self, windows: Mapping[int, Window]) -> tuple[int, int] | None:
        """The newest two windows in a row that did; one that has just begun is not looked at."""
        for last in (len(windows), len(windows) - 1):
            if last > 1 and self.early(windows, last - 1) and self.early(windows, last):
                return last - 1, last
        return None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a window stands. bad: limits of the number of delivered answers that are not equivalent; agreement: limits of
    the share that are, requests without an answer left aside. state: open, kept, short, stopped or broken."""

    window: Window
    bad: tuple[float, float]
    agreement: tuple[float, float]
    state: str

    @classmethod
    def of(cls, window: Window, confidence: float) -> Standing:
        """As the audits so far say."""
        counts, share = window.counts, window.terms.audit_share
        worst = min(counts.caught, counts.audited + counts.untossed + counts.lost)
        least, _ = _limits(counts.missed, share, confidence)
        _, most = _limits(worst, share, confidence)
        high = min(most, counts.accepted)
        low = min(float(least), high)
        if window.terms.mode == "before":  # what was caught was not delivered
            low, high = max(0.0, low - counts.missed), max(0.0, high - counts.missed)
        answers = max(1, counts.decided)
        agreement = (max(0.0, 1 - high / answers), 1 - low / answers)
        return cls(window, (low, high), agreement, _state(window, low))


_limits = lru_cache(maxsize=2**14)(limits_of_bad)
"""Of windows that are over they stay what they are."""


def _state(window: Window, low: float) -> str:
    if low > window.terms.allowance:
        return "broken"
    if window.counts.unanswered > window.terms.reserve:
        return "short"
    if not window.settled:
        return "stopped" if window.stopped and not window.full else "open"
    return window.verdict
