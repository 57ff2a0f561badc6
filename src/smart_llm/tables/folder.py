"""A table in many files of one format: their rows in the order of the files' names, then as they stand in each.

Cells are what each file alone would give (JSONL: as text, since types are found file by file); the files must have the
same columns. Whoever settles the table in pieces reads the files again, one by one: `Table.pieces` says which rows each
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smart_llm.errors import InputError
from smart_llm.tables import large as stored
from smart_llm.tables import storage as places
from smart_llm.tables.cells import as_text
from smart_llm.tables.large import Cells, Scratch, Stored, slices
from smart_llm.tables.manner import USUAL, Manner
from smart_llm.tables.reading import input_format, parse, read
from smart_llm.tables.table import Piece, Table

if TYPE_CHECKING:
    import polars as pl

SLICE = 32_768
"""Rows of a file copied at a time."""


def read_folder(source: str, manner: Manner = USUAL) -> Table:
    """The table in a folder, here or elsewhere. InputError: no files, or files that make no table together."""
    files = places.names(source)
    kinds = {input_format(at)[0] for at in files}
    if not files:
        raise InputError(f"{source}: there are no files.")
    if len(kinds) > 1:
        raise InputError(f"{source}: files of several formats ({', '.join(sorted(kinds))}): keep those of one.")
    [kind] = kinds
    gathering = _Gathering(files, manner, large=sum(map(places.size, files)) >= stored.LARGE)
    lined = kind in ("jsonl", "json")
    frame = gathering.all(_text if lined else _cells)
    lines = gathering.all(_lines) if lined else None
    path = None if places.is_address(source) else Path(source)
    return Table(frame, kind, path, lines, pieces=tuple(gathering.pieces), notes=tuple(gathering.notes))


def read_piece(piece: Piece) -> Table:
    """The rows of one piece. InputError: it is no longer the file it was."""
    table = _read(piece.at, piece.manner)
    if table.rows < piece.rows:
        raise InputError(f"{piece.at} has {table.rows} rows, {piece.rows} when the run began: it was changed.")
    return table.head(piece.rows)


@dataclass
class _Gathering:
    """Files on their way into one frame: on disk where they are large together."""

    files: list[str]
    manner: Manner
    large: bool

    def __post_init__(self) -> None:
        self.pieces: list[Piece] = []
        self.notes: list[str] = []

    def all(self, take: Callable[[Table], Cells]) -> Cells:
        import polars as pl

        self.pieces, self.notes = [], []
        if not self.large:
            return pl.concat(list(self._slices(take)))
        file = Scratch(lambda name: _spool(name, self._slices(take)))
        scan = pl.scan_ipc(file.path)
        return Stored(file, scan.collect_schema().names(), sum(piece.rows for piece in self.pieces))

    def _slices(self, take: Callable[[Table], Cells]) -> Iterator[pl.DataFrame]:
        schema = None
        for at in self.files:
            table = _read(at, self.manner)
            self.pieces.append(Piece(at, table.rows, self.manner))
            self.notes += table.notes
            for part in slices(take(table), SLICE):
                schema = schema or part.schema
                if part.schema != schema:
                    raise InputError(f"{at}: its columns, or their types, are not those of {self.files[0]}.")
                yield part


def _read(at: str, manner: Manner) -> Table:
    return parse(Path(at), places.read_bytes(at), manner) if places.is_address(at) else read(at, manner)


def _cells(table: Table) -> Cells:
    return table.frame


def _text(table: Table) -> Cells:
    if not isinstance(table.frame, Stored):
        return as_text(table.frame)
    import polars as pl

    return pl.concat([as_text(part) for part in slices(table.frame, SLICE)])


def _lines(table: Table) -> Cells:
    assert table.lines is not None
    return table.lines


def _spool(name: str, parts: Iterator[pl.DataFrame]) -> None:
    """Slices as one Arrow file."""
    import polars as pl
    import pyarrow as pa

    first = next(parts).to_arrow(compat_level=pl.CompatLevel.oldest())
    with pa.OSFile(name, "wb") as file, pa.ipc.new_file(file, first.schema) as writer:
        writer.write_table(first, max_chunksize=stored.PART)
        for part in parts:
            writer.write_table(part.to_arrow(compat_level=pl.CompatLevel.oldest()), max_chunksize=stored.PART)
