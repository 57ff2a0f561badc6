"""A table as everything else sees it: rows in order, cells as text, and an identity that depends on content only.

Cells as text: texts as they are, missing values as "", true/false, ISO dates, numbers as polars writes them, nested
values as JSON, bytes in hexadecimal. A row's identity is the hash of its cells plus how often the same cells stood
above it; the table's hash covers column names and cells in order, whatever the file format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from smart_llm.errors import InputError
from smart_llm.tables.cells import as_text, digests, numbered, select, text_digests
from smart_llm.tables.large import Cells, Stored, picked, rows_at, slices
from smart_llm.tables.manner import USUAL, Manner
from smart_llm.types import Ints

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from smart_llm.tables.natives import Native

ADDED = ("answer", "answered_by", "status")
"""The columns a run adds."""

_SLICE = 8192  # rows turned into Python objects at a time


@dataclass(frozen=True, slots=True)
class Piece:
    """The first rows of a file that is one of several. at: its path or address."""

    at: str
    rows: int
    manner: Manner = USUAL


@dataclass(frozen=True, eq=False)
class Table:
    """The population. frame: all cells, in memory or (of a large file) on disk. format: a file format, or the kind of
    frame that came in.

    lines: for JSONL, one column, each row as it was written (so that it can be written back unchanged). native: the
    user's own table in memory, for giving back the same kind. pieces: the files, in order, of a table in a folder.
    written: the columns as a delimited file calls them, where it has empty or repeated names; separator: of its cells;
    crlf, marked: whether its lines end in CRLF, and whether it begins with a byte order mark.
    added: what a run's own columns are called. notes: what was guessed when the file was read.
    whole: where only some rows are asked about, the table that is delivered, and their positions in it.
    """

    frame: Cells
    format: str
    path: Path | None = None
    lines: Cells | None = None
    native: Native | None = None
    pieces: tuple[Piece, ...] = ()
    written: tuple[str, ...] | None = None
    separator: str | None = None
    crlf: bool = False
    marked: bool = False
    added: tuple[str, ...] = ADDED
    notes: tuple[str, ...] = ()
    whole: tuple[Table, Ints] | None = None

    @property
    def rows(self) -> int:
        """N."""
        return len(self.frame) if self.lines is None else len(self.lines)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self.frame.columns)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return "the table" if self.path is None else str(self.path)

    def cells(self, columns: Sequence[str]) -> Iterator[dict[str, str]]:
        """The rows in order as dicts (column → text), made in slices. InputError: a column that is not there."""
        names = self._known(columns)
        for part in slices(self.frame, _SLICE):
            yield from as_text(select(part, names)).to_dicts()

    def cells_at(self, positions: Ints | Sequence[int], columns: Sequence[str]) -> list[dict[str, str]]:
        """The rows at these positions, in this order. InputError: a column that is not there."""
        names = self._known(columns)
        return as_text(select(rows_at(self._narrow(names), positions), names)).to_dicts() if len(positions) else []

    def texts(self, columns: Sequence[str]) -> pl.DataFrame:
        """All cells of these columns as text, in memory. InputError: a column that is not there."""
        import polars as pl

        names = self._known(columns)
        return pl.concat([as_text(select(part, names)) for part in slices(self.frame, _SLICE)])

    def without_empty(self, columns: Sequence[str]) -> Table:
        """The table of the rows that have text in one of these columns, at least; `whole` says what they are part of.
        InputError: none has."""
        empty = np.array([not any(map(str.strip, row.values())) for row in self.cells(columns)], bool)
        kept = np.flatnonzero(~empty)
        if len(kept) == self.rows:
            return self
        if not len(kept):
            raise InputError(f"{self.name}: every row is empty in {', '.join(columns)}")
        if self.pieces:
            raise InputError("--skip-empty goes with one table, not with a folder of files: leave it out")
        note = f"Rows that are empty in {', '.join(columns)} are not asked about: {self.rows - len(kept):,}."
        frame, lines = (None if each is None else picked(each, kept) for each in (self.frame, self.lines))
        assert frame is not None
        return replace(self, frame=frame, lines=lines, whole=(self, kept), notes=(*self.notes, note))

    def groups(self, columns: Sequence[str]) -> Ints:
        """shape (N,): rows with equal cells in these columns have the same number; numbered from 0 by first row."""
        names = self._known(columns)
        return numbered(np.concatenate([digests(select(part, names)) for part in slices(self.frame, _SLICE)]))

    def groups_of_texts(self, fields: Sequence[str], literals: Sequence[str]) -> Ints:
        """shape (N,): rows that give the same text literals[0] + cell of fields[0] + literals[1] + … have the same
        number; numbered from 0 by first row. A field may come twice."""
        names = self._known(tuple(dict.fromkeys(fields)))
        parts = (select(part, names) for part in slices(self.frame, _SLICE))
        return numbered(np.concatenate([text_digests(part, fields, literals) for part in parts]))

    def measured(self, columns: Sequence[str], text: Callable[[dict[str, str]], str]) -> tuple[Ints, Ints]:
        """Each of shape (N,): a number by what `text` makes of the row's cells, equal for equal texts and counted from
        0 by first row; and how many bytes that text has."""
        texts = (text(row).encode("utf-8", "surrogatepass") for row in self.cells(columns))
        told = [(hashlib.blake2b(each, digest_size=16).digest(), len(each)) for each in texts]
        hashes = np.frombuffer(b"".join(digest for digest, _ in told), "<u8").reshape(-1, 2)
        return numbered(hashes), np.array([size for _, size in told], np.int64)

    def _known(self, columns: Sequence[str]) -> Sequence[str]:
        for name in columns:
            if name not in self.columns:
                raise InputError(f"there is no column {name!r}; columns: {', '.join(self.columns)}")
        return columns

    def _narrow(self, names: Sequence[str]) -> Cells:
        """A frame in memory without the columns nobody asked for: picking rows copies."""
        return self.frame if isinstance(self.frame, Stored) else select(self.frame, names)

    def head(self, rows: int | None) -> Table:
        """The first rows; all of them, if there are fewer or `rows` is None."""
        if rows is None:
            return self
        if rows < 1:
            raise InputError(f"the number of rows must be at least 1, not {rows}")
        lines = None if self.lines is None else self.lines.head(rows)
        native = None if self.native is None else self.native.head(rows)
        pieces = _clipped(self.pieces, rows)
        return replace(self, frame=self.frame.head(rows), lines=lines, native=native, pieces=pieces)

    @cached_property
    def table_hash(self) -> str:
        """`b2:…` of column names and cells, in order. Independent of the file format."""
        total = hashlib.blake2b("".join(f"{len(c.encode())}:{c}" for c in self.columns).encode(), digest_size=32)
        total.update(b"\n")
        for part in slices(self.frame, _SLICE):
            total.update(digests(part).tobytes())
        return f"b2:{total.hexdigest()}"


def _clipped(pieces: tuple[Piece, ...], rows: int) -> tuple[Piece, ...]:
    kept, left = list[Piece](), rows
    for piece in pieces:
        if left > 0:
            kept.append(replace(piece, rows=min(piece.rows, left)))
        left -= piece.rows
    return tuple(kept)
