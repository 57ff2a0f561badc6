"""Tables that are already in memory: pandas, polars, Arrow, anything narwhals or the Arrow PyCapsule knows, lists of
dicts. What goes out is of the kind that came in, with the user's own columns, types and index untouched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smart_llm.errors import InputError
from smart_llm.tables.reading import check_names, read
from smart_llm.tables.stored import Stored
from smart_llm.tables.table import ADDED, Table, value_text
from smart_llm.tables.writing import Column, check_columns, with_added

if TYPE_CHECKING:
    import polars as pl


def open_table(source: Any) -> Table:
    """The table of a run: a path, a frame or a list of dicts. InputError: it cannot be read, or has no room for the
    columns a run adds."""
    table = read(os.fspath(source)) if isinstance(source, str | os.PathLike) else from_frame(source)
    check_columns(table)
    return table


def from_frame(data: Any) -> Table:
    """The table in a frame or a list of dicts. InputError: another kind of thing, or a column twice."""
    import narwhals as nw
    import polars as pl

    if isinstance(data, list | tuple):
        return Table(_from_dicts(data), "dicts", native=list(data))
    if isinstance(data, pl.LazyFrame):
        frame = data.collect()
        return Table(frame, "lazy", native=frame)
    if nw.dependencies.is_pandas_dataframe(data):
        return Table(_from_pandas(data), "pandas", native=data)
    if nw.dependencies.is_into_dataframe(data):
        return Table(_from_eager(data), "frame", native=data)
    if hasattr(data, "__arrow_c_stream__"):
        return Table(pl.DataFrame(data), "arrow-stream")
    raise InputError(
        f"a table cannot be made of {type(data).__name__}: give a path, a pandas, polars or Arrow table, or a list of "
        "dicts"
    )


def like_source(table: Table, answers: Column, answered_by: Column, status: Column) -> Any:
    """The table with its three new columns, as the kind of frame that came in (polars, for a file or Arrow stream)."""
    added: dict[str, Column] = dict(zip(ADDED, (answers, answered_by, status), strict=True))
    if table.format == "dicts":
        return [
            {**row, **dict(zip(added, new, strict=True))}
            for row, *new in zip(table.native, *added.values(), strict=True)
        ]
    if table.format == "lazy":
        return with_added(table.native, added).lazy()
    if table.native is not None:
        return _add_columns(table.native, added)
    frame = table.frame if not isinstance(table.frame, Stored) else table.frame.slice(0, table.rows)
    return with_added(frame, added)


def _add_columns(native: Any, added: dict[str, Column]) -> Any:
    import narwhals as nw

    if nw.dependencies.is_pandas_dataframe(native):
        return native.assign(**{name: list(values) for name, values in added.items()})
    frame = nw.from_native(native, eager_only=True)
    new = [nw.new_series(name, list(v), nw.String, backend=frame.implementation) for name, v in added.items()]
    return frame.with_columns(*new).to_native()


def _from_eager(data: Any) -> pl.DataFrame:
    import narwhals as nw

    try:
        frame = nw.from_native(data, eager_only=True)
        check_names(list(frame.columns), "the table")
        converted: pl.DataFrame = frame.to_polars()
        return converted
    except nw.exceptions.DuplicateError as error:
        raise InputError(f"the table has a column more than once: {error}".splitlines()[0]) from None


def _from_pandas(data: Any) -> pl.DataFrame:
    """Column by column through Python values: no pyarrow needed, and columns of mixed kinds are no trouble."""
    names = [str(name) for name in data.columns]
    check_names(names, "the table")
    return _texts({name: _pandas_column(data.iloc[:, i]) for i, name in enumerate(names)})


def _pandas_column(column: Any) -> list[str]:
    missing = column.isna().tolist()
    return ["" if gone else value_text(value) for value, gone in zip(column.tolist(), missing, strict=True)]


def _from_dicts(rows: Sequence[Any]) -> pl.DataFrame:
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
            raise InputError(f"row {i} of the list is not a dict with texts as keys: give a list of dicts")
    names = dict.fromkeys(name for row in rows for name in row)
    return _texts({name: [value_text(row.get(name)) for row in rows] for name in names})


def _texts(columns: dict[str, list[str]]) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    except UnicodeEncodeError:
        raise InputError("the table holds a text that is not Unicode (a lone surrogate): clean it first") from None
