"""Rules: which model's answer a row is delivered."""

from __future__ import annotations

import numpy as np

from smart_llm.stats.sampling import uniforms
from smart_llm.types import Ints, Mix, Verdict


def share_order(rule: Mix, seed: int, rows: int, profiled: Ints) -> Ints:
    """The rows not profiled, in the order in which shares are handed out."""
    left = np.ones(rows, dtype=bool)
    left[profiled] = False
    positions = np.flatnonzero(left)
    if rule.order == "file":
        return positions
    u = uniforms(seed, "shares", rows)[positions]
    return positions[np.argsort(u, kind="stable")]


def assign(verdict: Verdict, seed: int, rows: int) -> Ints:
    """Shape (rows,): the model index that answers each row first (0 = reference; profiled rows are the reference's)."""
    chosen = np.zeros(rows, dtype=np.int64)
    if verdict.rule.shares:
        order = share_order(verdict.rule, seed, rows, verdict.profiled)
        start = 0
        for candidate, count in verdict.rule.shares:
            chosen[order[start : start + count]] = candidate
            start += count
    return chosen
