"""Fewer rounds of Python's garbage collector while there is much to do.

What a row leaves behind goes at once, by counting who refers to it. The collector looks for what refers to itself in a
circle, finds next to nothing, and takes a quarter of a run's CPU, since it looks at all that is in flight every few
calls. So it makes a round after many more new objects, as long as the work lasts, and not none: what the user's own
functions leave behind has to go too.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (50_000, 20, 100)
"""New objects before a round; such rounds before one that looks at older objects, and again."""

_before: list[tuple[int, int, int]] = []


@contextmanager
def rarely() -> Iterator[None]:
    """As long as the block lasts, or another one that began meanwhile. Where the user has switched the collector off,
    or made it rarer, it stays so."""
    _before.append(gc.get_threshold())
    if 0 < _before[-1][0] < RARELY[0]:
        gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        before = _before.pop(0)
        if _before:
            _before[0] = before
        elif gc.get_threshold() == RARELY:
            gc.set_threshold(*before)
