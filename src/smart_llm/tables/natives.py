"""The user's own tables in memory: one class for each kind, and all of them do the same four things.

    texts      the cells as a polars frame, for prompts and identity; texts wherever polars has no such type
    names      the columns as everything else calls them: texts, also where the frame calls them 7 or ("a", "b")
    head       the first rows, as the same kind
    plus       the table with more columns at its end, as the same kind; the columns that came in are the very ones
               that go out, not copies made through some other type

A frame is never changed in place. Nothing here needs a library that the user did not bring: a pandas frame proves that
pandas is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from smart_llm.errors import InputError
from smart_llm.tables.cells import value_text
from smart_llm.tables.columns import Column, as_kind, kind_of, series_of

if TYPE_CHECKING:
    import polars as pl


class Native(Protocol):
    """A table as its user holds it."""

    @property
    def names(self) -> list[str]:
        """The columns, in order; repeats where the user has repeats."""
        ...

    def texts(self) -> pl.DataFrame:
        """The cells."""
        ...

    def head(self, rows: int) -> Native:
        """The first rows."""
        ...

    def plus(self, added: Mapping[str, Column]) -> Any:
        """What the user gets back."""
        ...


@dataclass(frozen=True, eq=False)
class Dicts:
    """A list of dicts. A key that a row does not have is an empty cell, and stays away from that row."""

    rows: list[Any]

    @property
    def names(self) -> list[str]:
        """In the order in which keys first appear."""
        for i, row in enumerate(self.rows):
            if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
                raise InputError(f"row {i} of the list is not a dict with texts as keys: give a list of dicts")
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def texts(self) -> pl.DataFrame:
        """Value by value."""
        return all_texts({name: [value_text(row.get(name)) for row in self.rows] for name in self.names})

    def head(self, rows: int) -> Dicts:
        """The first dicts."""
        return Dicts(self.rows[:rows])

    def plus(self, added: Mapping[str, Column]) -> list[dict[str, Any]]:
        """New dicts; the given ones are left alone."""
        new = zip(*added.values(), strict=True)
        return [{**row, **dict(zip(added, values, strict=True))} for row, values in zip(self.rows, new, strict=True)]


def of_texts(texts: list[str]) -> Dicts:
    """A list of texts: a table of one column, called `text`."""
    return Dicts([{"text": text} for text in texts])


@dataclass(frozen=True, eq=False)
class Pandas:
    """A pandas frame: by position, so that no index and no column name can be in the way."""

    frame: Any

    @property
    def names(self) -> list[str]:
        """As texts: `{7}` in a prompt is the column 7."""
        if self.frame.columns.nlevels > 1:
            raise InputError(
                "the columns have several levels: flatten them, such as df.columns = df.columns.map('_'.join)"
            )
        return [str(name) for name in self.frame.columns]

    def texts(self) -> pl.DataFrame:
        """Through Python values: no pyarrow needed, and columns of mixed kinds are no trouble."""
        return all_texts({name: _pandas_cells(self.frame.iloc[:, i]) for i, name in enumerate(self.names)})

    def head(self, rows: int) -> Pandas:
        """The first rows, with their part of the index."""
        return Pandas(self.frame.head(rows))

    def plus(self, added: Mapping[str, Column]) -> Any:
        """A new frame that shares the old columns; the new ones are of the type this pandas gives to texts."""
        import pandas as pd

        frame, kind = self.frame.copy(deep=False), pd.Series([""]).dtype
        if isinstance(frame.columns, pd.CategoricalIndex):  # has no room for a name that is no category
            frame.columns = frame.columns.astype(frame.columns.categories.dtype)
        for name, values in added.items():
            frame[name] = _pandas_column(list(values), kind)
        return frame


def _pandas_column(values: list[Any], text: Any) -> Any:
    """Texts of this frame's kind; numbers and truth values of a kind that may miss some, JSON values as they are."""
    import pandas as pd

    if any(isinstance(value, dict | list) for value in values):
        column = pd.array([None] * len(values), dtype=object)
        column[:] = pd.Series(values, dtype=object).to_numpy()
        return column
    kind = kind_of(values)
    return pd.array(as_kind(values, kind), dtype={str: text, int: "Int64", float: "Float64", bool: "boolean"}[kind])


