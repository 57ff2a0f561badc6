"""Large tables: on disk, not in memory.

A file of `LARGE` bytes or more is not held: polars streams it once into a temporary Arrow file, from which slices and
single rows are read as they are needed (2 ms a slice). The file has no name (except on Windows), so it is gone with
the process, however that ends; it takes as much room in the folder for temporary files (TMPDIR) as the table. What
stays in memory of such a table is nothing that grows with its rows.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from smart_llm.errors import InputError
from smart_llm.types import Ints

if TYPE_CHECKING:
    import polars as pl

Cells: TypeAlias = "pl.DataFrame | Stored"

LARGE = 32 << 20
"""Bytes of a file from which on it is not held in memory."""
PART = 8192
"""Rows of a record batch in the temporary file: what reading a single row costs."""


DESCRIPTORS = "/dev/fd"
"""Where an open file can be found by its number; Windows has no such place."""


class Scratch:
    """A file without a name: what is written while it still has one can be read until this value is gone. Where the
    system has no files without a name, it keeps its name until then."""

    def __init__(self, write: Callable[[str], object]) -> None:
        fd, name = tempfile.mkstemp(prefix="smart-table-")
        nameless = os.path.isdir(DESCRIPTORS)
        self.path = f"{DESCRIPTORS}/{fd}" if nameless else name
        if nameless:
            weakref.finalize(self, os.close, fd)
        else:
            os.close(fd)
            weakref.finalize(self, _remove, name)
        try:
            write(name)
        finally:
            if nameless:
                os.unlink(name)


def _remove(name: str) -> None:
    """Delete a file; one that somebody still reads, which Windows does not delete, is left to its own cleaning."""
    with contextlib.suppress(OSError):
        os.unlink(name)


@dataclass(frozen=True, eq=False)
class Stored:
    """A frame in a temporary file: as much of polars' own interface as tables need. length: rows from the first on."""

    file: Scratch
    columns: list[str]
    length: int

    @classmethod
    def keep(cls, lazy: pl.LazyFrame) -> Stored:
        """Stream a lazy frame to disk. What polars raises on the way is the caller's; `InputError` for a full disk."""
        import polars as pl

        try:
            file = Scratch(lambda name: lazy.sink_ipc(name, record_batch_size=PART, compression="uncompressed"))
        except OSError as error:
            raise InputError(
                f"the table cannot be kept in {tempfile.gettempdir()}: {error.strerror or error}; free the place or "
                "set TMPDIR to a folder with as much room as the table"
            ) from None
        stored = pl.scan_ipc(file.path)
        return cls(file, stored.collect_schema().names(), stored.select(pl.len()).collect().item())

    def __len__(self) -> int:
        return self.length

    def lazy(self) -> pl.LazyFrame:
        """All rows, for polars to stream."""
        import polars as pl

        return pl.scan_ipc(self.file.path).head(self.length)

    def slice(self, start: int, length: int) -> pl.DataFrame:
        """These rows, in memory."""
        return self.lazy().slice(start, length).collect()

    def head(self, rows: int) -> Stored:
        """The first rows, on disk still."""
        return replace(self, length=min(rows, self.length))


def rows_at(cells: Cells, positions: Ints | Sequence[int]) -> pl.DataFrame:
    """The rows at these positions, in this order; of a stored frame each part that holds some is read once."""
    import polars as pl

    if isinstance(cells, pl.DataFrame):
        return cells[positions]
    wanted = np.asarray(positions, np.int64)
    order = np.argsort(wanted, kind="stable")
    parts = []
    for of_part in np.split(order, np.flatnonzero(np.diff(wanted[order] // PART)) + 1):
        start = int(wanted[of_part[0]] // PART) * PART
        parts.append(cells.slice(start, PART)[wanted[of_part] - start])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return pl.concat(parts, rechunk=False)[back]


def picked(cells: Cells, positions: Ints) -> Cells:
    """The rows at these positions, in ascending order, where the others are: in memory or on disk."""
    import polars as pl

    if isinstance(cells, pl.DataFrame):
        return cells[positions]
    place = f"{len(cells.columns)} {''.join(cells.columns)}"  # the name of no column
    rows = cells.lazy().with_row_index(place).filter(pl.col(place).is_in(positions.tolist())).drop(place)
    return Stored.keep(rows)


def slices(cells: Cells, rows: int) -> Iterator[pl.DataFrame]:
    """All rows in order, a slice at a time; at least one slice, be it empty."""
    for start in range(0, max(1, len(cells)), rows):
        yield cells.slice(start, rows)
