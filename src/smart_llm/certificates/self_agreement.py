"""How often the reference said the same again, as certificates and plans state it."""

from __future__ import annotations

from collections.abc import Sequence

from smart_llm.certificates.parts import SelfAgreement
from smart_llm.stats.clopper_pearson import interval

CONFIDENCE = 0.95


def self_agreement(same: Sequence[bool | None]) -> SelfAgreement:
    """As certificates and plans state it. same: None where a row has no two answers."""
    agreeing, rows = same.count(True), len(same) - same.count(None)
    low, high = interval(agreeing, rows, CONFIDENCE)
    return SelfAgreement(rows=rows, agreeing=agreeing, lower=float(low), upper=float(high), confidence=CONFIDENCE)
