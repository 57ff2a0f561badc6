"""What is delivered, row by row, without holding it: answers in a scratch file, models and states as small numbers.

A table's answers may be as large as the table. They are appended to a file that has no name (in memory as long as they
are few), and read again when the output is written; what is kept per row is where its answer stands. A text that comes
again and again, such as a label, is written once.
"""

from __future__ import annotations

import tempfile
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from smart_llm.types import Ints

IN_MEMORY = 16 << 20
"""Bytes of answers held in memory before they go to disk."""
SHORT, KNOWN = 64, 4096
"""Characters of a text worth remembering, and how many are remembered."""
SLICE = 8192
"""Entries made at a time where all are wanted."""

T = TypeVar("T")


class Column(Sequence[T]):
    """A column that is made when it is looked at: one entry a row."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> list[T]: ...
    def __getitem__(self, at: int | slice) -> T | list[T]:
        if isinstance(at, slice):
            return self.entries(range(*at.indices(self._rows)))
        return self.entries(range(self._rows)[at : at + 1 or None])[0]

    def __iter__(self) -> Iterator[T]:
        for start in range(0, self._rows, SLICE):
            yield from self[start : start + SLICE]

    @abstractmethod
    def entries(self, rows: range) -> list[T]:
        """The entries of these rows."""


def _at(rows: range) -> Ints:
    return np.arange(rows.start, rows.stop, rows.step)


class Texts(Column[str | None]):
    """One text, or none, per row. Values can be set once."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self._start = np.zeros(rows, np.int64)
        self._length = np.full(rows, -1, np.int32)
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  lives as long as this value
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._known: dict[str, tuple[int, int]] = {}

    def __setitem__(self, row: int | Ints, text: str) -> None:
        """One row's text, or that of several rows."""
        self._start[row], self._length[row] = self._known.get(text) or self._append(text)

    def _append(self, text: str) -> tuple[int, int]:
        data = text.encode("utf-8", "surrogatepass")
        place = self._end, len(data)
        self._file.seek(0, 2)
        self._file.write(data)
        self._end += len(data)
        if len(text) <= SHORT and len(self._known) < KNOWN:
            self._known[text] = place
        return place

    def entries(self, rows: range) -> list[str | None]:
        """The texts of these rows, read from where they stand."""
        known: dict[tuple[int, int], str] = {}
        at, found = _at(rows), list[str | None]()
        for place in zip(self._start[at].tolist(), self._length[at].tolist(), strict=True):
            if place[1] < 0:
                found.append(None)
                continue
            text = known.get(place)
            if text is None:
                self._file.seek(place[0])
                text = known[place] = self._file.read(place[1]).decode("utf-8", "surrogatepass")
            found.append(text)
        return found


class Names(Column[str]):
    """By number: one small number per row, and the name each number stands for."""

    def __init__(self, numbers: NDArray[np.int16], names: Sequence[str]) -> None:
        super().__init__(len(numbers))
        self._numbers, self._names = numbers, names

    def entries(self, rows: range) -> list[str]:
        """The names of these rows."""
        return [self._names[number] for number in self._numbers[_at(rows)].tolist()]


class States(Column[str]):
    """`ok`, but for the rows that have an error."""

    def __init__(self, rows: int, errors: Mapping[int, str]) -> None:
        super().__init__(rows)
        self._errors = errors

    def entries(self, rows: range) -> list[str]:
        """The states of these rows."""
        return [self._errors.get(row, "ok") for row in rows]
