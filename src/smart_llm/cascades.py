"""Rules: which model's answer a row is delivered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from smart_llm.stats.sampling import uniforms
from smart_llm.tasks.scores import values
from smart_llm.types import DEFER, Answers, Cascade, Floats, Gate, Ints, Mix, Tier, Verdict


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
    """Shape (rows,): the model index that answers each row first under a `Mix` (0 = reference; profiled rows are the
    reference's). A `Cascade` is not known beforehand: see `route`."""
    chosen = np.zeros(rows, dtype=np.int64)
    if isinstance(verdict.rule, Mix) and verdict.rule.shares:
        order = share_order(verdict.rule, seed, rows, verdict.profiled)
        start = 0
        for candidate, count in verdict.rule.shares:
            chosen[order[start : start + count]] = candidate
            start += count
    return chosen


def before(score: Floats, u: NDArray[np.uint64], stop: tuple[float, int] | None) -> NDArray[np.bool_]:
    """Shape (n,): which rows stand before `stop` in delivery order (surest first, ties by u); never one without a
    score."""
    if stop is None:
        return ~np.isnan(score)
    return np.asarray((score > stop[0]) | ((score == stop[0]) & (u < np.uint64(stop[1]))))


def accepts(tier: Tier, answers: Answers, u: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Shape (n,): which rows the tier delivers. answers: of `tier.models` to these rows; u: their blank scores."""
    kept = answers.marks[:, tier.candidate] != DEFER
    return np.asarray(kept & before(values(tier.score, answers, tier.candidate), u, tier.stop))


def passes(gate: Gate | None, answers: Answers) -> NDArray[np.bool_]:
    """Shape (n,): which rows may be put to a candidate at all. answers: nobody's need be in them yet."""
    if gate is None:
        return np.ones(len(answers.marks), dtype=bool)
    return np.asarray(values(gate.score, answers, 0) >= gate.floor)


def route(
    rule: Cascade, seed: int, rows: int, positions: Ints, ask: Callable[[Ints, tuple[int, ...]], Answers]
) -> Ints:
    """Shape (n,): the model that answers each of `positions` (0 = reference), asking tier after tier.

    ask: called with the positions that reach a tier and the models it needs (none: what is known beforehand); every
    call is paid for.
    """
    u = uniforms(seed, "shares", rows)
    chosen = np.zeros(len(positions), dtype=np.int64)
    open_ = np.flatnonzero(passes(rule.gate, ask(positions, ()))) if rule.gate else np.arange(len(positions))
    for tier in rule.tiers:
        taken = accepts(tier, ask(positions[open_], tier.models), u[positions[open_]])
        chosen[open_[taken]] = tier.candidate
        open_ = open_[~taken]
    return chosen
