"""`smart doctor`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json


def doctor(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="The models that a run is to use.")
    ] = None,
    *,
    folder: Annotated[Path | None, typer.Option(help="The folder for ledgers. Default: this one.")] = None,
    offline: Annotated[bool, typer.Option(help="Do not connect to any address.")] = False,
    timeout: Annotated[float, typer.Option(help="How long an address may take to answer.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Check that everything is there that a run needs.

    It checks versions, that a ledger can be written, keys (which are never shown or sent), that addresses answer, and
    local models. It buys nothing. Exit code 2 means that something here is missing, 3 that an address does not answer.
    """
    from smart_llm.cli.diagnosis import examine

    found = asyncio.run(examine(models or [], folder=folder, offline=offline, seconds=timeout))
    if as_json:
        print_json(found.to_json())
    else:
        print(found.text())
    if found.exit_code:
        raise typer.Exit(found.exit_code)
