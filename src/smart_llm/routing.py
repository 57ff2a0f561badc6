"""Rules: which model's answer a row is delivered.

Rules speak of rows: which share of them goes to a candidate, whose score stands before the stopping row's, and, where
scores tie, whose blank score does. Rows that ask the same may differ in that. They are delivered alike all the same: by
a candidate where the rule gives that candidate to every one of them, and by the reference otherwise, so also where the
reference was asked about one of them. Handing a row to the reference instead of a candidate never adds a miss. This is
decided before any of them is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smart_llm.ledger.aside import Aside
from smart_llm.scores.traits import values
from smart_llm.stats.sampling import uniforms
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


def reaches(tier: Tier, u: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Shape (n,): about which rows the tier's models are asked: not those that stand behind its stop in any case."""
    return before(np.zeros(len(u)), u, tier.stop) if tier.blank else np.ones(len(u), dtype=bool)


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
        here = np.flatnonzero(reaches(tier, u[positions[open_]]))
        asked = positions[open_[here]]
        taken = here[accepts(tier, ask(asked, tier.models), u[asked])]
        chosen[open_[taken]] = tier.candidate
        open_ = np.delete(open_, taken)
    return chosen


Entry = TypeVar("Entry", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Alike:
    """Which rows ask the same. groups: shape (rows,), the number of each row's request, counted from 0."""

    groups: NDArray[np.int32]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.groups)

    @cached_property
    def distinct(self) -> int:
        """How many different requests there are."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def repeated(self) -> Ints:
        """The rows that ask what another row asks, increasing."""
        return np.flatnonzero(np.bincount(self.groups, minlength=self.distinct)[self.groups] > 1)

    @property
    def any(self) -> bool:
        """Whether any two rows ask the same."""
        return self.distinct < self.rows

    def members(self, position: int) -> Ints:
        """The rows that ask what this one asks, itself among them."""
        if not self.any:
            return np.array([position])
        group = int(self.groups[position])
        return self._order[self._starts[group] : self._starts[group + 1]].astype(np.int64)

    def least(self, values: NDArray[Entry]) -> NDArray[Entry]:
        """Shape (rows,): the least value among the rows that ask the same."""
        return self._each(np.minimum, values)

    def most(self, values: NDArray[Entry]) -> NDArray[Entry]:
        """Shape (rows,): the greatest of them."""
        return self._each(np.maximum, values)

    def _each(self, combine: np.ufunc, values: NDArray[Entry]) -> NDArray[Entry]:
        if not self.any:
            return values
        combined: NDArray[Entry] = combine.reduceat(values[self._order], self._starts[:-1])
        return combined[self.groups]

    @cached_property
    def _order(self) -> NDArray[np.int32]:
        return np.argsort(self.groups, kind="stable").astype(np.int32)

    @cached_property
    def _starts(self) -> Ints:
        return np.concatenate([[0], np.cumsum(np.bincount(self.groups, minlength=self.distinct))])


@dataclass(frozen=True)
class Routing:
    """Which answer the rows get that profiling left. Arrays have one entry per row, and rows that ask the same have the
    same. chosen: the model that answers first (0 = reference); with a cascade, 1 where the cascade decides. low, high:
    the least and the greatest blank score among the rows that ask the same (empty without a cascade)."""

    cascade: Cascade | None
    chosen: NDArray[np.int8]
    low: NDArray[np.uint64]
    high: NDArray[np.uint64]

    @classmethod
    def of(
        cls, verdict: Verdict, seed: int, aside: Aside, alike: Alike, kept: NDArray[np.bool_] | None = None
    ) -> Routing:
        """By a certified rule, for the whole table. kept: shape (rows,), rows set aside that a candidate answers, as in
        an earlier run: those that ask the same may be left to it, too."""
        none, rows = np.empty(0, np.uint64), len(aside.population)
        if not isinstance(verdict.rule, Cascade):
            chosen = aside.spread(assign(verdict, seed, rows).astype(np.int8))
            least = alike.least(chosen)
            return cls(None, np.where(least == alike.most(chosen), least, np.int8(0)), none, none)
        open_ = aside.spread(np.ones(rows, np.int8))
        open_[aside.population[verdict.profiled]] = 0
        low = high = aside.spread(uniforms(seed, "shares", rows))
        if kept is not None:
            open_[kept], low = 1, np.where(kept, np.iinfo(np.uint64).max, low)
        return cls(verdict.rule, alike.least(open_), alike.least(low), alike.most(high))
