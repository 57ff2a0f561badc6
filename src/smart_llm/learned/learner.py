"""`learned` for the rows of one table: taught with some of them, asked about any, in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from smart_llm.learned.earlier import NOTHING, Earlier, like
from smart_llm.learned.features import Rows
from smart_llm.learned.fitting import Recipe, Recipes, learn, learn_fields
from smart_llm.learned.model import Answering, Said
from smart_llm.learned.space import COUNTED, READ, SLICE, Singles, Space

Ints = NDArray[np.int64]
FEW = 2_000
"""Rows from which it names the ones it is least sure of, where their vectors are paid for."""
KEPT = 100_000
"""Rows of a table whose features are held. Of a larger one those of so many rows, spread evenly, from which it names
the ones it is least sure of; the features of the others are made again when they are needed."""


class Shelf:
    """A table's texts, and what is made of them before anybody is asked. It is the same for all runs over them."""

    def __init__(
        self, rows: int, texts: Callable[[Ints], Sequence[str]], vectors: Callable[[Ints], Singles] | None = None
    ) -> None:
        """vectors: of these rows' texts, where they have any and those of these rows are known."""
        self.rows, self.texts, self.vectors = rows, texts, vectors
        self._space: Space | None = None
        self._features: Rows | None = None
        self.pool = self._spread(KEPT)

    @property
    def space(self) -> Space:
        """Made on first use."""
        if self._space is None:
            self._space = Space.of(self.texts(self._spread(COUNTED)), self.texts(self._spread(READ)))
        return self._space

    def _spread(self, count: int) -> Ints:
        """So many rows, spread evenly over the table."""
        return np.unique(np.linspace(0, self.rows - 1, min(count, self.rows)).astype(np.int64))

    def features(self, positions: Ints) -> Rows:
        """Of these rows."""
        if len(positions) <= SLICE // 4 or self.rows > KEPT:
            return self.space.rows(self.texts(positions))
        return self.of_pool()[positions]

    def of_pool(self) -> Rows:
        """Of the rows of the pool."""
        if self._features is None:
            self._features = self.space.rows(self.texts(self.pool))
        return self._features


class Learner:
    """One run's model of a table. recipes: by which the next lesson begins to search. fields: of JSON answers, each of
    which has a model of its own; none of labels. earlier: what it is taught with in every lesson, besides rows of the
    run (nothing where texts have vectors, since those texts have none); of_earlier: what is said of these, each by a
    model that had not seen it. few: rows from which it names those it is least sure of, where their vectors are paid
    for."""

    def __init__(
        self,
        shelf: Shelf,
        fitted: Answering | None = None,
        fields: Sequence[str] = (),
        earlier: Earlier = NOTHING,
    ) -> None:
        self._shelf, self.fitted, self._fields, self.few = shelf, fitted, fields, FEW
        self.recipes: Recipes = (Recipe(),)
        self.earlier, self._known = earlier, None
        self.of_earlier: Said | None = None

    def teach(self, positions: Ints, labels: Sequence[str | None], *, by_vectors: bool = True) -> Said | None:
        """Learn from these rows, what is known from earlier, and no others; what is said of each of them by a model
        that had not seen it (label −1, odds NaN where it has no label). None: there is nothing to learn from.
        by_vectors: whether those of their texts may be looked at, where there are any."""
        known, earlier = np.array([label is not None for label in labels], bool), self.earlier
        if not known.any() and not earlier.texts:
            self.fitted = None
            return None
        at, before = positions[known], len(earlier.texts)
        _, same = np.unique(np.array([*earlier.texts, *self._shelf.texts(at)], dtype=object), return_inverse=True)
        told = [*earlier.labels, *(label for label in labels if label is not None)]
        vectors = self._shelf.vectors(at) if by_vectors and self._shelf.vectors is not None else None
        said = self._learn(self._rows(at), told, same, vectors)
        self.of_earlier = Said(said.label[:before], said.odds[:before])
        label, odds = np.full(len(positions), -1), np.full(len(positions), np.nan)
        label[known], odds[known] = said.label[before:], said.odds[before:]
        return Said(label, odds)

    def _learn(self, rows: Rows, told: Sequence[str], same: Ints, vectors: Singles | None) -> Said:
        space = self._shelf.space
        if self._fields:
            self.fitted, self.recipes, said = learn_fields(space, rows, told, same, self.recipes, self._fields, vectors)
            return said
        learned = learn(space, rows, told, same, self.recipes[0], vectors)
        self.fitted, self.recipes = learned.fitted, (learned.recipe,)
        return learned.said

    def _rows(self, positions: Ints) -> Rows:
        """Features of what is known from earlier, then of these rows."""
        from scipy.sparse import vstack

        rows = self._shelf.features(positions)
        if not self.earlier.texts:
            return rows
        if self._known is None:
            self._known = self._shelf.space.rows(self.earlier.texts)
        return vstack([self._known, rows], format="csr")  # type: ignore[call-overload]

    def like_left(self, asked: Ints) -> Ints:
        """Which of the rows known from earlier are like those of the table that were not asked about."""
        if self.of_earlier is None or self.fitted is None:
            return asked[:0]
        left = np.flatnonzero(~np.isin(self._shelf.pool, asked))
        return like(self.of_earlier.odds, self.fitted.of_rows(self._shelf.of_pool()[left], None).odds)

    def said(self, positions: Ints) -> Said:
        """Of any rows, by the model of the last lesson."""
        assert self.fitted is not None
        label, odds = np.empty(len(positions), np.int64), np.empty(len(positions))
        for start in range(0, len(positions), 8 * SLICE):
            part = slice(start, start + 8 * SLICE)
            of = self.fitted.of_rows(self._shelf.features(positions[part]), self._vectors(positions[part]))
            label[part], odds[part] = of.label, of.odds
        return Said(label, odds)

    def least_sure(self, asked: Ints, count: int) -> tuple[Ints, NDArray[np.float64]]:
        """So many of the rows of the pool that were not asked about, those it is least sure of, and how sure; the least
        sure first,
        equally sure ones in the table's order."""
        if self.fitted is None or not count:
            return asked[:0], np.empty(0)
        left = self._namable()
        left = left[~np.isin(self._shelf.pool[left], asked)]
        if not len(left):
            return asked[:0], np.empty(0)
        odds = self.fitted.of_rows(self._shelf.of_pool()[left], self._vectors(self._shelf.pool[left])).odds
        first = np.argsort(odds, kind="stable")[:count]
        return self._shelf.pool[left[first]], odds[first]

    @property
    def named_of(self) -> float:
        """Which share of the rows it names those from that it is least sure of."""
        return len(self._namable()) / self._shelf.rows

    @property
    def namable(self) -> Ints:
        """The rows that it names any of: where it looks at vectors, which are paid for, few."""
        return self.namable_of(few=self.fitted is not None and self.fitted.embeds)

    def namable_of(self, *, few: bool) -> Ints:
        """The same, for a model that looks at vectors, or for one that does not."""
        return self._shelf.pool[self._spread(few=few)]

    def _namable(self) -> Ints:
        return self._spread(few=self.fitted is not None and self.fitted.embeds)

    def _spread(self, *, few: bool) -> Ints:
        count = len(self._shelf.pool)
        return np.unique(np.linspace(0, count - 1, min(count, self.few) if few else count).astype(np.int64))

    def _vectors(self, positions: Ints) -> Singles | None:
        if self.fitted is None or not self.fitted.embeds:
            return None
        assert self._shelf.vectors is not None
        return self._shelf.vectors(positions)
