"""A folder of Parquet files that whole rows are delivered to, a file per partition, with a manifest."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smart_llm.errors import InputError
from smart_llm.tables import Table
from smart_llm.tables import storage as places
from smart_llm.types import Json

if TYPE_CHECKING:
    import polars as pl


def to_bytes(frame: pl.DataFrame) -> bytes:
    """As Parquet."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


MANIFEST = "_manifest.json"
"""Hidden from readers of the folder by its underscore."""


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
        lines = [{"file": f"{part_name(entry['part'])}.parquet", **_shown(entry)} for entry in entries]
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


def _ours(place: str) -> bool:
    name = place.rsplit("/", 1)[1]
    return name.startswith("part-") and name.endswith(".parquet")


def _shown(entry: Json) -> dict[str, Json]:
    return {name: entry[name] for name in ("first", "last", "rows", "hash")}


def part_name(number: int) -> str:
    """What the files of the partition of this number are called."""
    return f"part-{number:05}"
