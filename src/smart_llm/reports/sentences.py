"""A run's events in words: one line each, the same on a terminal, in a log and in a notebook."""

from __future__ import annotations

from collections.abc import Callable

from smart_llm.events import Decided, Delivering, Ended, Profiling, Said
from smart_llm.types import Outlook


class Speed:
    """Rows a second, over the whole phase so far."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start: tuple[float, int] | None = None
        self.rate = 0.0

    def count(self, done: int) -> None:
        """So many rows are settled by now."""
        now = self._clock()
        if self._start is None:
            self._start = (now, done)
        elif now > self._start[0]:
            self.rate = (done - self._start[1]) / (now - self._start[0])

    def left(self, rows: int) -> str:
        """Time that so many rows will take, in words; empty while unknown."""
        if not self.rate:
            return ""
        seconds = round(rows / self.rate)
        return f", {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"


def said(event: Said | Decided | Ended) -> str:
    """What stays to be read."""
    if isinstance(event, Said):
        return event.text
    if isinstance(event, Ended):
        lost = f", {event.errors:,} rows without an answer" if event.errors else ""
        return f"{event.status}: {event.rows:,} rows{lost}, ${event.spent:.6g} spent{_cheaper(event.saving, '')}"
    head = f"{event.profiled:,} rows profiled, ${event.spent:.6g} spent"
    if not event.models:
        return f"{head}: no candidate is certified, {event.reference} answers the rest."
    return f"{head}: {', '.join(event.models)} certified{_cheaper(event.saving, ', expecting')}."


def sentence(event: Profiling | Delivering, speed: Speed, budget: float | None = None) -> str:
    """Where the run is."""
    spent = f"${event.spent:.6g} spent{_share(event.spent, budget)}"
    if isinstance(event, Delivering):
        errors = f", {event.errors:,} without an answer" if event.errors else ""
        pace = f", {speed.rate:,.0f} rows/s{speed.left(event.rows - event.done)}" if speed.rate else ""
        saving = _cheaper(event.alone / event.spent, ", so far") if event.spent else ""
        return f"delivering: {event.done:,} of {event.rows:,} rows{pace}{errors}, {spent}{saving}"
    rows = event.settled + event.done
    return f"profiling ({event.stage}): {rows:,} rows, {spent}{_expected(event.outlook)}{_standings(event.outlook)}"


def _share(spent: float, budget: float | None) -> str:
    return f" ({spent / budget:.0%} of the budget)" if budget else ""


def _cheaper(saving: float | None, how: str) -> str:
    return f"{how or ','} {saving:.2f}× cheaper than the reference" if saving is not None and saving > 1 else ""


def _expected(outlook: Outlook | None) -> str:
    if outlook is None or not 0 < outlook.expected_cost_ratio < 1:
        return ""
    return _cheaper(1 / outlook.expected_cost_ratio, ", expecting")


def _standings(outlook: Outlook | None) -> str:
    parts = [
        f"{s.model} {s.agreeing}/{s.profiled} [{s.lower:.2f}, {s.upper:.2f}]"
        for s in (outlook.standings if outlook else ())
        if s.profiled
    ]
    return "; " + ", ".join(parts) if parts else ""
