"""Reading files, exactly.

CSV and TSV cells are texts as written: "007" stays, an empty cell stays empty, no type is guessed. JSONL and Parquet
keep their types. JSONL rows are also kept as written, so that writing them back changes nothing; a column whose values
are of several kinds is read as text.

A file that cannot be read exactly is an `InputError` that names the place and says what to do. There are no partial
reads. A large file is streamed to disk (`tables.stored`), a small one held in memory; what is read is the same. Two
kinds of large files are held in memory all the same: JSONL whose columns hold values of several kinds, and files that
begin with a byte order mark.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from smart_llm.errors import InputError
from smart_llm.tables import stored
from smart_llm.tables.stored import Stored
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
    if _is_large(path):
        streamed: dict[str, Callable[[Path], Table]] = {"parquet": _large_parquet, "jsonl": _large_jsonl}
        return streamed.get(kind, _large_delimited)(path)
    return parse(path, _bytes(path))


def parse(path: Path, data: bytes) -> Table:
    """The table in a file that has been fetched. path: its name."""
    reader: dict[str, Callable[[Path, bytes], Table]] = {"parquet": _parquet, "jsonl": _jsonl}
    return reader.get(format_of(path), _delimited)(path, data)


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


def _is_large(path: Path) -> bool:
    """Too large to be held in memory, and fit to be streamed."""
    with _opened(path) as file:
        bom = file.read(3).startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE))
        return not bom and file.seek(0, os.SEEK_END) >= stored.LARGE


def _bytes(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"there is no file {path}: check the name") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name a file in it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _text(path: Path, data: bytes) -> bytes:
    """The file without a byte order mark. InputError: it is not UTF-8."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path} is UTF-16: save it as UTF-8")
    _check_utf8(path, io.BytesIO(data))
    return data.removeprefix(codecs.BOM_UTF8)


def _check_utf8(path: Path, file: BinaryIO) -> None:
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    more = True
    while more:
        chunk = file.read(_CHUNK)
        more = bool(chunk)
        try:
            decoder.decode(chunk, final=not more)
        except UnicodeDecodeError as error:
            line = lines + error.object.count(b"\n", 0, error.start)
            raise InputError(f"{path} is not UTF-8 (near line {line}): save it as UTF-8") from None
        lines += chunk.count(b"\n")


def _delimited(path: Path, data: bytes) -> Table:
    kind = format_of(path)
    data = _text(path, data)
    names = _header(path, io.BytesIO(data), SEPARATORS[kind])
    if len(names) > 1:
        data = data.rstrip(b"\r\n")  # blank lines at the end are no rows; with one column they may be empty cells
    with _malformed(path):
        return Table(_csv_frame(path, data, SEPARATORS[kind], names).collect(), kind, path)


def _large_delimited(path: Path) -> Table:
    kind = format_of(path)
    with _opened(path) as file:
        _check_utf8(path, file)
        file.seek(0)
        names = _header(path, file, SEPARATORS[kind])
        blank = _blank_lines(path) if len(names) > 1 else 0
    with _malformed(path):
        frame = Stored.keep(_csv_frame(path, path.absolute(), SEPARATORS[kind], names))
    return Table(frame.head(len(frame) - blank), kind, path)


def _blank_lines(path: Path) -> int:
    """How many lines at the end of a file hold nothing."""
    with _opened(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _CHUNK))
        end = file.read()
    return max(0, end[len(end.rstrip(b"\r\n")) :].count(b"\n") - 1)


def _header(path: Path, file: BinaryIO, separator: str) -> list[str]:
    lines = io.TextIOWrapper(file, "utf-8", newline="")
    try:
        names = next((names for names in csv.reader(lines, delimiter=separator) if names), None)
    except csv.Error as error:
        raise InputError(f"{path}: the header line cannot be read: {error}") from None
    if names is None:
        raise InputError(f"{path} is empty: it has no header line and no rows")
    lines.detach()
    check_names(names, path)
    return names


def _csv_frame(path: Path, source: bytes | Path, separator: str, names: list[str]) -> pl.LazyFrame:
    """Every cell a text. What is malformed shows when it is read: see `_malformed`."""
    import polars as pl

    with _malformed(path):
        frame = pl.scan_csv(source, separator=separator, infer_schema=False, empty_string_is_null=False, glob=False)
        found = frame.collect_schema().names()
    if len(found) != len(names):
        raise InputError(f"{path}: the header line cannot be read: check its quotes")
    return frame.rename(dict(zip(found, names, strict=True))).with_columns(pl.all().fill_null(""))


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    """What polars says of a delimited file, as an InputError."""
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as error:
        if "more fields" in str(error):
            raise InputError(f"{path}: a row has more cells than the header: quote cells that hold commas") from None
        raise InputError(
            f"{path} is malformed: {_brief(error)}\nA cell that begins with a quote must end with one."
        ) from None


def _parquet(path: Path, data: bytes) -> Table:
    import polars as pl

    with _bad_parquet(path):
        return Table(pl.read_parquet(io.BytesIO(data)), "parquet", path)


def _large_parquet(path: Path) -> Table:
    import polars as pl

    with _bad_parquet(path):
        return Table(Stored.keep(pl.scan_parquet(path.absolute(), glob=False)), "parquet", path)


@contextmanager
def _bad_parquet(path: Path) -> Iterator[None]:
    import polars as pl

    try:
        yield
    except pl.exceptions.DuplicateError as error:
        raise InputError(f"{path}: a column is there more than once: {_brief(error)}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {_brief(error)}") from None


def _jsonl(path: Path, data: bytes) -> Table:
    import polars as pl

    lines = pl.Series("line", _text(path, data).decode().split("\n"), dtype=pl.String).str.strip_chars(" \t\r")
    rows = lines.filter(lines.str.len_bytes() > 0)
    frame = _typed(rows)
    return Table(_untyped(path, lines) if frame is None else frame, "jsonl", path, rows.to_frame())


def _large_jsonl(path: Path) -> Table:
    import polars as pl

    with _opened(path) as file:
        _check_utf8(path, file)
    line = pl.col("line").str.strip_chars(" \t\r")
    lines = Stored.keep(pl.scan_lines(path.absolute(), name="line", glob=False).select(line).filter(line != ""))
    doubtful = ~line.str.starts_with("{") | line.str.contains(_SURROGATE)
    if not len(lines) or lines.lazy().select(doubtful.any()).collect().item():
        return _jsonl(path, _bytes(path))
    try:
        with _opened(path) as file:  # by its descriptor: polars would read a name such as "a[1].jsonl" as a pattern
            frame = Stored.keep(pl.scan_ndjson(f"/dev/fd/{file.fileno()}", infer_schema_length=None))
    except pl.exceptions.PolarsError:
        return _jsonl(path, _bytes(path))
    whole = len(frame) == len(lines) and frame.columns
    return Table(frame, "jsonl", path, lines) if whole else _jsonl(path, _bytes(path))


_SURROGATE = r"(?i)\\ud"


def _typed(rows: pl.Series) -> pl.DataFrame | None:
    """The rows with the types polars finds; None where it finds none that fits every row, or could misread one."""
    import polars as pl

    if not (len(rows) and rows.str.starts_with("{").all()) or rows.str.contains(_SURROGATE).any():
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
