"""Where partitions come from and where whole rows go: the files of a folder, slices of a table that travel, and a
folder of Parquet files with a manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from smart_llm.ray.parts import Part
from smart_llm.tables import Table
from smart_llm.tables.folder import read_piece
from smart_llm.tables.large import Stored
from smart_llm.tables.table import Piece

if TYPE_CHECKING:
    import polars as pl

LEAST, MOST, PARTS = 500, 20_000, 64
"""Rows of a partition, at least and at most, and how many partitions there should be in between."""


@dataclass(frozen=True, slots=True)
class InFile:
    """A file of the table's folder, read where it is settled."""

    piece: Piece

    async def read(self) -> Table:
        """The file's rows."""
        return await asyncio.to_thread(read_piece, self.piece)


@dataclass(frozen=True, slots=True)
class InTable:
    """Rows of a table the driver holds."""

    table: Table
    first: int
    rows: int

    async def read(self) -> Table:
        """A table of these rows alone."""
        return self.cut()

    def cut(self) -> Table:
        """The same, at once."""
        frame, table = self.table.frame.slice(self.first, self.rows), self.table
        return Table(frame, table.format, table.path)


@dataclass(frozen=True, slots=True)
class Sent:
    """Rows on their way through the object store. reference: to a table."""

    reference: Any

    async def read(self) -> Table:
        """The rows, wherever this is called."""
        table: Table = await self.reference
        return table


@dataclass(frozen=True, slots=True)
class Texts:
    """What prompts show of all rows, in shared memory: one copy a node. reference: to an Arrow table of texts."""

    reference: Any

    async def read(self) -> Table:
        """A table of these columns; the texts stay where they are."""
        import polars as pl

        return Table(pl.DataFrame(pl.from_arrow(await self.reference, rechunk=False)), "arrow")


def texts_of(table: Table, columns: Sequence[str]) -> Texts:
    """These columns of a table as text, put where workers reach them."""
    import ray

    return Texts(ray.put(table.texts(columns).to_arrow()))


def parts_of(table: Table, rows: int | None) -> tuple[Part, ...]:
    """A folder's files, one partition each; of any other table slices of `rows` rows (None: as suits the table)."""
    parts, first = list[Part](), 0
    for piece in table.pieces:
        if piece.rows:
            parts.append(Part(len(parts), first, piece.rows, InFile(piece)))
            first += piece.rows
    if table.pieces:
        return tuple(parts)
    size = rows or max(LEAST, min(MOST, table.rows // PARTS))
    for number, start in enumerate(range(0, table.rows, size)):
        length = min(size, table.rows - start)
        parts.append(Part(number, start, length, InTable(table, start, length)))
    return tuple(parts)


def sent(parts: Sequence[Part], pending: Sequence[int]) -> tuple[Part, ...]:
    """The parts as workers are to have them: rows the driver holds are put where workers reach them."""
    import ray

    ready, wanted = list[Part](), set(pending)
    for part in parts:
        if isinstance(part.source, InTable):
            source = Sent(ray.put(part.source.cut()) if part.number in wanted else None)
            ready.append(replace(part, source=source))
        else:
            ready.append(part)
    return tuple(ready)


def in_memory(table: Table) -> pl.DataFrame:
    """All cells of a partition."""
    return table.frame.slice(0, table.rows) if isinstance(table.frame, Stored) else table.frame