def _pandas_cells(column: Any) -> Iterable[str]:
    missing = column.isna().tolist()
    if str(column.dtype) in ("float16", "float32"):  # as short as they were written, not as a float64 shows them
        return ("" if gone else str(value) for value, gone in zip(column.to_numpy(), missing, strict=True))
    return ("" if gone else value_text(value) for value, gone in zip(column.tolist(), missing, strict=True))


@dataclass(frozen=True, eq=False)
class Polars:
    """A polars frame; a lazy one is collected once, and given back lazy."""

    frame: pl.DataFrame
    lazy: bool = False

    @property
    def names(self) -> list[str]:
        """As they are."""
        return self.frame.columns

    def texts(self) -> pl.DataFrame:
        """The frame itself."""
        return self.frame

    def head(self, rows: int) -> Polars:
        """The first rows."""
        return replace(self, frame=self.frame.head(rows))

    def plus(self, added: Mapping[str, Column]) -> pl.DataFrame | pl.LazyFrame:
        """With the new columns at its end."""
        frame = self.frame.hstack(series_of(added))
        return frame.lazy() if self.lazy else frame


@dataclass(frozen=True, eq=False)
class Arrow:
    """A pyarrow table or record batch; a reader of batches is read once, and given back as a reader."""

    frame: Any
    reader: bool = False

    @property
    def names(self) -> list[str]:
        """As they are."""
        return list(self.frame.column_names)

    def texts(self) -> pl.DataFrame:
        """Column by column: what polars cannot hold (unions, month intervals, decimals of 256 bits) as text."""
        import polars as pl

        columns = [_arrow_cells(name, self.frame.column(i)) for i, name in enumerate(self.names)]
        return pl.DataFrame(columns)

    def head(self, rows: int) -> Arrow:
        """The first rows."""
        return replace(self, frame=self.frame.slice(0, rows))

    def plus(self, added: Mapping[str, Column]) -> Any:
        """With the new columns at its end; the metadata stay."""
        import pyarrow as pa

        frame = self.frame
        for name, values in added.items():
            kind = kind_of(values)
            typed = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[kind]
            frame = frame.append_column(name, pa.array(as_kind(values, kind), typed))
        return frame.to_reader() if self.reader else frame


def _arrow_cells(name: str, column: Any) -> pl.Series:
    import polars as pl
    import pyarrow as pa

    if _known_to_polars(column.type, pa.types):
        return pl.Series(name, column)
    return all_texts({name: map(value_text, column.to_pylist())}).to_series()


def _known_to_polars(kind: Any, types: Any) -> bool:
    """Asked beforehand: polars does not raise on other types, it panics."""
    if types.is_nested(kind):
        simple = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        parts = [kind.field(i).type for i in range(kind.num_fields)]
        return (simple or types.is_struct(kind)) and all(_known_to_polars(part, types) for part in parts)
    if types.is_dictionary(kind):
        return bool(types.is_string(kind.value_type) or types.is_large_string(kind.value_type))
    known = (
        *(types.is_boolean, types.is_integer, types.is_float32, types.is_float64, types.is_decimal128, types.is_date),
        *(types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary),
        *(types.is_timestamp, types.is_duration, types.is_time, types.is_null),
    )
    return any(is_it(kind) for is_it in known)


@dataclass(frozen=True, eq=False)
class Streamed:
    """Whatever speaks the Arrow PyCapsule interface and is none of the others: polars comes back."""

    frame: pl.DataFrame

    @property
    def names(self) -> list[str]:
        """As they are."""
        return self.frame.columns

    def texts(self) -> pl.DataFrame:
        """The frame itself."""
        return self.frame

    def head(self, rows: int) -> Streamed:
        """The first rows."""
        return Streamed(self.frame.head(rows))

    def plus(self, added: Mapping[str, Column]) -> pl.DataFrame:
        """With the new columns at its end."""
        return self.frame.hstack(series_of(added))


def all_texts(columns: Mapping[str, Iterable[str]]) -> pl.DataFrame:
    """A frame of texts. InputError: a text that is not Unicode."""
    import polars as pl

    try:
        made = {name: list(cells) for name, cells in columns.items()}
        return pl.DataFrame(made, schema=dict.fromkeys(columns, pl.String))
    except UnicodeEncodeError:
        raise InputError("the table holds a text that is not Unicode (a lone surrogate): clean it first") from None
