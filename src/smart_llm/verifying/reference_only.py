"""`reference-only` has nothing to prove, and its evidence nothing in it."""

from __future__ import annotations

from collections.abc import Mapping

from smart_llm.types import Json


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    return [f"reference-only has no evidence, yet there is {sorted(evidence)}"] if evidence else []
