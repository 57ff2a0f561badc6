"""Who answers the rows that profiling left, decided before any of them is asked: equal requests get one answer.

Rules speak of rows: which share of them goes to a candidate, whose score stands before the stopping row's, and, where
scores tie, whose blank score does. Rows that ask the same may differ in that. They are delivered alike all the same: by
a candidate where the rule gives that candidate to every one of them, and by the reference otherwise, so also where the
reference was asked about one of them. Handing a row to the reference instead of a candidate never adds a miss.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smart_llm.cascades import assign
from smart_llm.engine.aside import Aside
from smart_llm.stats.sampling import uniforms
from smart_llm.types import Cascade, Ints, Verdict

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
    def of(cls, verdict: Verdict, seed: int, aside: Aside, alike: Alike) -> Routing:
        """By a certified rule, for the whole table."""
        none, rows = np.empty(0, np.uint64), len(aside.population)
        if not isinstance(verdict.rule, Cascade):
            chosen = aside.spread(assign(verdict, seed, rows).astype(np.int8))
            least = alike.least(chosen)
            return cls(None, np.where(least == alike.most(chosen), least, np.int8(0)), none, none)
        open_ = aside.spread(np.ones(rows, np.int8))
        open_[aside.population[verdict.profiled]] = 0
        u = aside.spread(uniforms(seed, "shares", rows))
        return cls(verdict.rule, alike.least(open_), alike.least(u), alike.most(u))
