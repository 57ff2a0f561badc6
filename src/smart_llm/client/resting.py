"""A row that waits out a rate limit of its own needs nobody: whoever asks many rows, a few at a time, may begin another
one meanwhile. How many rest is told to whoever asks, by its context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TELL: ContextVar[Callable[[int], None]] = ContextVar("TELL")
"""Is called with 1 when a row begins to rest, with -1 when it goes on."""


@contextmanager
def resting() -> Iterator[None]:
    """The row that is asked in this context waits, as long as the block lasts."""
    tell = TELL.get(None)
    if tell is None:
        yield
        return
    tell(1)
    try:
        yield
    finally:
        tell(-1)
