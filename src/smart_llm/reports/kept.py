"""What is left of a run that stopped, and where: the last lines of its message. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from shlex import join

from smart_llm.certificates.certificate import Certificate
from smart_llm.text.numbers import usd

LONGEST = 600
"""Characters of a command that is repeated."""


def kept(
    c: Certificate,
    ledger: Path,
    page: str | PathLike[str] | None,
    *,
    output: str | None = None,
    certificate: str | None = None,
    parts: str | None = None,
) -> Iterator[str]:
    """Two lines at most. output: the file where the answered table is to go; parts: the folder, which is written part
    by part."""
    rows, left = c.claim.rows, c.claim.unsettled
    yield f"kept: {rows - left:,} of {rows:,} rows answered, for {usd(c.cost.total)}, in the ledger {ledger}"
    pending = f"{certificate} (pending)" if certificate else None
    written = [str(each) for each in (pending, page, parts and f"the parts of {parts} that are done") if each]
    later = f"; {output} comes once every row is settled" if output else ""
    if written:
        yield f"written: {', '.join(written)}{later}"


def go_on(arguments: list[str], *, budget: float | None, retry: str | None) -> str:
    """The line that says which command goes on. budget: USD, where it was reached; retry: what is to be asked again."""
    command = list(arguments)
    if budget is not None:
        command = _with(command, "--budget", f"{2 * budget:g}")
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
