"""`smart runs` and `smart report`: what ledgers remember."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json, say, width

Ledgers = Annotated[
    list[Path] | None,
    typer.Option("--ledger", help="Default: *.ledger.db in this folder, and those of tables in memory."),
]


def runs(*, ledger: Ledgers = None, as_json: AsJson = False) -> None:
    """List the runs that ledgers remember."""
    from smart_llm.errors import LedgerError
    from smart_llm.reports import history

    found: list[history.Past] = []
    for path in ledger or history.here():
        try:
            found += history.past(path)
            for sentence in history.unreadable(path):
                say(f"smart: {sentence}")
        except LedgerError as error:
            if ledger:
                raise
            say(f"smart: {error}")
    found.sort(key=lambda each: each.started)
    if as_json:
        print_json({"runs": [each.to_json() for each in found]})
    elif found:
        print("\n".join(history.table(found, width())))
    else:
        print("no runs here yet", file=sys.stderr)


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or its beginning (smart runs), or last.")],
    *,
    html: Annotated[Path | None, typer.Option(help="Where the page goes. Default: report-RUN.html.")] = None,
    ledger: Ledgers = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run: one HTML file.

    Made from the ledger alone, at any time: while the run goes on, after it was stopped, or years later.
    """
    from smart_llm.reports import history
    from smart_llm.reports import report as make

    place, name = history.whereabouts(ledger or history.here(), run)
    path = html or Path(f"report-{name}.html")
    make.report(name, path, ledger=place)
    if as_json:
        print_json({"run": name, "ledger": str(place), "report": str(path)})
    else:
        print(f"report: {path}")
