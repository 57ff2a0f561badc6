"""Certification procedures by name. A name's meaning never changes; `ladder` alone follows the newest version."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from smart_llm.errors import InputError
from smart_llm.types import Procedure


@dataclass(frozen=True, slots=True)
class Descriptor:
    """All that the rest of the package knows of a procedure.

    name: with its version. run: where it is, module:attribute in this room, loaded on first use. check: the module in
    `certificates.checks` that verifies it. short: what users may write for it. in_order: it profiles a prefix of the
    seeded order, whatever it sees. labels: it makes a promise for every label. floor: the agreement that a delivered
    candidate must have may be raised. candidates: it asks any.
    """

    name: str
    run: str
    check: str
    short: str | None = None
    in_order: bool = False
    labels: bool = False
    floor: bool = True
    candidates: bool = True


DESCRIPTORS = (
    Descriptor("ladder/6", "ladder.taught:procedure", "ladder", short="ladder", in_order=True),
    Descriptor("per-label/3", "per_label:procedure", "per_label", short="per-label", in_order=True, labels=True),
    Descriptor("smart/2024:profile-all", "smart_2024:profile_all", "smart_2024", floor=False),
    Descriptor("smart/2024:profile-smart", "smart_2024:profile_smart", "smart_2024", floor=False),
    Descriptor("smart/2024:model-mix", "smart_2024:model_mix", "smart_2024", short="smart/2024", floor=False),
    Descriptor("reference-only", "reference_only:procedure", "reference_only", candidates=False),
)
DEFAULT, PER_LABEL = DESCRIPTORS[0], DESCRIPTORS[1]
"""What a run uses unless the user says otherwise; with a promise per label."""
BY_NAME = {each.name: each for each in DESCRIPTORS}
ALIASES = {each.short: each.name for each in DESCRIPTORS if each.short is not None}


def resolve(name: str) -> str:
    """The full, versioned name behind what the user wrote; `InputError` names those there are."""
    full = ALIASES.get(name, name)
    if full not in BY_NAME:
        raise InputError(f"--procedure {name}: no such procedure; there are {', '.join([*ALIASES, *BY_NAME])}.")
    return full


def described(name: str) -> Descriptor:
    """The descriptor behind what the user wrote; see `resolve`."""
    return BY_NAME[resolve(name)]


def get(name: str) -> Procedure:
    """The procedure of that name."""
    module, attribute = described(name).run.split(":")
    procedure: Procedure = getattr(import_module(f"smart_llm.procedures.{module}"), attribute)
    return procedure
