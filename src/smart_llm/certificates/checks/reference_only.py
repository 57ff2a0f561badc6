"""`reference-only` has nothing to prove, and its evidence nothing in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smart_llm.certificates.checks import Promise, Round
from smart_llm.certificates.parts import StatedRule
from smart_llm.types import Json


def check(evidence: Mapping[str, Json], claim: Promise) -> list[str]:
    """Problems with the evidence."""
    return [f"reference-only has no evidence, yet there is {sorted(evidence)}"] if evidence else []


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """It profiles nothing."""
    return ["reference-only profiles nothing, yet rows were asked"] if rounds else []


def rule(evidence: Mapping[str, Json]) -> StatedRule:
    """No shares."""
    return StatedRule(shares=(), order="hashed")
