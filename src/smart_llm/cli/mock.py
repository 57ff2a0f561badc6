"""`smart mock-provider`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.options import shares
from smart_llm.cli.printing import say, say_out
from smart_llm.errors import InputError

GUESSES = (
    "\nIt answers what the question names, a number where it asks how many, else yes or no; for other answers start it "
    "with --rule label:A,B or --rule number:LOW,HIGH."
)


def mock_provider(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    rule: Annotated[
        str,
        typer.Option(
            help="How to answer: label:a,b  number:LOW,HIGH  echo; guess: what the question names (good or bad?), a "
            "number where it asks how many, else yes or no."
        ),
    ] = "guess",
    answers: Annotated[Path | None, typer.Option(help="Answer from a recorded table instead.")] = None,
    error: Annotated[list[str] | None, typer.Option(help="MODEL=SHARE of prompts it answers otherwise.")] = None,
    break_contract: Annotated[list[str] | None, typer.Option(help="MODEL that never keeps the contract.")] = None,
    chat: Annotated[list[str] | None, typer.Option(help="MODEL=SHARE of prompts that it chats about.")] = None,
    keep: Annotated[
        str, typer.Option(help="Ways to keep a model to labels that it takes: none schema choice both.")
    ] = "none",
    refuse_logprobs: Annotated[bool, typer.Option(help="Refuse requests for log-probabilities.")] = False,
    latency: Annotated[float, typer.Option(help="Seconds per call.")] = 0.0,
    jitter: Annotated[float, typer.Option(help="Seconds added at random.")] = 0.0,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute.")] = None,
    faults: Annotated[float, typer.Option(help="Share of calls for every kind of fault.")] = 0.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="KIND=SHARE: throttle error hang drop broken truncated.")
    ] = None,
    hang: Annotated[float, typer.Option(help="Seconds a silent call lasts.")] = 60.0,
    pause: Annotated[float, typer.Option(help="Seconds a 429 asks to wait.")] = 0.05,
    batch_seconds: Annotated[float, typer.Option(help="Seconds a batch takes.")] = 0.1,
    batch_fault: Annotated[
        list[str] | None, typer.Option(help="KIND=SHARE: error lost late truncated fail expire cancel line odd.")
    ] = None,
    queue_tokens: Annotated[int | None, typer.Option(help="Tokens a model may have queued in batches.")] = None,
    pack: Annotated[
        list[str] | None, typer.Option(help="KIND=SHARE, of rows asked in packs: worse together omit double spoil.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of faults, jitter and answers.")] = 0,
) -> None:
    """Stand in for a provider.

    A server on this machine that speaks the protocols of OpenAI and Anthropic, answers by rule, and fails as real ones
    do.
    """
    from smart_llm.mock.batches import BatchFaults, BatchSettings
    from smart_llm.mock.faults import Faults
    from smart_llm.mock.limits import Limits
    from smart_llm.mock.packs import Packs
    from smart_llm.mock.server import serve

    serve(
        ready=lambda url: _ready(url, rule, shares("--error", error)),
        answers=answers,
        rule=rule,
        errors=shares("--error", error),
        break_contract=break_contract or [],
        chats=shares("--chat", chat),
        keeps=keep,
        refuse_logprobs=refuse_logprobs,
        latency=latency,
        jitter=jitter,
        limits=Limits(rpm, tpm),
        faults=Faults(**_shares_of(Faults, "--fault", fault, faults)),
        hang=hang,
        pause=pause,
        batches=BatchSettings(
            working=batch_seconds,
            queue_tokens=queue_tokens,
            faults=BatchFaults(**_shares_of(BatchFaults, "--batch-fault", batch_fault)),
        ),
        packs=Packs(**_shares_of(Packs, "--pack", pack)),
        seed=seed,
        host=host,
        port=port,
    )


def _ready(url: str, rule: str, strays: Mapping[str, float]) -> None:
    """Where it is, on stdout; how to use it, on stderr. strays: model → share of prompts that it answers otherwise."""
    small = next(iter(strays), "small")
    say_out(f"mock provider at {url}")
    kind, _, labels = rule.partition(":")
    contract = {"label": f" --labels {labels}", "number": " --answer number", "guess": " --labels good,bad"}.get(
        kind, ""
    )
    question = "Good or bad?" if kind == "guess" else "…"
    say(
        f'try it: smart run TABLE.csv --prompt "{question} {{COLUMN}}"{contract} \\\n'
        f'  --reference "openai:big@{url}?in=10&out=10" --candidate "openai:{small}@{url}?in=1&out=1"\n'
        + ("" if strays else "(with --error small=0.04 the candidate strays in 4 % of the rows)")
        + GUESSES * (kind == "guess")
    )


def _shares_of(kinds: type, option: str, pairs: list[str] | None, default: float = 0.0) -> dict[str, float]:
    """KIND=SHARE pairs, for the kinds that a dataclass has as fields."""
    known = [field.name for field in fields(kinds)]
    given = shares(option, pairs)
    if unknown := set(given) - set(known):
        raise InputError(f"{option} {min(unknown)}: no such kind; there are {', '.join(known)}.")
    return {**dict.fromkeys(known, default), **given}
