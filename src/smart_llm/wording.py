"""Options in messages: written once, as on the command line, and said in the words of whoever reads them.

A message in the code says `--budget -1: give USD, more than 0.` The command line shows it as it is; a Python program,
and a notebook, reads `budget=-1: give USD, more than 0.` Whole commands (`smart verify FILE --ledger FILE`) stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

OTHERWISE = {
    "candidate": "candidates",
    "prompt-file": "prompt",
    "batch-poll": "BatchOptions(poll)",
    "batch-rows": "BatchOptions(rows)",
}
"""Options with another name in Python."""
SWITCHES = {
    **{name: f"{name.replace('-', '_')}=True" for name in ("batch", "explode", "header", "safe-csv", "skip-empty")},
    "no-header": "header=False",
    "no-store-text": "store_text=False",
    "no-scores": "scores=False",
}
"""Options that take no value."""
VERBS = "run|plan|report|runs|replay|verify|demo|doctor|models|mock-provider"
COMMAND = re.compile(rf"\bsmart (?:{VERBS})\b.*?(?=[;,\n]|\.\s|\.?$)")
NAME = r"(?<![\w-])--(?P<name>[a-z]+(?:-[a-z]+)*)"
OPENING = re.compile(
    rf"{NAME} (?!(?:and|or|goes|says|can|\S+ needs)\b)(?P<value>(?:(?!: | --|\n).){{1,300}})(?P<colon>: )"
)
"""What a message begins with: an option, and what it was given."""
OPTION = re.compile(
    NAME
    + r"(?: (?P<value>[A-Z]{3,}\b|(?:auto|double|backslash|none|errors|broken|json|reference-only|ladder|per-label)\b"
    r"|ray(?::[\w.:/-]*\w)?\b|smart/2024(?::[\w-]+)?|\d+(?:\.\d+)?"
    r"|\S+(?= is (?:given twice|the reference))))?(?P<colon>: )?"
)
"""An option anywhere; its value where it can be nothing else."""

_on_the_command_line = False


@contextmanager
def on_the_command_line() -> Iterator[None]:
    """As long as the block lasts, messages are read by somebody who typed a command."""
    global _on_the_command_line
    before, _on_the_command_line = _on_the_command_line, True
    try:
        yield
    finally:
        _on_the_command_line = before


def worded(message: str) -> str:
    """A message as its reader knows the options."""
    return message if _on_the_command_line else in_python(message)


def in_python(message: str) -> str:
    """A message with the options of the command line named as keywords of Python."""
    if "--" not in message:
        return message
    message = OPENING.sub(_keyword, message, count=1) if OPENING.match(message) else message
    kept = list(COMMAND.finditer(message))
    ends = [0, *(each.end() for each in kept)]
    starts = [*(each.start() for each in kept), len(message)]
    between = [OPTION.sub(_keyword, message[end:start]) for end, start in zip(ends, starts, strict=True)]
    return "".join(part for pair in zip(between, [*(each[0] for each in kept), ""], strict=True) for part in pair)


def _keyword(option: re.Match[str]) -> str:
    written, colon = option["name"], option["colon"] or ""
    value = option["value"] or ""
    if written in SWITCHES and not value:
        return SWITCHES[written] + colon
    name = OTHERWISE.get(written, written.replace("-", "_"))
    if name == "candidates" and value:
        return f"candidates: {value}{colon}"
    if not value:
        return f"{name}{colon}" if colon or name in OTHERWISE.values() else f"{name}="
    bare = value[0] in "'\"[{(<-" or value.isupper() or re.fullmatch(r"[\d.e+-]+|True|False|None|inf|nan", value)
    return f"{name}={value}{colon}" if bare else f"{name}={value!r}{colon}"
