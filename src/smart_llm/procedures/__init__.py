"""Certification procedures by name. A name's meaning never changes; `ladder` alone follows the newest version."""

from __future__ import annotations

from importlib import import_module

from smart_llm.errors import InputError
from smart_llm.types import Procedure

MODULES = {
    "ladder/4": "ladder_4:procedure",
    "per-label/3": "per_label_3:procedure",
    "smart/2024:profile-all": "smart_2024:profile_all",
    "smart/2024:profile-smart": "smart_2024:profile_smart",
    "smart/2024:model-mix": "smart_2024:model_mix",
    "reference-only": "reference_only:procedure",
}
"""Versioned name → module:attribute, loaded on first use."""

ALIASES = {"ladder": "ladder/4", "per-label": "per-label/3", "smart/2024": "smart/2024:model-mix"}


def resolve(name: str) -> str:
    """The full, versioned name behind what the user wrote; `InputError` names those there are."""
    full = ALIASES.get(name, name)
    if full not in MODULES:
        raise InputError(f"--procedure {name}: no such procedure; there are {', '.join([*ALIASES, *MODULES])}.")
    return full


def get(name: str) -> Procedure:
    """The procedure of that name."""
    module, attribute = MODULES[resolve(name)].split(":")
    procedure: Procedure = getattr(import_module(f"smart_llm.procedures.{module}"), attribute)
    return procedure
