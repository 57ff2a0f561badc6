"""`smart report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json
from smart_llm.cli.runs import Ledgers


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The id of a run or its beginning (smart runs lists them), or last.")
    ],
    *,
    html: Annotated[Path | None, typer.Option(help="Where to write the page. Default: report-RUN.html.")] = None,
    ledger: Ledgers = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run as one HTML file.

    The report is made from the ledger alone, at any time: while the run goes on, after it was stopped, or years later.
    last stands for the latest run in the ledgers of this folder or, if there is none, for the latest run on a table in
    memory.
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
