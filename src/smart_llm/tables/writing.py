"""Writing the delivered table: same rows, same order, original columns untouched, three columns added.

A file appears whole or not at all (`files.whole`). Whether it can be written is
found out by `check_output`, before anything is spent.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from smart_llm.errors import InputError
from smart_llm.files import beside, unwritten, whole
from smart_llm.tables.cells import as_text, column_text
from smart_llm.tables.columns import Column, series_of
from smart_llm.tables.large import Stored, slices
from smart_llm.tables.reading import FORMATS, SEPARATORS, format_of
from smart_llm.tables.table import ADDED, Table

if TYPE_CHECKING:
    import polars as pl

Cells: TypeAlias = "Callable[[pl.DataFrame], pl.DataFrame]"

SLICE = 32768
"""Rows written at a time."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a formula begins with in one spreadsheet or another; the wide signs are taken for the others in some."""
NUMBER = r"^[+-]?(?:\d+(?:[.,]\d+)*|[.,]\d+)(?:[eE][+-]?\d+)?\s?%?$"


def check_columns(table: Table) -> None:
    """InputError: the table already has a column that a run would add."""
    taken = [name for name in table.added if name in (*table.columns, *(table.written or ()))]
    if taken:
        raise InputError(
            f"the table already has {', '.join(taken)}, and a run adds {', '.join(table.added)}: choose another name "
            "with --answer-column NAME, or rename yours"
        )


def added_names(answer: str) -> tuple[str, str, str]:
    """What the columns of a run are called where that of the answers is called so: all begin with it, unless it is the
    usual name. InputError: no name."""
    if not isinstance(answer, str) or not answer.strip():
        raise InputError("--answer-column: give a name for the column of answers")
    if answer == ADDED[0]:
        return ADDED
    return (answer, f"{answer}_by", f"{answer}_status")


def check_output(path: Path | str, table: Table) -> None:
    """InputError: `write` would fail, or would overwrite the table itself. Leaves nothing behind."""
    check_columns(table)
    kind = format_of(path)
    target = Path(os.path.realpath(path))
    if _same_file(target, table.path):
        raise InputError(f"the output {path} is the table itself: choose another name")
    if table.path is not None and table.path.is_dir() and target.is_relative_to(os.path.realpath(table.path)):
        raise InputError(
            f"the output {path} is in the table's own folder, and would be part of it: choose another place"
        )
    if target.is_dir():
        raise InputError(f"the output {path} is a folder: name a file in it")
    if target.exists() and not os.access(target, os.W_OK):
        raise InputError(f"the output {path} is write-protected: choose another name")
    _check_folder(path, target)
    _check_format(path, kind, table)
    if Path(path).is_symlink():
        warnings.warn(f"the output {path} is a link: {target} is what is written.", stacklevel=2)


def write(
    table: Table,
    answers: Column,
    answered_by: Column,
    status: Column,
    path: Path | str,
    *,
    more: Mapping[str, Column] | None = None,
) -> None:
    """Write the table with its three new columns, in the format the path's suffix names. All or nothing.

    answers, answered_by, status, and more columns by their names: one entry a row, in the table's order; None is
    written as an empty cell (null).
    """
    _write_whole(table, (answers, answered_by, status), more or {}, path, _unquoted)


def write_harmless(
    table: Table,
    answers: Column,
    answered_by: Column,
    status: Column,
    path: Path | str,
    *,
    more: Mapping[str, Column] | None = None,
) -> None:
    """As `write`, but in CSV and TSV no text begins as a formula does, which a spreadsheet would carry out on opening.

    Such cells, and names of columns, get an apostrophe before them. Numbers stay numbers.
    """
    _write_whole(table, (answers, answered_by, status), more or {}, path, _harmless)


def _write_whole(
    table: Table, columns: Sequence[Column], more: Mapping[str, Column], path: Path | str, cells: Cells
) -> None:
    added = {**dict(zip(table.added, columns, strict=True)), **more}
    if any(len(values) != table.rows for values in added.values()):
        raise ValueError(f"{table.rows} rows need as many answers")
    with _atomically(Path(os.path.realpath(path))) as file:
        _write(table, added, format_of(path), file, cells)


def with_added(frame: pl.DataFrame, added: dict[str, Column]) -> pl.DataFrame:
    """The frame with the new columns at its end."""
    return frame.hstack(series_of(added))


def _write(table: Table, added: dict[str, Column], kind: str, file: BinaryIO, cells: Cells) -> None:
    """Slice by slice, so that neither the table nor its answers need be in memory; Parquet streams the table only.
    cells: makes text of a slice, for CSV and TSV."""
    if kind == "parquet":
        _write_parquet(table, added, file)
        return
    spliced = kind in ("jsonl", "json") and table.lines is not None
    listed = _Listed(file) if kind == "json" else file
    start = 0
    for part in slices(table.lines if spliced and table.lines is not None else table.frame, SLICE):
        new = {name: values[start : start + len(part)] for name, values in added.items()}
        if kind in ("jsonl", "json"):
            listed.writelines(_spliced(part.to_series() if spliced else _json_lines(part), new))
        else:
            _write_cells(table, kind, with_added(part, new), file, cells, header=not start)
        start += len(part)
    if isinstance(listed, _Listed):
        listed.end()


