"""`smart runs`: what ledgers remember."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json, say, width

if TYPE_CHECKING:
    from smart_llm.reports import history

Ledgers = Annotated[
    list[Path] | None,
    typer.Option(
        "--ledger", help="The ledger to read. Default: all ledgers in this folder, and those of tables in memory."
    ),
]


def runs(*, ledger: Ledgers = None, as_json: AsJson = False) -> None:
    """List the runs that are recorded in ledgers.

    The runs of this folder come first, the oldest at the top. "Cheaper" compares with the reference alone; answers that
    the run reused count as if it had paid for them.
    """
    from smart_llm.reports import history

    here, elsewhere = (_runs(places, asked=bool(ledger)) for places in _places(ledger))
    if as_json:
        print_json({"runs": [each.to_json() for each in (*here, *elsewhere)]})
    elif here or elsewhere:
        print("\n".join(history.table(here, width())), end="\n" * bool(here))
        if elsewhere:
            print("of tables in memory and from stdin (their ledgers are in your user folder):")
            print("\n".join(history.table(elsewhere, width())))
    else:
        print("no runs here yet", file=sys.stderr)


def _places(ledger: list[Path] | None) -> tuple[list[Path], list[Path]]:
    """The ledgers of this folder, or those that were named, and those of tables in memory."""
    from smart_llm.reports import history

    return (ledger, []) if ledger else (history.near(), history.in_memory())


def _runs(ledgers: list[Path], *, asked: bool) -> list[history.Past]:
    """The runs of these ledgers, oldest first. asked: they were named, so one that cannot be read is an error."""
    from smart_llm.errors import LedgerError
    from smart_llm.reports import history

    found: list[history.Past] = []
    for path in ledgers:
        try:
            found += history.past(path)
            for sentence in history.unreadable(path):
                say(f"smart: {sentence}")
        except LedgerError as error:
            if asked:
                raise
            say(f"smart: {error}")
    return sorted(found, key=lambda each: each.started)
