"""Showing a run's events: a live display on a terminal, quiet lines elsewhere; on stderr, stdout is for results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smart_llm.events import Delivering, Event, Listener, Profiling, Said
from smart_llm.types import Outlook

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

REDRAW = 0.1
"""Seconds between two pictures of the live display."""
LINE = 10.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def shown() -> Iterator[Listener]:
    """A listener that fits what stderr is."""
    if not sys.stderr.isatty():
        yield Lines(_write_line, time.monotonic)
        return
    with live() as listener:
        yield listener


def _write_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Lines:
    """One line at the start of a phase, at its end, and every few seconds between."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._due, self._phase, self._rate = 0.0, "", Speed(clock)

    def __call__(self, event: Event) -> None:
        """Write what the event says, if it is time to."""
        if isinstance(event, Said):
            self._write(event.text)
            return
        phase = type(event).__name__
        ended = isinstance(event, Delivering) and event.done == event.rows
        if isinstance(event, Delivering):
            self._rate.count(event.done)
        if phase != self._phase or ended or self._clock() >= self._due:
            self._phase, self._due = phase, self._clock() + LINE
            self._write(sentence(event, self._rate))


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


def sentence(event: Profiling | Delivering, speed: Speed) -> str:
    """An event on one line."""
    if isinstance(event, Delivering):
        errors = f", {event.errors:,} without an answer" if event.errors else ""
        pace = f", {speed.rate:,.0f} rows/s{speed.left(event.rows - event.done)}" if speed.rate else ""
        return f"delivering: {event.done:,} of {event.rows:,} rows{pace}{errors}, ${event.spent:.6g} spent"
    rows = event.settled + event.done
    saving = _expected(event.outlook)
    return f"profiling ({event.stage}): {rows:,} rows, ${event.spent:.6g} spent{saving}{_standings(event.outlook)}"


def _expected(outlook: Outlook | None) -> str:
    if outlook is None or not 0 < outlook.expected_cost_ratio < 1:
        return ""
    return f", expecting {1 / outlook.expected_cost_ratio:.2f}× cheaper than the reference"


def _standings(outlook: Outlook | None) -> str:
    parts = [
        f"{s.model} {s.agreeing}/{s.profiled} [{s.lower:.2f}, {s.upper:.2f}]"
        for s in (outlook.standings if outlook else ())
        if s.profiled
    ]
    return "; " + ", ".join(parts) if parts else ""


@contextmanager
def live() -> Iterator[Listener]:
    """A rich display: per candidate its agreement with limits while profiling, a bar while delivering."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    speed, last = Speed(time.monotonic), [0.0]
    with Live(console=console, auto_refresh=False, transient=True) as display:

        def listen(event: Event) -> None:
            if isinstance(event, Said):
                console.print(event.text, highlight=False, markup=False)
                return
            if isinstance(event, Delivering):
                speed.count(event.done)
            if time.monotonic() - last[0] >= REDRAW:
                last[0] = time.monotonic()
                display.update(_picture(event, speed), refresh=True)

        yield listen


def _picture(event: Profiling | Delivering, speed: Speed) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    line = Text(sentence(event, speed).split(";")[0])
    if isinstance(event, Delivering):
        return Group(line, ProgressBar(total=event.rows, completed=event.done, width=60))
    return Group(line, ProgressBar(total=event.asked, completed=event.done, width=60), _table(event.outlook))


def _table(outlook: Outlook | None) -> Table:
    from rich.table import Table

    table = Table("candidate", "profiled", "agreement", "90 % limits", "", box=None)
    for s in outlook.standings if outlook else ():
        share = f"{s.agreeing / s.profiled:.3f}" if s.profiled else "–"
        limits = f"{s.lower:.3f} … {s.upper:.3f}" if s.profiled else ""
        table.add_row(s.model, f"{s.profiled:,}", share, limits, "" if s.in_play else "no longer asked")
    return table
