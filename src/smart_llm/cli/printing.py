"""What the verbs print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any


def print_json(value: Any) -> None:
    """Exactly one JSON object on stdout."""
    print(json.dumps(value, ensure_ascii=False))


def short(value: Any) -> str:
    """A figure in four digits; anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say_out(line: str) -> None:
    """A line of the result, at once."""
    print(line, flush=True)


def say(line: str) -> None:
    """A line beside the result, at once."""
    print(line, file=sys.stderr, flush=True)
