"""Showing a run's events: a live display on a terminal, one in place in a notebook, quiet lines elsewhere; on stderr,
stdout is for results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smart_llm.events import Decided, Delivering, Ended, Event, Listener, Profiling, Said
from smart_llm.reports.notebook import Notebook, in_notebook
from smart_llm.reports.sentences import Speed, said, sentence
from smart_llm.types import Outlook

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

REDRAW = 0.1
"""Seconds between two pictures of the live display."""
LINE = 10.0
"""Seconds between two lines where there is no terminal."""


def worth_showing() -> bool:
    """Whether somebody is likely to look: a terminal or a notebook. Scripts that write to a log stay quiet."""
    return in_notebook() or sys.stderr.isatty()


@contextmanager
def shown(budget: float | None = None) -> Iterator[Listener]:
    """A listener that fits where we are. budget: USD, to say how much of it is used."""
    if in_notebook():
        yield Notebook(budget)
    elif not sys.stderr.isatty():
        yield Lines(_write_line, time.monotonic, budget)
    else:
        with live(budget=budget) as listener:
            yield listener


def _write_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Lines:
    """One line at the start of a phase, at its end, and every few seconds between."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float], budget: float | None = None) -> None:
        self._write, self._clock, self._budget = write, clock, budget
        self._due, self._phase, self._rate = 0.0, "", Speed(clock)

    def __call__(self, event: Event) -> None:
        """Write what the event says, if it is time to."""
        if isinstance(event, Said | Decided | Ended):
            self._write(said(event))
            return
        phase = type(event).__name__
        ended = isinstance(event, Delivering) and event.done == event.rows
        if isinstance(event, Delivering):
            self._rate.count(event.done)
        if phase != self._phase or ended or self._clock() >= self._due:
            self._phase, self._due = phase, self._clock() + LINE
            self._write(sentence(event, self._rate, self._budget))


@contextmanager
def live(console: Console | None = None, budget: float | None = None) -> Iterator[Listener]:
    """A rich display: per candidate its agreement with limits while profiling, a bar while delivering."""
    from rich.console import Console
    from rich.live import Live

    console = console or Console(stderr=True)
    speed, last = Speed(time.monotonic), [0.0]
    with Live(console=console, auto_refresh=False, transient=True) as display:

        def listen(event: Event) -> None:
            if isinstance(event, Said | Decided | Ended):
                console.print(said(event), highlight=False, markup=False)
                return
            if isinstance(event, Delivering):
                speed.count(event.done)
            if time.monotonic() - last[0] >= REDRAW:
                last[0] = time.monotonic()
                display.update(_picture(event, sentence(event, speed, budget)), refresh=True)

        yield listen


def _picture(event: Profiling | Delivering, line: str) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    total = event.rows if isinstance(event, Delivering) else event.asked
    bar = ProgressBar(total=total, completed=event.done, width=60)
    table = [_table(event.outlook)] if isinstance(event, Profiling) and event.outlook else []
    return Group(Text(line.split(";")[0]), bar, *table)


def _table(outlook: Outlook | None) -> Table:
    from rich.table import Table

    table = Table("candidate", "profiled", "agreement", "90 % limits", "", box=None)
    for s in outlook.standings if outlook else ():
        share = f"{s.agreeing / s.profiled:.3f}" if s.profiled else "–"
        limits = f"{s.lower:.3f} … {s.upper:.3f}" if s.profiled else ""
        table.add_row(s.model, f"{s.profiled:,}", share, limits, "" if s.in_play else "no longer asked")
    return table
