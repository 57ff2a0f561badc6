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
from smart_llm.reports.progress.picture import Picture
from smart_llm.reports.progress.sentences import said, sentence

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
        self._clock, self._picture = clock, Picture(clock, budget)
        self._lines: list[str] = []
        self._over = False
        self._due, self._handle = 0.0, None

    def __call__(self, event: Event) -> None:
        """Show it, if it is time to."""
        if isinstance(event, Said | Decided | Ended):
            self._lines.append(said(event))
            self._over = isinstance(event, Ended)
            if isinstance(event, Decided):
                self._picture.decided(event)
        else:
            self._picture.see(event)
            if self._clock() < self._due:
                return
        self._due = self._clock() + REDRAW
        self._show(self.html())

    def html(self) -> str:
        """What is shown now; everything escaped. A bar moves to and fro while nobody knows how long it takes."""
        lines, picture = "".join(f"<div>{escape(line)}</div>" for line in self._lines), self._picture
        now = picture.now
        if now is None or self._over:
            return lines
        known = f' value="{now.done}" max="{now.rows}"' if isinstance(now, Delivering) else ""
        bar = f'<progress style="width: 100%; max-width: 40em"{known}></progress>'
        line = sentence(picture, now.outlook if isinstance(now, Profiling) else None)
        return f"{lines}{bar}<div>{escape(line)}</div>"

    def _show(self, html: str) -> None:
        from IPython.display import HTML, display

        page: Any = HTML(html)
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)
