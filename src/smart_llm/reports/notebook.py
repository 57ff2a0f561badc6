"""Progress in a notebook: one output that is rewritten in place, through IPython alone.

Bars made of widgets (tqdm.notebook, rich) need `ipywidgets` in the kernel and its counterpart in the front end, and
show nothing of use where one is missing. HTML with a display id needs neither.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

from smart_llm.events import Decided, Delivering, Ended, Event, Profiling, Said
from smart_llm.reports.sentences import Speed, said, sentence

REDRAW = 0.25
"""Seconds between two pictures."""


def in_notebook() -> bool:
    """Whether there is a kernel that shows what it is given (Jupyter, VS Code, Colab), not just an IPython prompt."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class Notebook:
    """The lines said so far and, under them, where the run is."""

    def __init__(self, budget: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget, self._clock, self._speed = budget, clock, Speed(clock)
        self._lines: list[str] = []
        self._now: Event | None = None
        self._due, self._handle = 0.0, None

    def __call__(self, event: Event) -> None:
        """Show it, if it is time to."""
        self._now = (
            event if isinstance(event, Profiling | Delivering) else None if isinstance(event, Ended) else self._now
        )
        if isinstance(event, Delivering):
            self._speed.count(event.done)
        if isinstance(event, Said | Decided | Ended):
            self._lines.append(said(event))
        elif self._clock() < self._due:
            return
        self._due = self._clock() + REDRAW
        self._show(self.html())

    def html(self) -> str:
        """What is shown now; everything escaped."""
        lines = "".join(f"<div>{escape(line)}</div>" for line in self._lines)
        if not isinstance(self._now, Profiling | Delivering):
            return lines
        total = self._now.rows if isinstance(self._now, Delivering) else self._now.asked
        bar = f'<progress style="width: 100%; max-width: 40em" value="{self._now.done}" max="{total}"></progress>'
        return f"{lines}{bar}<div>{escape(sentence(self._now, self._speed, self._budget))}</div>"

    def _show(self, html: str) -> None:
        from IPython.display import HTML, display

        page: Any = HTML(html)
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)
