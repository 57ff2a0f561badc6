"""`smart runs` and `smart report`: what ledgers remember."""

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
    typer.Option("--ledger", help="Default: the ledgers in this folder, and those of tables in memory."),
]


def runs(*, ledger: Ledgers = None, as_json: AsJson = False) -> None:
    """List the runs that ledgers remember.

    This folder's first, oldest first. Cheaper: than the reference alone, with what the run paid and the answers it
    re-used counted alike.
    """
    from smart_llm.reports import history

    here, elsewhere = (_runs(places, asked=bool(ledger)) for places in _places(ledger))
    if as_json:
        print_json({"runs": [each.to_json() for each in (*here, *elsewhere)]})
    elif here or elsewhere:
        print("\n".join(history.table(here, width())), end="\n" * bool(here))
        if elsewhere:
            print("of tables in memory (their ledgers are in your user folder):")
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
        except LedgerError as error:
            if asked:
                raise
            say(f"smart: {error}")
    return sorted(found, key=lambda each: each.started)


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or its beginning (smart runs), or last.")],
    *,
    html: Annotated[Path | None, typer.Option(help="Where the page goes. Default: report-RUN.html.")] = None,
    ledger: Ledgers = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run: one HTML file.

    Made from the ledger alone, at any time: while the run goes on, after it was stopped, or years later. last: the
    latest run in the ledgers of this folder, or of a table in memory where there is none.
    """
    from smart_llm.reports import history
    from smart_llm.reports import report as make

    place, name = history.whereabouts(ledger or None, run)
    path = html or Path(f"report-{name}.html")
    make.report(name, path, ledger=place)
    if as_json:
        print_json({"run": name, "ledger": str(place), "report": str(path)})
    else:
        print(f"report: {path} (run {name}, ledger {place})")
