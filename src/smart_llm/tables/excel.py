"""Excel workbooks: the first sheet, with the types its cells have."""

from __future__ import annotations

from pathlib import Path

from smart_llm.errors import InputError
from smart_llm.tables.table import Table

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
    note = f"{path.name}: the sheet {sheet!r} is read, the first of {len(others) + 1}."
    return Table(frame, "xlsx", path, notes=(note,) if others else ())
