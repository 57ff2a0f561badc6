"""How the candidates stand while rows are profiled, row by row: for showing progress, never for deciding anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smart_llm.stats.jeffreys import jeffreys
from smart_llm.types import AGREE, NOT_ASKED, Answers, Ints, Marks, Outlook, Standing

SHOWN = 0.9
"""Confidence of the limits that are shown beside the shares of candidates."""


class Counted:
    """Rows asked and agreed on, by candidate. names: of all models, the reference first; asked: the candidates that are
    asked now."""

    def __init__(self, names: Sequence[str], batches: Sequence[tuple[Ints, Answers]], asked: Sequence[int]) -> None:
        self._names, self._now = names, set(asked)
        self._asked = np.zeros(len(names), np.int64)
        self._agreed = np.zeros(len(names), np.int64)
        for _, sheet in batches:
            self._asked += (sheet.marks != NOT_ASKED).sum(axis=0)
            self._agreed += (sheet.marks == AGREE).sum(axis=0)

    def with_row(self, marks: Marks, told: Outlook | None) -> Outlook:
        """Where they stand with one more row, shape (models,); what the procedure expects, as it told."""
        self._asked += marks != NOT_ASKED
        self._agreed += marks == AGREE
        dropped = {each.model for each in told.standings if not each.in_play} if told else set[str]()
        found = [
            standing(name, int(self._asked[j]), int(self._agreed[j]), j in self._now or name not in dropped)
            for j, name in enumerate(self._names)
            if j
        ]
        return Outlook(tuple(found), told.expected_cost_ratio if told else 0.0)


def standing(model: str, asked: int, agreed: int, in_play: bool) -> Standing:
    """Where a candidate stands, with the limits that are shown."""
    low, high = map(float, jeffreys(agreed, asked, SHOWN))
    return Standing(model, asked, agreed, low, high, in_play)
