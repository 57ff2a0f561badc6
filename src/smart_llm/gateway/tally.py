"""What a route has done since the gateway began, and how its windows stand: for the page and the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smart_llm.procedures.stream import Event, Restarted, Settled, Window
from smart_llm.procedures.stream.window import Replay
from smart_llm.stats.audited import limits_of_bad

EARLY = 0.9
"""A window whose acceptance ended before this share of its requests has stopped early."""


@dataclass
class Tally:
    """Counts since the gateway began. answered: by model; refused: by status; alone: USD that the reference alone would
    have cost for the requests answered, as far as is known from its calls; spent: USD. stops: by window, after how many
    requests acceptance ended for good."""

    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    known: int = 0
    audits: int = 0
    alone: float = 0.0
    stops: dict[int, int] = field(default_factory=dict)
    _paired: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def watch(self, window: Window | None) -> None:
        """Remember when a window stopped."""
        if window is not None and window.stopped and window.number not in self.stops:
            self.stops[window.number] = window.counts.decided

    def remember(self, stops: Mapping[int, int], told: Replay, events: Iterable[Event]) -> None:
        """The same of windows that were before. stops: what was remembered; told: how it stood then; events: since."""
        self.stops |= stops
        for event in events:
            told.apply(event)
            if isinstance(event, Settled | Restarted):
                self.watch(told.windows[event.window])

    def both(self, guessed: float, cost: float) -> None:
        """The reference was asked: what it was thought to cost by a candidate's tokens, and what it did cost."""
        self._paired[0] += guessed
        self._paired[1] += cost

    def spared(self, guessed: float) -> None:
        """It was not asked, and would have cost about so much by a candidate's tokens."""
        thought, cost = self._paired
        self.alone += guessed * (cost / thought if thought else 1.0)

    def early(self, windows: Mapping[int, Window]) -> list[int]:
        """The windows that have stopped early."""
        return [n for n, at in self.stops.items() if n in windows and at < EARLY * windows[n].terms.requests]

    def warns(self, windows: Mapping[int, Window]) -> bool:
        """Whether two windows in a row have stopped early."""
        early = set(self.early(windows))
        return any(number + 1 in early for number in early)


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
        least, _ = limits_of_bad(counts.missed, share, confidence)
        _, most = limits_of_bad(worst, share, confidence)
        high = min(most, counts.accepted)
        low = min(float(least), high)
        if window.terms.mode == "before":  # what was caught was not delivered
            low, high = max(0.0, low - counts.missed), max(0.0, high - counts.missed)
        answers = max(1, counts.decided)
        agreement = (max(0.0, 1 - high / answers), 1 - low / answers)
        return cls(window, (low, high), agreement, _state(window, low))


def _state(window: Window, low: float) -> str:
    if low > window.terms.allowance:
        return "broken"
    if window.counts.unanswered > window.terms.reserve:
        return "short"
    if not window.settled:
        return "stopped" if window.stopped and not window.full else "open"
    return window.verdict
