"""`smart replay` and `smart verify`: what a procedure would have done, and whether a certificate holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.options import Agreement, AsJson, Candidates, Confidence, Procedure, Reference
from smart_llm.cli.printing import print_json, short
from smart_llm.engine.options import DEFAULT


def replay(
    recorded: Annotated[
        Path, typer.Argument(metavar="RECORDED", help="Recorded answers: item_id, model, answer, cost_usd[, score].")
    ],
    *,
    reference: Reference,
    candidate: Candidates = None,
    agreement: Agreement = DEFAULT["agreement"],
    confidence: Confidence = DEFAULT["confidence"],
    trials: Annotated[int, typer.Option(help="How many runs, with seeds SEED, SEED+1, …")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    procedure: Procedure = DEFAULT["procedure"],
    floor: Annotated[str, typer.Option(help="Deliver no candidate that may agree on less than this share.")] = DEFAULT[
        "floor"
    ],
    no_scores: Annotated[bool, typer.Option(help="Hide the models' own confidence.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a procedure on recorded answers.

    What it would have cost, seed by seed, and whether it would have kept its promise.
    """
    from smart_llm.simulation.replay import replay as play

    figures = play(
        recorded,
        reference=reference,
        candidates=candidate,
        agreement=agreement,
        confidence=confidence,
        trials=trials,
        seed=seed,
        procedure=procedure,
        scores=not no_scores,
        floor=floor,
    ).to_json()
    if as_json:
        print_json(figures)
    else:
        print("\n".join(f"{name:22} {short(value)}" for name, value in figures.items()))


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

    value = read(certificate)
    problems = check(value, ledger)
    if as_json:
        print_json({"verifies": not problems, "status": value.get("status"), "problems": problems})
    elif not problems:
        print(f"verifies: {value['claim']['words']}")
    if problems:
        if not as_json:
            print("\n".join(f"smart verify: {problem}" for problem in problems[:20]), file=sys.stderr)
        raise typer.Exit(5)
