"""Tables that are already in memory: pandas, polars, Arrow, DuckDB relations, lists of dicts. What goes out is of the
kind that came in, with the user's own columns, types, row order and index untouched (`tables.natives`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from smart_llm.errors import InputError
from smart_llm.tables.columns import Column
from smart_llm.tables.duckdb import Duck
from smart_llm.tables.large import Stored
from smart_llm.tables.manner import USUAL, Manner
from smart_llm.tables.natives import Arrow, Dicts, Native, Pandas, Polars, Streamed, of_texts
from smart_llm.tables.reading import check_names, read
from smart_llm.tables.storage import is_folder
from smart_llm.tables.table import ADDED, Table
from smart_llm.tables.writing import added_names, check_columns, with_added

UNNAMED = "text"
"""What the only column of a table is called that has no name."""
ELSEWHERE = {
    "ibis": "table.to_polars()",
    "pyspark": "df.toPandas()",
    "sqlframe": "df.toPandas()",
    "dask": "df.compute()",
    "modin": "df.modin.to_pandas()",
    "cudf": "df.to_pandas()",
    "datasets": "dataset.to_polars()",
}
"""Tables of other libraries, by the package their type is from: how to make one of ours."""


def open_table(source: Any, manner: Manner = USUAL, *, answer: str = ADDED[0]) -> Table:
    """The table of a run: a path, a folder of files, a frame or a list of dicts. answer: what the column of answers is
    to be called. InputError: it cannot be read, or has no room for the columns a run adds."""
    table = _read(os.fspath(source), manner) if isinstance(source, str | os.PathLike) else from_frame(source)
    table = replace(table, added=added_names(answer))
    check_columns(table)
    return table


def _read(place: str, manner: Manner) -> Table:
    if not is_folder(place):
        return read(place, manner)
    from smart_llm.tables.folder import read_folder

    return read_folder(place, manner)


def from_frame(data: Any) -> Table:
    """The table in a frame, or in a list or iterator of dicts. InputError: another kind of thing, or a column twice."""
    native = _native(data)
    check_names(native.names, "the table")
    return Table(native.texts(), type(native).__name__.lower(), native=native)


def like_source(
    table: Table,
    answers: Column,
    answered_by: Column,
    status: Column,
    *,
    more: Mapping[str, Column] | None = None,
) -> Any:
    """The table with its three new columns, and more by their names, as the kind of frame that came in (polars, for a
    file or Arrow stream)."""
    added: dict[str, Column] = {
        **dict(zip(table.added, (answers, answered_by, status), strict=True)),
        **(more or {}),
    }
    if table.native is not None:
        return table.native.plus(added)
    frame = table.frame if not isinstance(table.frame, Stored) else table.frame.slice(0, table.rows)
    return with_added(frame, added)


def _native(data: Any) -> Native:
    import narwhals as nw
    import polars as pl

    known = nw.dependencies
    if isinstance(data, list | tuple | Iterator) and not hasattr(data, "__arrow_c_stream__"):
        rows = list(data)
        return of_texts(rows) if rows and all(isinstance(row, str) for row in rows) else Dicts(rows)
    if isinstance(data, pl.Series):
        return Polars(data.to_frame(data.name or UNNAMED))
    if known.is_pandas_series(data):
        return Pandas(data.to_frame(UNNAMED if data.name is None else data.name))
    if isinstance(data, pl.DataFrame):
        return Polars(data)
    if isinstance(data, pl.LazyFrame):
        return Polars(data.collect(), lazy=True)
    if known.is_pandas_dataframe(data):
        return Pandas(data)
    if known.is_duckdb_relation(data):
        return Duck.of(data)
    return _arrow(data)


def _arrow(data: Any) -> Native:
    import polars as pl

    kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"
    if kind in ("pyarrow.Table", "pyarrow.RecordBatch"):
        return Arrow(data)
    if kind == "pyarrow.RecordBatchReader":
        return Arrow(data.read_all(), reader=True)
    if (package := kind.partition(".")[0]) in ELSEWHERE:
        raise InputError(f"a {kind} is not read as it is: give {ELSEWHERE[package]}")
    if hasattr(data, "__arrow_c_stream__"):
        return Streamed(pl.DataFrame(data))
    raise InputError(
        f"a table cannot be made of {type(data).__name__}: give a path, a pandas, polars or Arrow table, a DuckDB "
        "relation, or a list of dicts"
    )
