"""Excel workbooks: the first sheet, with the types its cells have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smart_llm.errors import InputError
from smart_llm.tables.table import Table

if TYPE_CHECKING:
    import polars as pl

SHOWN = 5
"""Sheets that are named."""
EXACT = 2.0**53
"""Below it every whole number has a float of its own."""
SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


def read_excel(path: Path, data: bytes) -> Table:
    """The table on a workbook's first sheet. InputError: it cannot be read, or the reader is not installed."""
    try:
        import fastexcel
    except ImportError:
        raise InputError(
            f"{path}: workbooks need pip install 'smart-llm[files]'; or save the sheet as CSV: "
            f"soffice --convert-to csv {path}"
        ) from None
    try:
        book = fastexcel.read_excel(data)
        sheet, *others = book.sheet_names
        frame = book.load_sheet(sheet, dtype_coercion="coerce", schema_sample_rows=None).to_polars()
    except (fastexcel.FastExcelError, ValueError, OSError) as error:
        brief = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path} is not a readable workbook: {brief}") from None
    if frame.is_empty() and others:
        rest = ", ".join(map(repr, others[:SHOWN])) + (", …" if len(others) > SHOWN else "")
        raise InputError(
            f"{path}: its first sheet {sheet!r} has no rows, and no other is read; there {_is(others)} {rest}: move "
            "the sheet with the table to the front, or save it as CSV."
        )
    frame = _as_shown(frame)
    note = f"{path.name}: the sheet {sheet!r} is read, the first of {len(others) + 1}."
    return Table(frame, "xlsx", path, notes=(note,) if others else ())


def _is(others: list[str]) -> str:
    return "is" if len(others) == 1 else "are"


def _as_shown(frame: pl.DataFrame) -> pl.DataFrame:
    """Whole numbers and dates as people see them in their cells: a workbook keeps 7 as 7.0, a day as its midnight."""
    import polars as pl

    return frame.with_columns(
        [column.cast(pl.Int64) for column in frame.select(pl.col(pl.Float64)) if _is_whole(column)]
        + [column.cast(pl.Date) for column in frame.select(pl.col(pl.Datetime)) if _is_of_days(column)]
    )


def _is_whole(column: pl.Series) -> bool:
    known = column.drop_nulls()
    return len(known) > 0 and bool((known.is_finite() & (known.abs() < EXACT) & (known == known.floor())).all())


def _is_of_days(column: pl.Series) -> bool:
    known = column.drop_nulls()
    return len(known) > 0 and bool((known == known.dt.truncate("1d")).all())
