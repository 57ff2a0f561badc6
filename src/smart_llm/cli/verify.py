"""`smart verify`: whether a certificate holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json


def verify(
    certificate: Annotated[
        Path,
        typer.Argument(
            metavar="CERTIFICATE", help="The certificate (OUT.certificate.json), or the ledger of a gateway."
        ),
    ],
    *,
    ledger: Annotated[
        Path | None, typer.Option(help="The ledger of the run: also count the evidence again from what was bought.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a certificate, or the windows of a gateway.

    Recomputes the verdict of a certificate from its own evidence and, with --ledger, from what was bought. For the
    ledger of a gateway, counts every window again.
    """
    from smart_llm.gateway.verify import is_ledger

    if ledger is None and is_ledger(certificate):
        _windows(certificate, as_json)
        return
    from smart_llm.certificates.certificate import read
    from smart_llm.certificates.verify import verify as check
    from smart_llm.text.names import in_short

    value = read(certificate)
    problems = check(value, ledger)
    if as_json:
        print_json({"verifies": not problems, "status": value.get("status"), "problems": problems})
    elif not problems:
        print(f"verifies: {in_short(value['claim']['words'], [model['name'] for model in value['models']])}")
    if problems:
        if not as_json:
            print("\n".join(f"smart verify: {problem}" for problem in problems[:20]), file=sys.stderr)
        raise typer.Exit(5)


def _windows(ledger: Path, as_json: bool) -> None:
    """Count the windows of a gateway again."""
    from smart_llm.gateway.verify import verify_windows

    found, problems = verify_windows(ledger)
    routes = [series.to_json() for series in found]
    wrong = [*problems, *(f"route {each['route']}: {problem}" for each in routes for problem in each["problems"])]
    if as_json:
        print_json({"verifies": not wrong, "routes": routes, "problems": wrong})
    else:
        for route in routes:
            for window in route["windows"]:
                print(_line(route["route"], window))
        print("\n".join(f"smart verify: {each}" for each in wrong[:20]), file=sys.stderr, end="\n" if wrong else "")
    if wrong:
        raise typer.Exit(5)


def _line(route: str, window: dict[str, Any]) -> str:
    """A window in a line."""
    low, high = window["misses_delivered"]
    return (
        f"{route} window {window['window']}: {window['state']}; {window['decided']} of {window['requests']} requests, "
        f"{window['accepted']} accepted, {window['audited']} audited, {window['misses_found']} misses found; "
        f"{low} to {high} misses delivered, {window['allowance']} allowed; {window['unanswered']} without an answer"
    )
