"""The columns a run adds: perhaps on disk, so looked at and not copied; with types where the answers have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from smart_llm.types import Ints

if TYPE_CHECKING:
    import polars as pl

Column: TypeAlias = Sequence[Any]
"""One entry a row: text, number, truth value, a JSON value, or None."""
SHOWN = 10
"""Entries of a column that it shows of itself."""
LARGEST = 2**63
"""What a whole number in a column must stay below."""


class View(Sequence[Any]):
    """A column made of another one, entry by entry, when it is looked at. read: what becomes of an entry that is not
    None. positions: which rows of a longer table the entries are for, `rows` long; the others get `otherwise`."""

    def __init__(
        self,
        base: Column,
        read: Callable[[Any], Any] | None = None,
        *,
        positions: Ints | None = None,
        rows: int = 0,
        otherwise: Any = None,
    ) -> None:
        self._base, self._read, self._otherwise = base, read, otherwise
        self._places: Ints | None = None
        if positions is not None:
            import numpy as np

            self._places = np.full(rows, -1, np.int64)
            self._places[positions] = np.arange(len(positions))

    def __len__(self) -> int:
        return len(self._base) if self._places is None else len(self._places)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        place = at if self._places is None else int(self._places[at])
        if place < 0 and self._places is not None:
            return self._otherwise
        value = self._base[place]
        return value if value is None or self._read is None else self._read(value)

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        """The first entries, as a list shows them."""
        more = ", …" if len(self) > SHOWN else ""
        return f"[{', '.join(map(repr, self[:SHOWN]))}{more}] ({len(self):,} rows)"


def text_of(value: Any) -> str | None:
    """A value as the text of a cell."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def kind_of(values: Iterable[Any]) -> type:
    """What a column of these values is: bool, int or float where all are, str otherwise (JSON values as text). One
    without any value is of texts."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return int if all(value is None or -LARGEST <= value < LARGEST for value in values) else str
    if kinds == {bool}:
        return bool
    return float if kinds and kinds <= {int, float} else str


def as_kind(values: Column, kind: type) -> list[Any]:
    """The values, all of this kind."""
    if kind is str:
        return [text_of(value) for value in values]
    return [None if value is None else kind(value) for value in values]


def series_of(added: Mapping[str, Column]) -> list[pl.Series]:
    """New columns for a polars frame."""
    import polars as pl

    kinds = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
    made = []
    for name, column in added.items():
        values = list(column)
        kind = kind_of(values)
        made.append(pl.Series(name, as_kind(values, kind), dtype=kinds[kind]))
    return made
