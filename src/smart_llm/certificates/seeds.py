"""The seed of a run's orders: made from everything that decides its answers, besides what the user asked for.

So another prompt, model, target or table is another order, whatever `--seed` says, and what one run has shown of its
rows is worth nothing for choosing the next one. Where the user gave no seed, a number drawn from the operating system
goes in; and also where a seed alone would not do: where the task refers to what cannot be hashed, where an earlier run
of the same command was given up because its marks could not be reproduced, and where another run in the ledger had the
very order that the seed would make (one by batch, at other prices: its procedure decides otherwise, on rows that have
been seen).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from msgspec.structs import replace

from smart_llm.ledger import RunRecord, canonical
from smart_llm.providers.fake import OF_A_PROCESS
from smart_llm.types.plan import Command, Settings

BITS = 53
"""Of a seed: few enough that any reader of JSON keeps it whole."""


def order_seed(command: Command, drawn: int | None) -> int:
    """The seed of the orders of a run of this command. drawn: from the operating system, or None. Whether rows are
    asked by batch does not matter: they are asked the same."""
    part = replace(command, batch=False, settings=lasting(command.settings))
    made = blake2b(canonical([drawn, part]), digest_size=8, person=b"smart-llm order").digest()
    return int.from_bytes(made, "big") >> (64 - BITS)


def lasting(settings: Settings) -> Settings:
    """The settings of models without the process that the answers of a `FakeProvider` are of: a test that gives a seed
    has the same order in every process."""
    kept = {model: {k: v for k, v in each.items() if not _of_process(k, v)} for model, each in settings.items()}
    return {model: each for model, each in kept.items() if each}


def _of_process(name: str, value: int | str) -> bool:
    return name == "at" and str(value).startswith(OF_A_PROCESS)


def needs_chance(command: Command, given_up: int) -> bool:
    """Whether a number must be drawn. given_up: earlier runs of the same command."""
    unhashed = any(function.unhashed for function in command.task.functions.values())
    return command.asked_seed is None or unhashed or given_up > 0


def seen(command: Command, runs: Sequence[RunRecord]) -> bool:
    """Whether one of these runs had the order that the user's own seed would make. Fakes of another process are other
    models, though a test has its order again."""
    seed = order_seed(command, None)
    return any(
        run.seed == seed and run.readable and canonical(run.plan.settings) == canonical(command.settings)
        for run in runs
    )
