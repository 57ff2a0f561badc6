"""The seed of a run's orders: made from everything that decides its answers, besides what the user asked for.

So another prompt, model, target or table is another order, whatever `--seed` says, and what one run has shown of its
rows is worth nothing for choosing the next one. Where the user gave no seed, a number drawn from the operating system
goes in; and also where a seed alone would not do: where the task refers to what cannot be hashed, and where an earlier
run of the same command was given up because its marks could not be reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from smart_llm.ledger import canonical
from smart_llm.providers.fake import OF_A_PROCESS
from smart_llm.types import Json

LATER = frozenset({"drawn", "given_up", "seed", "models", "reserve", "set_aside"})
"""What a plan says besides what the user decided."""
SAME_ANSWERS = frozenset({"batch"})
"""What the user decided that does not decide answers: a row asked by batch is asked the same."""
BITS = 53
"""Of a seed: few enough that any reader of JSON keeps it whole."""


def decided(plan: Mapping[str, Json]) -> dict[str, Json]:
    """The part of a plan that the user decided: a run is found again by it."""
    return {name: value for name, value in plan.items() if name not in LATER}


def order_seed(plan: Mapping[str, Json], drawn: int | None) -> int:
    """The seed of the orders of a run with this plan. drawn: from the operating system, or None."""
    part = {name: value for name, value in decided(plan).items() if name not in SAME_ANSWERS}
    part = {**part, "settings": lasting(part["settings"])} if "settings" in part else part
    made = blake2b(canonical([drawn, part]), digest_size=8, person=b"smart-llm order").digest()
    return int.from_bytes(made, "big") >> (64 - BITS)


def lasting(settings: Mapping[str, Json]) -> dict[str, Json]:
    """The settings of models without the process that the answers of a `FakeProvider` are of: a test that gives a seed
    has the same order in every process."""
    kept = {model: {k: v for k, v in each.items() if not _of_process(k, v)} for model, each in settings.items()}
    return {model: each for model, each in kept.items() if each}


def _of_process(name: str, value: Json) -> bool:
    return name == "at" and str(value).startswith(OF_A_PROCESS)


def needs_chance(plan: Mapping[str, Json], given_up: int) -> bool:
    """Whether a number must be drawn. given_up: earlier runs of the same command."""
    functions = [plan["task"][role] for role in ("parse", "equivalence")]
    unhashed = any(isinstance(each, dict) and each.get("unhashed") for each in functions)
    return plan["asked_seed"] is None or unhashed or given_up > 0
