"""Commands as they are to be typed: the one that is being carried out, and the one that goes on after a stop."""

from __future__ import annotations

import sys
from shlex import join

LONGEST = 600
"""Characters of a command that is repeated."""
NOTHING_YET = "stopped before anything was begun: nothing was sent, nothing was spent."


def typed() -> list[str]:
    """The command that is being carried out."""
    module = sys.argv[0].endswith("__main__.py")
    return [*(["python", "-m", "smart_llm"] if module else ["smart"]), *sys.argv[1:]]


def go_on(arguments: list[str], *, budget: float | None = None, retry: str | None = None) -> str:
    """The line that says which command goes on. budget: USD that may be enough, where one was reached; retry: what is
    to be asked again."""
    command = list(arguments)
    if budget is not None:
        command = _with(command, "--budget", f"{budget:g}")
    if retry is not None:
        command = _with(command, "--retry", retry)
    line = join(command)
    if len(line) > LONGEST or "\n" in line or "-" in arguments:
        more = " with a larger --budget" * (budget is not None) + f" with --retry {retry}" * (retry is not None)
        return f"go on: the same command{more}{', and the same input' if '-' in arguments else ''}"
    return f"go on: {line}"


def _with(command: list[str], option: str, value: str) -> list[str]:
    """The command with this option changed, or added."""
    changed, given = list[str](), iter(command)
    for each in given:
        if each == option:
            next(given, None)
        elif not each.startswith(f"{option}="):
            changed.append(each)
    return [*changed, option, value]
