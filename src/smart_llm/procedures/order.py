"""Fewer rounds by batch: rows the procedure is about to ask for are bought along with those it asks for now.

A round by batch may take an hour, and a pilot that grows by a few rows at a time takes many. Default procedures profile
rows in one seeded order, whatever they see, so it is known which rows come next. Each round that buys anything goes on
in that order for a bounded number of rows; later asks find their answers in the ledger. What is asked, in which order,
and what counts as evidence stays the procedure's business. The price: at the end, some rows were bought for nothing, at
most half a percent of the table.
"""

from __future__ import annotations

import numpy as np

from smart_llm.procedures import described
from smart_llm.stats.sampling import permutation
from smart_llm.types import CHOSEN, LESSON, Ask, Ints

MOST, SHARE = 400, 200
"""Rows bought ahead in a round: this many, or one in this many of the table, whichever is less."""


class Ahead:
    """Which rows to buy along with an ask. order: all positions in the order of profiling; step: rows per round."""

    def __init__(self, order: Ints, step: int) -> None:
        self._order, self._step, self._until = order, step, 0
        self._rank = np.empty_like(order)
        self._rank[order] = np.arange(len(order))

    @classmethod
    def of_procedure(cls, procedure: str, seed: int, rows: int) -> Ahead:
        """For a procedure by its name; nothing is bought ahead of one that follows another order."""
        if not described(procedure).in_order:
            return cls.never()
        return cls(permutation(seed, "order", rows), min(MOST, rows // SHARE))

    @classmethod
    def never(cls) -> Ahead:
        """Nothing is bought ahead."""
        return cls(np.empty(0, np.int64), 0)

    def along_with(self, ask: Ask) -> Ints:
        """The positions that follow those asked for; none while everything asked for was bought ahead before."""
        if not self._step or not len(ask.positions) or ask.stage in (CHOSEN, LESSON):
            return self._order[:0]
        end = int(self._rank[ask.positions].max()) + 1
        if end <= self._until:
            return self._order[:0]
        self._until = end + self._step
        return self._order[end : self._until]
