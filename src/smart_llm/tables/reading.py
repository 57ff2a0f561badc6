"""Reading files, exactly.

CSV and TSV cells are texts as written: "007" stays, an empty cell stays empty, no type is guessed. JSONL and Parquet
keep their types. JSONL rows are also kept as written, so that writing them back changes nothing; a column whose values
are of several kinds is read as text.

A file that cannot be read exactly is an `InputError` that names the place and says what to do. There are no partial
reads.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from smart_llm.errors import InputError
from smart_llm.tables.table import Table, value_text

if TYPE_CHECKING:
    import polars as pl

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Suffix → format."""

SEPARATORS = {"csv": ",", "tsv": "\t"}
_CHUNK = 1 << 20


def format_of(path: Path | str) -> str:
    """The format a file's name says. InputError: none that is known."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: unknown format {suffix or '(no suffix)'!r}: use .csv, .tsv, .jsonl or .parquet")
    return FORMATS[suffix]


def read(path: Path | str) -> Table:
    """The table in a file. InputError: missing, unreadable, of unknown format, malformed, or with a column twice.

    A table without rows is read as such; a file without even a header line is an InputError.
    """
    path = Path(path)
    kind = format_of(path)
    data = _bytes(path)
    reader: dict[str, Callable[[Path, bytes], Table]] = {"parquet": _parquet, "jsonl": _jsonl}
    return reader.get(kind, _delimited)(path, data)


def spool(stream: BinaryIO, directory: Path | str) -> Path:
    """Keep a table that comes from a stream as a file named by its content (mode 0600), so that a run can be resumed.

    The format is told by the first bytes. InputError: nothing came, or nothing we can read.
    """
    try:
        return _spool(stream, Path(directory))
    except OSError as error:
        raise InputError(f"standard input cannot be kept in {directory}: {error.strerror}") from None


def _spool(stream: BinaryIO, directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = directory / f".spool-{os.getpid()}"
    content = hashlib.blake2b(digest_size=16)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
                file.write(chunk)
        with part.open("rb") as file:
            suffix = sniff(file.read(_CHUNK))
        return part.rename(directory / f"stdin-{content.hexdigest()}.{suffix}")
    finally:
        part.unlink(missing_ok=True)


def sniff(start: bytes) -> str:
    """The format of a file by its first bytes: csv, tsv, jsonl or parquet."""
    if start.startswith(b"PAR1"):
        return "parquet"
    text = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if not text:
        raise InputError("standard input is empty: nothing to read")
    if text.startswith(b"["):
        raise InputError("standard input looks like one JSON array: give JSON lines, one object a line")
    header = text.split(b"\n", 1)[0]
    return "jsonl" if text.startswith(b"{") else "tsv" if header.count(b"\t") > header.count(b",") else "csv"


def check_names(names: list[str], where: object) -> None:
    """InputError: a column stands there twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{where}: column {twice[0]!r} is there more than once: rename one of them")


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}: check the name") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name a file in it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return data


def _text(path: Path, data: bytes) -> bytes:
    """The file without a byte order mark. InputError: it is not UTF-8."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path} is UTF-16: save it as UTF-8")
    decoder, done = codecs.getincrementaldecoder("utf-8")(), 0
    for start in range(0, len(data) + 1, _CHUNK):
        try:
            decoder.decode(data[start : start + _CHUNK], final=start + _CHUNK > len(data))
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, done + error.start) + 1
            raise InputError(f"{path} is not UTF-8 (near line {line}): save it as UTF-8") from None
        done = start + _CHUNK
    return data.removeprefix(codecs.BOM_UTF8)


def _delimited(path: Path, data: bytes) -> Table:
    kind = format_of(path)
    data = _text(path, data)
    names = _header(path, data, SEPARATORS[kind])
    check_names(names, path)
    if len(names) > 1:
        data = data.rstrip(b"\r\n")  # blank lines at the end are no rows; with one column they may be empty cells
    return Table(_csv_frame(path, data, SEPARATORS[kind], names), kind, path)


def _header(path: Path, data: bytes, separator: str) -> list[str]:
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")
    try:
        names = next((names for names in csv.reader(lines, delimiter=separator) if names), None)
    except csv.Error as error:
        raise InputError(f"{path}: the header line cannot be read: {error}") from None
    if names is None:
        raise InputError(f"{path} is empty: it has no header line and no rows")
    return names


def _csv_frame(path: Path, data: bytes, separator: str, names: list[str]) -> pl.DataFrame:
    import polars as pl

    try:
        frame = pl.read_csv(data, separator=separator, infer_schema=False, empty_string_is_null=False)
    except pl.exceptions.PolarsError as error:
        if "more fields" in str(error):
            raise InputError(
                f"{path}: a row has more cells than the header: quote cells that hold {separator!r}"
            ) from None
        raise InputError(
            f"{path} is malformed: {_brief(error)}\nA cell that begins with a quote must end with one."
        ) from None
    if frame.width != len(names):
        raise InputError(f"{path}: the header line cannot be read: check its quotes")
    frame.columns = names
    return frame.with_columns(pl.all().fill_null(""))


def _parquet(path: Path, data: bytes) -> Table:
    import polars as pl

    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except pl.exceptions.DuplicateError as error:
        raise InputError(f"{path}: a column is there more than once: {_brief(error)}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {_brief(error)}") from None
    return Table(frame, "parquet", path)


def _jsonl(path: Path, data: bytes) -> Table:
    import polars as pl

    lines = pl.Series("line", _text(path, data).decode().split("\n"), dtype=pl.String).str.strip_chars(" \t\r")
    rows = lines.filter(lines.str.len_bytes() > 0)
    frame = _typed(rows)
    return Table(_untyped(path, lines) if frame is None else frame, "jsonl", path, rows)


def _typed(rows: pl.Series) -> pl.DataFrame | None:
    """The rows with the types polars finds; None where it finds none that fits every row, or could misread one."""
    import polars as pl

    if not (len(rows) and rows.str.starts_with("{").all()) or rows.str.contains(r"(?i)\\ud").any():
        return None
    try:
        frame = pl.read_ndjson("\n".join(rows).encode(), infer_schema_length=None)
    except pl.exceptions.PolarsError:
        return None
    return frame if len(frame) == len(rows) and frame.width else None


def _untyped(path: Path, lines: pl.Series) -> pl.DataFrame:
    """The rows with every cell as text. InputError: a line that is not a JSON object."""
    import polars as pl

    rows = [_object(path, number, line) for number, line in enumerate(lines, 1) if line]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [value_text(row.get(name)) for row in rows] for name in names}
    return pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    import msgspec

    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
        value_text(row).encode()
    except msgspec.ValidationError:
        raise InputError(f"{path}, line {number}: each line must be a JSON object, {{…}}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError(f"{path}, line {number}: not valid JSON: {_brief(error)}") from None
    return row


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
