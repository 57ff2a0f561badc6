"""`smart doctor`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json


def doctor(
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Models a run is to use.")] = None,
    *,
    folder: Annotated[Path | None, typer.Option(help="Where ledgers are to stand. Default: here.")] = None,
    offline: Annotated[bool, typer.Option(help="Ask no address.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds an address may take.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Say whether everything is there that a run needs.

    Versions, a ledger that works, keys (never shown, never sent), addresses that answer, local models. Buys nothing.
    Exit code 2: something here is missing; 3: an address does not answer.
    """
    from smart_llm.cli.diagnosis import examine

    found = asyncio.run(examine(models or [], folder=folder, offline=offline, seconds=timeout))
    if as_json:
        print_json(found.to_json())
    else:
        print(found.text())
    if found.exit_code:
        raise typer.Exit(found.exit_code)
