"""`smart verify`: whether a certificate holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json


def verify(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="OUT.certificate.json")],
    *,
    ledger: Annotated[Path | None, typer.Option(help="Also count the evidence again from the ledger.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a certificate.

    Recomputes its verdict from its own evidence; with the ledger, from what was bought.
    """
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
