"""Rows that end without an answer although profiling did not show it: how many of them a certified rule covers.

A part of the allowance, the reserve, is kept for them from the beginning. Procedures that deliver before a stopping row
pay for rows of the pilot without an answer out of the same reserve, and say in their evidence what is left of it. A mix
takes those out of its allowance, so its reserve stays whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from smart_llm.types import Json


def covered(evidence: Mapping[str, Json], reserve: int) -> int:
    """How many rows may be left without an answer by a rule with this evidence. reserve: the plan's."""
    left: int = evidence.get("reserve", reserve)
    return min(reserve, left)
