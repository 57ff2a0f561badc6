"""What the verbs print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

import typer

from smart_llm.errors import Interrupted

NARROWEST, LONGEST = 40, 120
"""Columns."""


def print_json(value: Any) -> None:
    """Exactly one JSON object on stdout; in ASCII where stdout takes no more than that."""
    plain = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    print(json.dumps(value, ensure_ascii=plain))


def short(value: Any) -> str:
    """A figure in four digits, in as many as it takes where a share would else look like all of it; anything else as it
    is."""
    if not isinstance(value, float):
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return next((text for digits in range(4, 17) if float(text := f"{value:.{digits}g}") != 1), "1")


def say_out(line: str) -> None:
    """A line of the result, at once."""
    print(line, flush=True)


def width() -> int:
    """Columns to write results for: the terminal's, a hundred where there is none."""
    return readable(shutil.get_terminal_size((100, 24)).columns)


def readable(columns: int) -> int:
    """So many columns, but no more than are easy to read; a terminal that does not say counts as a usual one."""
    return min(LONGEST, max(NARROWEST, columns or 80))


def somebody_there() -> bool:
    """Whether there is a person who could be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str) -> None:
    """Go on only if the person at the terminal says yes; `Interrupted` says that nothing was spent."""
    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort:  # Ctrl-C, or the end of what is typed
        say("")
    raise Interrupted("not started, as you said; nothing was spent.")


def say(line: str) -> None:
    """A line beside the result, at once."""
    print(line, file=sys.stderr, flush=True)
