"""Which rows of a table a way asks alike, and which of them share a call: plain arrays, which can be sent anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smart_llm.types import Ints

WHOLE, FIRST, SECOND = 0, 1, 2
"""What may be sent about the rows of a call: all of them, or one half."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Places are numbered as they come in the table, calls in the order in which they were cut.

    places: shape (rows,), the place of every row; first: shape (places,), the first row of each; order: the places,
    call by call; ends: shape (calls,), where each call ends in that order; call: shape (places,), the number of the
    call that a place is in.
    """

    places: Ints
    first: Ints
    order: Ints
    ends: Ints
    call: Ints

    @classmethod
    def of(cls, places: Ints, calls: Sequence[Ints]) -> Layout:
        """places: of every row; calls: the places that share one."""
        order = np.concatenate([np.empty(0, np.int64), *calls])
        sizes = np.array([len(call) for call in calls], np.int64)
        found = np.empty(len(order), np.int64)
        found[order] = np.repeat(np.arange(len(calls)), sizes)
        return cls(places, np.unique(places, return_index=True)[1], order, np.cumsum(sizes), found)

    def sharing(self, number: int, part: int = WHOLE) -> Ints:
        """The places that a call is about, in order; of one half of it, those in that half."""
        found = self.order[self.ends[number - 1] if number else 0 : self.ends[number]]
        half = -(-len(found) // 2)
        return (found, found[:half], found[half:])[part]