class _Listed:
    """Lines of JSON as one array."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._before = file, b"[\n"

    def writelines(self, lines: Iterable[bytes]) -> None:
        """One object each."""
        for line in lines:
            self._file.write(self._before + line.rstrip(b"\n"))
            self._before = b",\n"

    def end(self) -> None:
        """Close the array."""
        self._file.write(b"\n]\n" if self._before == b",\n" else b"[]\n")


def _write_cells(table: Table, kind: str, part: pl.DataFrame, file: BinaryIO, cells: Cells, *, header: bool) -> None:
    """Delimited, in UTF-8: with the separator, the header, the line ends and the byte order mark that the table was
    read with, where it is of this format."""
    alike = table.format == kind
    separator = table.separator if alike and table.separator else SEPARATORS[kind]
    end = "\r\n" if alike and table.crlf else "\n"
    file.write(codecs.BOM_UTF8 if header and alike and table.marked else b"")
    if header and table.written is not None:
        names = [*table.written, *part.columns[len(table.written) :]]
        text = io.StringIO(newline="")
        row = map(_shielded, names) if cells is _harmless else names
        csv.writer(text, delimiter=separator, lineterminator=end).writerow(row)
        file.write(text.getvalue().encode())
        header = False
    cells(part).write_csv(file, separator=separator, include_header=header, line_terminator=end)


def described(path: Path) -> str:
    """How a delimited file was written, in words; empty for other files."""
    if FORMATS.get(path.suffix.lower()) not in SEPARATORS:
        return ""
    with path.open("rb") as file:
        start = file.readline(1 << 20)
    mark = " with a byte order mark" if start.startswith(codecs.BOM_UTF8) else ""
    end = "CRLF" if start.endswith(b"\r\n") else "LF"
    return f"UTF-8{mark}, lines end in {end}"


def _write_parquet(table: Table, added: dict[str, Column], file: BinaryIO) -> None:
    import polars as pl

    if isinstance(table.frame, Stored):
        new = pl.DataFrame(series_of(added))
        pl.concat([table.frame.lazy(), new.lazy()], how="horizontal").sink_parquet(file)
    else:
        with_added(table.frame, added).write_parquet(file)


def _spliced(lines: Iterable[str], added: dict[str, Column]) -> Iterator[bytes]:
    """Each JSON line as it was, with the new fields before its closing brace."""
    for line, *values in zip(lines, *added.values(), strict=True):
        start = line[:-1].rstrip()
        fields = json.dumps(dict(zip(added, values, strict=True)), ensure_ascii=False, default=str)
        yield f"{start}{'' if start == '{' else ', '}{fields[1:]}\n".encode()


def _json_lines(frame: pl.DataFrame) -> list[str]:
    """Each row as JSON; bytes, which it has no form for, as text."""
    import polars as pl

    if not frame.width:
        return ["{}"] * len(frame)
    odd = [column_text(each) for each in frame.iter_columns() if each.dtype in (pl.Binary, pl.Object)]
    buffer = io.BytesIO()
    frame.with_columns(odd).write_ndjson(buffer)
    return buffer.getvalue().decode().split("\n")[: len(frame)]


def _unquoted(frame: pl.DataFrame) -> pl.DataFrame:
    """Cells as text, empty ones as nothing between two separators (not as a pair of quotes)."""
    import polars as pl

    return as_text(frame).with_columns(pl.all().replace("", None))


def _harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """As `_unquoted`; texts and names that begin as a formula does with an apostrophe before them."""
    import polars as pl

    columns = zip(frame.iter_columns(), _unquoted(frame).iter_columns(), strict=True)
    made = [text if column.dtype.is_numeric() else _disarmed(text) for column, text in columns]
    return pl.DataFrame([each.alias(_shielded(each.name)) for each in made])


def _shielded(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA) else name


def _disarmed(column: pl.Series) -> pl.Series:
    name, column = column.name, column.alias("cell")  # polars would read a name such as "^a$" as a pattern
    begins = column.str.slice(0, 1).is_in(FORMULA) & ~column.str.contains(NUMBER)
    return column.zip_with(~begins.fill_null(value=False), "'" + column).alias(name)


def _same_file(target: Path, table: Path | None) -> bool:
    """Also through links, symbolic or hard."""
    return table is not None and target.exists() and table.exists() and target.samefile(table)


def _check_folder(path: Path | str, target: Path) -> None:
    if not target.parent.is_dir():
        raise InputError(f"the output {path}: there is no folder {target.parent}: make it first")
    probe = beside(target)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"the output {path} cannot be written: {error.strerror}") from None


def _check_format(path: Path | str, kind: str, table: Table) -> None:
    import polars as pl

    first = table.head(1)
    nothing: list[str | None] = [None] * first.rows
    try:
        _write(first, dict.fromkeys(table.added, nothing), kind, io.BytesIO(), _unquoted)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InputError(f"this table cannot be written as {kind}: {error}".splitlines()[0]) from None


@contextmanager
def _atomically(target: Path) -> Iterator[BinaryIO]:
    try:
        with whole(target) as file:
            yield file
    except OSError as error:
        raise InputError(unwritten(target, error)) from error
