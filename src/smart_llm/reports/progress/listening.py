"""Who hears a run's events: the display, if there is to be one, and the user's function.

A function of the user's that fails must not cost what is being bought. The run is stopped cleanly, as by Ctrl-C; then
the user's own exception is raised, with a note on how to go on. Raising one is also a way to stop a run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from smart_llm.errors import Interrupted
from smart_llm.events import Event, Listener, Said, Stop
from smart_llm.reports.progress.display import shown, worth_showing
from smart_llm.wording import worded

NOTE = "The function given as on_event failed, and the run was stopped. What was bought is kept: run again to go on."


class Guarded:
    """A user's listener. Its first failure asks for a stop and is kept; after that it is not called again."""

    def __init__(self, listener: Listener, stop: Stop) -> None:
        self._listener, self._stop = listener, stop
        self.failure: Exception | None = None

    def __call__(self, event: Event) -> None:
        """Hand the event on."""
        if self.failure is not None:
            return
        try:
            self._listener(event)
        except Exception as failure:
            failure.add_note(NOTE)
            self.failure = failure
            self._stop.request()


@contextlib.contextmanager
def listening(on_event: Listener | None, progress: bool | None, budget: float | None, stop: Stop) -> Iterator[Listener]:
    """The listener for a run. progress: None shows it where a person is likely to look and no function listens."""
    guarded = Guarded(on_event, stop) if on_event is not None else None
    show = progress if progress is not None else on_event is None and worth_showing()
    with shown(budget) if show else contextlib.nullcontext() as display:
        hearers = [each for each in (display, guarded) if each is not None]
        try:
            yield lambda event: _tell(hearers, event)
        except Interrupted:
            if guarded is None or guarded.failure is None:
                raise
    if guarded is not None and guarded.failure is not None:
        raise guarded.failure


def _tell(hearers: list[Listener], event: Event) -> None:
    if isinstance(event, Said):
        event = Said(worded(event.text))
    for hear in hearers:
        hear(event)
