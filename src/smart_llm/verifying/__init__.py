"""Recomputing a verdict from its evidence, with code that shares nothing with the procedures but their definitions.

Each module has `check(evidence, claim) -> list[str]`: what does not hold, empty when all does. `claim` has rows,
agreement, confidence (exact decimals as text) and reserve. A check must reject evidence in which any one number was
changed: every number is either derived from the others or pinned by a number that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from smart_llm.types import Json

MODULES = {"ladder/1": "ladder_1", "reference-only": "reference_only"}
"""Versioned procedure name → module here."""


def check(procedure: str, evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with a procedure's evidence; an unknown procedure is one (fail closed)."""
    if procedure not in MODULES:
        return [f"procedure {procedure!r} is not known to this version"]
    try:
        problems: list[str] = import_module(f"smart_llm.verifying.{MODULES[procedure]}").check(evidence, claim)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        return [f"the evidence is malformed: {type(error).__name__} {error}"]
    return problems


def allowance(claim: Mapping[str, Json]) -> int:
    """B = N − ⌈agreement · N⌉ − reserve, in integers, from the claim's decimal text."""
    whole, _, decimals = str(claim["agreement"]).partition(".")
    scale = 10 ** len(decimals)
    needed = -(-int(whole + decimals) * int(claim["rows"]) // scale)
    return max(0, int(claim["rows"]) - needed - int(claim["reserve"]))
