"""`smart mock-provider`."""

from __future__ import annotations

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
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on. 0 takes a free one.")] = 8000,
    rule: Annotated[
        str,
        typer.Option(
            help="How to answer: label:A,B, number:LOW,HIGH, echo or guess. guess takes what the question names (good "
            "or bad?), a number where it asks how many, and else yes or no."
        ),
    ] = "guess",
    answers: Annotated[Path | None, typer.Option(help="A table of recorded answers to use instead of a rule.")] = None,
    error: Annotated[
        list[str] | None, typer.Option(help="The share of prompts to which this model gives another answer.")
    ] = None,
    break_contract: Annotated[
        list[str] | None, typer.Option(help="A model that never keeps the output contract.")
    ] = None,
    chat: Annotated[
        list[str] | None, typer.Option(help="The share of prompts to which this model chats around its answer.")
    ] = None,
    keep: Annotated[
        str, typer.Option(help="Which ways of keeping a model to labels it supports: none, schema, choice or both.")
    ] = "none",
    refuse_logprobs: Annotated[bool, typer.Option(help="Refuse requests for log-probabilities.")] = False,
    latency: Annotated[float, typer.Option(help="How long a call takes.")] = 0.0,
    jitter: Annotated[float, typer.Option(help="How much longer a call may take, at random.")] = 0.0,
    rpm: Annotated[int | None, typer.Option(help="The limit of requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="The limit of tokens per minute.")] = None,
    faults: Annotated[float, typer.Option(help="The share of calls that fail, for each kind of fault.")] = 0.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="The same for one kind: throttle, error, hang, drop, broken or truncated.")
    ] = None,
    hang: Annotated[float, typer.Option(help="How long a call that hangs lasts.")] = 60.0,
    pause: Annotated[float, typer.Option(help="How long a 429 asks the client to wait.")] = 0.05,
    batch_seconds: Annotated[float, typer.Option(help="How long a batch takes.")] = 0.1,
    batch_fault: Annotated[
        list[str] | None,
        typer.Option(help="Faults of batches: error, lost, late, truncated, fail, expire, cancel, line or odd."),
    ] = None,
    queue_tokens: Annotated[
        int | None, typer.Option(help="How many tokens a model may have queued in batches.")
    ] = None,
    pack: Annotated[
        list[str] | None, typer.Option(help="Faults of rows in packs: worse, together, omit, double or spoil.")
    ] = None,
    seed: Annotated[int, typer.Option(help="A number that decides faults, jitter and answers.")] = 0,
) -> None:
    """Stand in for a provider.

    It is a server on this machine that understands the protocols of OpenAI and Anthropic, answers by a rule, and can
    fail as real ones do.
    """
    from smart_llm.mock.batches import BatchFaults, BatchSettings
    from smart_llm.mock.faults import Faults
    from smart_llm.mock.limits import Limits
    from smart_llm.mock.packs import Packs
    from smart_llm.mock.server import serve

    serve(
        ready=lambda url: _ready(url, rule),
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


def _ready(url: str, rule: str) -> None:
    """Where it is, on stdout; how to use it, on stderr."""
    say_out(f"mock provider at {url}")
    kind, _, labels = rule.partition(":")
    contract = {"label": f" --labels {labels}", "number": " --answer number", "guess": " --labels good,bad"}.get(
        kind, ""
    )
    question = "Good or bad?" if kind == "guess" else "…"
    say(
        f'try it: smart run TABLE.csv --prompt "{question} {{COLUMN}}"{contract} \\\n'
        f'  --reference "openai:big@{url}?in=10&out=10" --candidate "openai:small@{url}?in=1&out=1"\n'
        "(with --error small=0.04 the candidate strays in 4 % of the rows)" + GUESSES * (kind == "guess")
    )


def _shares_of(kinds: type, option: str, pairs: list[str] | None, default: float = 0.0) -> dict[str, float]:
    """KIND=SHARE pairs, for the kinds that a dataclass has as fields."""
    known = [field.name for field in fields(kinds)]
    given = shares(option, pairs)
    if unknown := set(given) - set(known):
        raise InputError(f"{option} {min(unknown)}: no such kind; there are {', '.join(known)}.")
    return {**dict.fromkeys(known, default), **given}
