"""What every row is delivered: an answer or an error, and by which model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smart_llm.engine.columns import Texts
from smart_llm.engine.statuses import hopeless, status
from smart_llm.errors import Refused
from smart_llm.routing import Alike
from smart_llm.tasks import format_value
from smart_llm.types import Answer, Ints

HOPELESS = 20
"""If this many rows come first and none of them has an answer, the run stops: the rest would be paid for in vain."""


class Rows:
    """The rows of one run. Arrays have one entry per row of the table: by, the index of the model that answers;
    settled, whether it is known what the row is delivered. errors: by position, of rows without an answer. proven:
    whether the reference is known to answer, so that the first rows prove nothing."""

    def __init__(self, rows: int, alike: Alike, reference: str) -> None:
        self.answers = Texts(rows)
        self.by = np.zeros(rows, np.int16)
        self.settled = np.zeros(rows, bool)
        self.errors: dict[int, str] = {}
        self.proven = False
        self._alike, self._reference = alike, reference
        self._lost = 0  # requests that ended without an answer

    @property
    def done(self) -> int:
        """How many rows are settled."""
        return int(self.settled.sum())

    @property
    def left(self) -> Ints:
        """The positions of the rows that are not settled."""
        return np.flatnonzero(~self.settled)

    def settle_by(self, rows: int | Ints, model: int, value: Any, reply: Answer) -> None:
        """What rows that ask the same are delivered, by a reply and what was read in it."""
        if value is not None:
            self.settle(rows, model, format_value(value))
            return
        self.settle(rows, model, None, status(reply))
        self._lost += 1
        if not self.proven and self._lost == HOPELESS and self.done == len(self.errors):
            raise Refused(hopeless(self._reference, HOPELESS, reply))

    def settle(self, rows: int | Ints, model: int, answer: str | None, error: str | None = None) -> None:
        """What rows are delivered: an answer, or an error."""
        self.settled[rows] = True
        self.by[rows] = model
        if error is not None:
            self.errors |= dict.fromkeys(np.atleast_1d(rows).tolist(), error)
        elif answer is not None:
            self.answers[rows] = answer

    def mend(self, row: int, value: Any, reply: Answer) -> None:
        """A row that had no answer was asked about again: deliver what came, or say why there is none now."""
        if value is None:
            self.errors[row] = status(reply)
            return
        del self.errors[row]
        self.settle(row, 0, format_value(value))

    def take(self, first: int, by: Ints, errors: Sequence[str | None], answers: Sequence[str | None] | None) -> None:
        """What rows from `first` on were delivered elsewhere; rows that are settled already stay as they are. answers:
        None where they are written elsewhere, too."""
        rows = slice(first, first + len(by))
        new = ~self.settled[rows]
        self.by[rows][new] = by[new]
        self.settled[rows] = True
        for row in np.flatnonzero(new).tolist():
            if (error := errors[row]) is not None:
                self.errors[first + row] = error
            if answers is not None and (text := answers[row]) is not None:
                self.answers[first + row] = text

    def same_error(self, rows: Mapping[int, str]) -> None:
        """Say of rows without an answer what is said here."""
        self.errors |= {row: error for row, error in rows.items() if row in self.errors}

    def reopen(self) -> None:
        """Rows without an answer whose request another row asks too, and may have an answer to, are asked again."""
        lost = self.lost
        self.unsettle(np.flatnonzero(lost & ~self._alike.least(lost)))

    def by_reference(self) -> None:
        """Rows that a candidate answers, and of which another that asks the same has the reference's answer, are
        delivered that one."""
        for row, of in self.outdone():
            if (answer := self.answers[of]) is not None:  # here, and not where Ray has written it
                self.settle(row, 0, answer)

    def outdone(self) -> list[tuple[int, int]]:
        """Pairs of such rows: the one that a candidate answers, and the first one that has the reference's answer."""
        if not self._alike.any:
            return []
        groups, given = self._alike.groups, self.settled & ~self.lost
        first = np.full(self._alike.distinct, -1)
        bought = np.flatnonzero(given & (self.by == 0))[::-1]
        first[groups[bought]] = bought
        rows = np.flatnonzero(given & (self.by > 0) & (first[groups] >= 0))
        return list(zip(rows.tolist(), first[groups[rows]].tolist(), strict=True))

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Shape (rows,): rows without an answer."""
        lost = np.zeros(len(self.settled), bool)
        lost[list(self.errors)] = True
        return lost

    def unsettle(self, rows: Ints) -> None:
        """These rows are to be settled again."""
        self.settled[rows] = False
        for row in rows.tolist():
            self.errors.pop(row, None)
