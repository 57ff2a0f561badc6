"""Where partitions come from and where whole rows go: the files of a folder, slices of a table that travel, and a
folder of Parquet files with a manifest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from smart_llm.engine.ray.parts import Part, to_bytes
from smart_llm.errors import InputError
from smart_llm.tables import Table, places
from smart_llm.tables.folder import read_piece
from smart_llm.tables.stored import Stored
from smart_llm.tables.table import Piece
from smart_llm.types import Json

if TYPE_CHECKING:
    import polars as pl

LEAST, MOST, PARTS = 500, 20_000, 64
"""Rows of a partition, at least and at most, and how many partitions there should be in between."""
MANIFEST = "_manifest.json"
"""Hidden from readers of the folder by its underscore."""


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


def parts_of(table: Table, rows: int | None) -> tuple[Part, ...]:
    """A folder's files, one partition each; of any other table slices of so many rows (None: as many as are good)."""
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


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that whole rows are delivered to, a Parquet file per partition. at: its path or address."""

    at: str

    def __str__(self) -> str:
        return self.at

    def prepare(self, table: Table) -> None:
        """Make it. InputError: it is the table's own, or holds something else than such output."""
        path = str(table.path.absolute()) if table.path is not None else None
        if table.pieces and (self.at.rstrip("/") in (path, table.pieces[0].at.rsplit("/", 1)[0])):
            raise InputError(f"the output {self.at} is the table itself: choose another name")
        places.make_folder(self.at)
        others = [name for name in places.names(self.at) if not _ours(name)]
        if others:
            raise InputError(f"the output {self.at} is a folder with other files in it ({others[0]}): choose another.")

    def put(self, name: str, frame: pl.DataFrame) -> None:
        """One partition's rows."""
        places.write_bytes(self._place(f"{name}.parquet"), to_bytes(frame))

    def has(self, name: str) -> bool:
        """Whether a partition's rows are there."""
        return places.exists(self._place(f"{name}.parquet"))

    def finish(self, entries: Sequence[Json], about: Json) -> None:
        """The manifest; files of partitions it does not name (of an earlier run with others) are removed."""
        lines = [{"file": f"{Part.name_of(entry['part'])}.parquet", **_shown(entry)} for entry in entries]
        places.write_bytes(self._place(MANIFEST), json.dumps({**about, "parts": lines}, indent=1).encode() + b"\n")
        named = {line["file"] for line in lines}
        for place in places.names(self.at):
            if place.rsplit("/", 1)[1] not in named:
                places.remove(place)

    def beside(self, suffix: str, text: str) -> None:
        """A file beside the folder."""
        places.write_bytes(self.at.rstrip("/") + suffix, text.encode())

    def _place(self, name: str) -> str:
        return f"{self.at.rstrip('/')}/{name}"


def in_memory(table: Table) -> pl.DataFrame:
    """All cells of a partition."""
    return table.frame.slice(0, table.rows) if isinstance(table.frame, Stored) else table.frame


def _ours(place: str) -> bool:
    name = place.rsplit("/", 1)[1]
    return name.startswith("part-") and name.endswith(".parquet")


def _shown(entry: Json) -> dict[str, Json]:
    return {name: entry[name] for name in ("first", "last", "rows", "hash")}
