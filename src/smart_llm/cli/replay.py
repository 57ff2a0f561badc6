"""`smart replay`: what a procedure would have done on recorded answers."""

from __future__ import annotations

from typing import Annotated

import typer

from smart_llm.cli.options import (
    Agreement,
    AsJson,
    Candidates,
    Confidence,
    Encoding,
    Header,
    Quotes,
    Reference,
    source_of,
)
from smart_llm.cli.printing import print_json, short
from smart_llm.engine.options import DEFAULT


def replay(
    recorded: Annotated[
        str,
        typer.Argument(
            metavar="RECORDED",
            help="A table of answers that models have given: one line for every row and model, with the columns "
            "item_id (which row), model, answer, cost_usd and perhaps score (how sure the model was).",
        ),
    ],
    *,
    reference: Reference,
    candidate: Candidates = None,
    agreement: Agreement = DEFAULT["agreement"],
    confidence: Confidence = DEFAULT["confidence"],
    trials: Annotated[int, typer.Option(help="How many runs to replay, with seeds SEED, SEED+1, …")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    procedure: Annotated[
        str, typer.Option(metavar="NAME", help="How to certify: ladder, reference-only or smart/2024[:VARIANT].")
    ] = DEFAULT["procedure"],
    floor: Annotated[str, typer.Option(help="Deliver no candidate that may agree on less than this share.")] = DEFAULT[
        "floor"
    ],
    encoding: Encoding = None,
    quotes: Quotes = DEFAULT["quotes"],
    header: Header = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="For --candidate learned: the column with the texts, in place of input. May be repeated.",
        ),
    ] = None,
    no_scores: Annotated[bool, typer.Option(help="Hide how sure the models were.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a procedure on recorded answers.

    Shows what the procedure would have cost, seed by seed, and whether it would have kept its promise.
    """
    from smart_llm.simulation.replay import replay as play

    figures = play(
        source_of(recorded),
        reference=reference,
        candidates=candidate,
        agreement=agreement,
        confidence=confidence,
        trials=trials,
        seed=seed,
        procedure=procedure,
        scores=not no_scores,
        floor=floor,
        encoding=encoding,
        quotes=quotes,
        header=header,
        text=text or (),
    ).to_json()
    if as_json:
        print_json(figures)
    else:
        print("\n".join(f"{name:22} {short(value)}" for name, value in figures.items()))
