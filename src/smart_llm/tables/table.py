"""A table as everything else sees it: rows in order, cells as text, and an identity that depends on content only.

Cells as text: texts as they are, missing values as "", true/false, ISO dates, numbers as polars writes them, nested
values as JSON, bytes in hexadecimal. A row's identity is the hash of its cells plus how often the same cells stood
above it; the table's hash covers column names and cells in order, whatever the file format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smart_llm.errors import InputError
from smart_llm.tables.manner import USUAL, Manner
from smart_llm.tables.stored import Cells, Stored, picked, rows_at, slices
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
            yield from as_text(_select(part, names)).to_dicts()

    def cells_at(self, positions: Ints | Sequence[int], columns: Sequence[str]) -> list[dict[str, str]]:
        """The rows at these positions, in this order. InputError: a column that is not there."""
        names = self._known(columns)
        return as_text(_select(rows_at(self._narrow(names), positions), names)).to_dicts() if len(positions) else []

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
        return _numbered(np.concatenate([_digests(_select(part, names)) for part in slices(self.frame, _SLICE)]))

    def groups_of_texts(self, fields: Sequence[str], literals: Sequence[str]) -> Ints:
        """shape (N,): rows that give the same text literals[0] + cell of fields[0] + literals[1] + … have the same
        number; numbered from 0 by first row. A field may come twice."""
        names = self._known(tuple(dict.fromkeys(fields)))
        parts = (_select(part, names) for part in slices(self.frame, _SLICE))
        return _numbered(np.concatenate([_text_digests(part, fields, literals) for part in parts]))

    def _known(self, columns: Sequence[str]) -> Sequence[str]:
        for name in columns:
            if name not in self.columns:
                raise InputError(f"there is no column {name!r}; columns: {', '.join(self.columns)}")
        return columns

    def _narrow(self, names: Sequence[str]) -> Cells:
        """A frame in memory without the columns nobody asked for: picking rows copies."""
        return self.frame if isinstance(self.frame, Stored) else _select(self.frame, names)

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
            total.update(_digests(part).tobytes())
        return f"b2:{total.hexdigest()}"

    def row_keys(self) -> list[tuple[str, int]]:
        """Each row's identity: (`b2:` hash of its cells, how many equal rows stand above it)."""
        seen: dict[bytes, int] = {}
        keys = []
        for digest in (digest for part in slices(self.frame, _SLICE) for digest in _digests(part)):
            name = digest.tobytes()
            occurrence = seen.get(name, 0)
            seen[name] = occurrence + 1
            keys.append((f"b2:{name.hex()}", occurrence))
        return keys


def _clipped(pieces: tuple[Piece, ...], rows: int) -> tuple[Piece, ...]:
    kept, left = list[Piece](), rows
    for piece in pieces:
        if left > 0:
            kept.append(replace(piece, rows=min(piece.rows, left)))
        left -= piece.rows
    return tuple(kept)


def hash_of(columns: Mapping[str, Sequence[str | None]]) -> str:
    """`b2:…` of columns of text, cell by cell and row by row."""
    import polars as pl

    frame = pl.DataFrame([pl.Series(name, list(cells), dtype=pl.String) for name, cells in columns.items()])
    return f"b2:{hashlib.blake2b(_digests(frame).tobytes(), digest_size=16).hexdigest()}"


def _select(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """These columns, by name and not by pattern (see `column_text`)."""
    return frame.select([frame[name] for name in names])


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The same cells as text; missing ones are ""."""
    import polars as pl

    return pl.DataFrame([column_text(column) for column in frame.iter_columns()])


def column_text(column: pl.Series) -> pl.Series:
    """One column as text, without nulls."""
    import polars as pl

    name, column = column.name, column.alias("cell")  # polars would read a name such as "*" or "^a$" as a pattern
    kind = column.dtype
    if isinstance(kind, pl.datatypes.BaseExtension):
        return column_text(column.ext.storage()).alias(name)
    if kind.is_nested() or kind == pl.Object:
        texts = [value_text(value) for value in column.to_list()]
        return pl.Series(name, texts, dtype=pl.String)
    if kind == pl.Binary:
        column = column.bin.encode("hex")
    elif kind == pl.Duration:
        column = column.dt.to_string("iso")
    return column.cast(pl.String).fill_null("").alias(name)


def value_text(value: Any) -> str:
    """One Python value as the text of a cell."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, np.floating) and not isinstance(value, float):
        return str(value)  # as short as a float32 can be written, not as a float64 shows it
    return json.dumps(value, ensure_ascii=False, default=_foreign) if _is_json(value) else str(_foreign(value))


def _is_json(value: Any) -> bool:
    return isinstance(value, bool | int | float | dict | list | tuple)


def _foreign(value: Any) -> Any:
    """What JSON has no form for: arrays as lists, bytes in hexadecimal, the rest (dates, decimals) as its text."""
    if isinstance(value, bytes):
        return value.hex()
    return value.tolist() if hasattr(value, "tolist") else str(value)


Digests = NDArray[np.uint64]
"""Shape (n, 2): 128 bits a row."""


def _digests(frame: pl.DataFrame) -> Digests:
    """Each row's hash."""
    return _hashed(_encoded(frame))


def _text_digests(frame: pl.DataFrame, fields: Sequence[str], literals: Sequence[str]) -> Digests:
    """The hash of each row's cells in these fields, with these texts around them."""
    import polars as pl

    texts = as_text(frame)
    places = {name: str(place) for place, name in enumerate(texts.columns)}
    texts.columns = list(places.values())  # see `column_text`
    between = [(pl.col(places[field]), pl.lit(text)) for field, text in zip(fields, literals[1:], strict=True)]
    joined = pl.concat_str([pl.lit(literals[0]), *(part for pair in between for part in pair)])
    return _hashed(texts.select(joined).to_series().to_list())


def _hashed(rows: Sequence[str]) -> Digests:
    hash_ = hashlib.blake2b
    data = b"".join([hash_(row.encode(), digest_size=16).digest() for row in rows])
    return np.frombuffer(data, "<u8").reshape(-1, 2)


def _numbered(digests: Digests) -> Ints:
    """shape (n,): equal digests have the same number, numbered from 0 by first appearance."""
    if not len(digests):
        return np.empty(0, np.int64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: within equal ones the first comes first
    new = np.r_[True, (digests[order[1:]] != digests[order[:-1]]).any(axis=1)]
    first = order[new]
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = rank[np.cumsum(new) - 1]
    return numbers


def _encoded(frame: pl.DataFrame) -> list[str]:
    """Each row as one text that no other row of cells gives: every cell after its length in bytes."""
    import polars as pl

    texts = as_text(frame)
    texts.columns = [str(i) for i in range(texts.width)]  # see `column_text`
    parts = [part for name in texts.columns for part in (_length(name), pl.lit(":"), pl.col(name))]
    return texts.select(pl.concat_str(parts)).to_series().to_list() if parts else []


def _length(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).str.len_bytes().cast(pl.String)
