"""`reference-only` has nothing to prove, and its evidence nothing in it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import convert

from smart_llm.certificates.checks import Given, Promise, Round
from smart_llm.certificates.parts import StatedRule
from smart_llm.types import Json
from smart_llm.types.values import Value


class NoEvidence(Value, frozen=True):
    """Nothing."""


def read(evidence: Json) -> NoEvidence:
    """`ValueError` where there is any."""
    return convert(evidence, NoEvidence)


def check(evidence: NoEvidence, claim: Promise) -> list[str]:
    """There is nothing to check."""
    return []


def recount(evidence: NoEvidence, rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """It profiles nothing."""
    return ["reference-only profiles nothing, yet rows were asked"] if rounds else []


def rule(evidence: NoEvidence) -> StatedRule:
    """No shares."""
    return StatedRule(shares=(), order="hashed")


def profiled(evidence: NoEvidence) -> int:
    """No rows are."""
    return 0


def given(evidence: NoEvidence) -> list[Given]:
    """Nothing was shown."""
    return []


def reserve(evidence: NoEvidence) -> int | None:
    """The plan's stands."""
    return None
