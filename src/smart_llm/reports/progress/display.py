"""Showing a run's events: a live display on a terminal, one in place in a notebook, quiet lines elsewhere; on stderr,
stdout is for results."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smart_llm.events import Decided, Delivering, Ended, Event, Listener, Profiling, Said
from smart_llm.reports.progress.notebook import Notebook, in_notebook
from smart_llm.reports.progress.picture import WIDEST, Picture, cut
from smart_llm.reports.progress.sentences import said, sentence
from smart_llm.text.wrapping import wrapped

if TYPE_CHECKING:
    from rich.console import Console, Group

REDRAWS = 5.0
"""Pictures a second of the live display."""
LINE, FIRST = 10.0, 2.0
"""Seconds between two lines where there is no terminal, and until the first that counts rows."""
TICK = 1.0
"""Seconds between two looks at whether a line is due although nothing has happened."""
BEGUN = "Profiling: rows that all models answer show where the cheaper ones can be relied on."


def worth_showing() -> bool:
    """Whether somebody is likely to look: a terminal or a notebook. Scripts that write to a log stay quiet."""
    return in_notebook() or sys.stderr.isatty()


@contextmanager
def shown(budget: float | None = None) -> Iterator[Listener]:
    """A listener that fits where we are. budget: USD, to say how much of it is used."""
    if in_notebook():
        yield Notebook(budget)
    elif not sys.stderr.isatty():
        with _ticking(Lines(_write_line, time.monotonic, budget)) as lines:
            yield lines
    else:
        with live(budget=budget) as listener:
            yield listener


def unless(known: Collection[str], listener: Listener) -> Listener:
    """The listener, without the sentences that are known already."""

    def told(event: Event) -> None:
        if not (isinstance(event, Said) and event.text in known):
            listener(event)

    return told


def _write_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def _ticking(lines: Lines) -> Iterator[Lines]:
    """As long as the block lasts, lines come whether something happens or not: a server may be silent for long."""
    over = threading.Event()

    def ticks() -> None:
        while not over.wait(TICK):
            lines.tick()

    thread = threading.Thread(target=ticks, name="smart-progress", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        over.set()
        thread.join()


class Lines:
    """One line at the start of a phase, at its end, and every few seconds between. It may be told of an event in one
    thread and of the time in another."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float], budget: float | None = None) -> None:
        self._write, self._clock = write, clock
        self._due, self._phase, self._picture = clock() + LINE, "", Picture(clock, budget)
        self._over, self._lock = False, threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write what the event says, if it is time to."""
        with self._lock:
            self._told(event)

    def tick(self) -> None:
        """Write how far it is, if it is time to, although nothing has happened."""
        with self._lock:
            if not self._over and self._clock() >= self._due:
                self._write_where()

    def _told(self, event: Event) -> None:
        if isinstance(event, Said | Decided | Ended):
            self._write(said(event))
            self._over = isinstance(event, Ended)
            if isinstance(event, Decided):
                self._picture.decided(event)
            return
        self._picture.see(event)
        now = self._picture.now
        phase, ended = type(now).__name__, isinstance(now, Delivering) and now.done == now.rows
        if not self._phase and isinstance(now, Profiling):
            self._phase, self._due = phase, self._clock() + FIRST
            self._write(BEGUN)
        if phase != self._phase or ended or self._clock() >= self._due:
            self._phase = phase
            self._write_where()
            self._over = ended

    def _write_where(self) -> None:
        now, self._due = self._picture.now, self._clock() + LINE
        self._write(sentence(self._picture, now.outlook if isinstance(now, Profiling) else None))


@contextmanager
def live(console: Console | None = None, budget: float | None = None) -> Iterator[Listener]:
    """A live picture: per candidate its agreement with limits while profiling, a bar while delivering. It is drawn a
    few times a second whether something happens or not, so that a waiting person sees time go by."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = console or Console(stderr=True)
    picture = Picture(time.monotonic, budget)

    def drawn() -> Group:
        return _drawn(picture, console.width)

    with Live(console=console, get_renderable=drawn, refresh_per_second=REDRAWS, transient=True) as display:

        def listen(event: Event) -> None:
            if isinstance(event, Said | Decided | Ended):
                console.print(Text("\n".join(wrapped([said(event)], console.width))))
                if isinstance(event, Decided):
                    picture.decided(event)
                return
            first = picture.now is None
            picture.see(event)
            if first:
                display.refresh()

        yield listen


def _drawn(picture: Picture, width: int) -> Group:
    """A blank line, what is going on, a bar where it is known how much is left, money, and the candidates."""
    from rich.console import Group
    from rich.text import Text

    share, whole = picture.share, min(WIDEST, width)
    filled = round(whole * (share or 0.0))
    bar = [] if share is None else [Text.assemble(("━" * filled, "green"), ("─" * (whole - filled), "dim"))]
    table = picture.table(width)
    lines = [picture.foot(), *([""] * bool(table)), *table]
    shown = [Text(cut(line, width), no_wrap=True) for line in lines if line or table]
    return Group(Text(""), Text(cut(picture.head(), width), no_wrap=True), *bar, *shown)
