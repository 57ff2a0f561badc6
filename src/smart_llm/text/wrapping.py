"""Long lines for people: broken between words, and what follows stands under where the text began."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

USUAL = 100
"""Columns, where nobody says how many there are."""
HANG = 13
"""Where the text of `  name       text` begins."""


def wrapped(lines: Iterable[str], width: int = USUAL, *, hang: int = HANG) -> list[str]:
    """The lines, none longer than `width` where a space allows it. A line that begins further in than `hang` hangs two
    columns deeper than it begins."""
    return [part for line in lines for part in _one(line, width, hang)]


def _one(line: str, width: int, hang: int) -> list[str]:
    begins = len(line) - len(line.lstrip())
    indent = hang if 0 < begins < hang else begins + 2
    if len(line) <= width or indent > width // 2:
        return [line]
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
