"""Reading files, exactly.

CSV and TSV cells are texts as written: "007" stays, an empty cell stays empty, no type is guessed (how they are read:
`delimited`). JSON, Parquet and workbooks keep their types. Rows of JSON are also kept as written, so that writing them
back changes nothing; a column whose values are of several kinds is read as text.

A file that cannot be read exactly is an `InputError` that names the place and says what to do. There are no partial
reads. A large file is streamed to disk (`tables.large`), a small one held in memory; what is read is the same. Held in
memory all the same: JSONL whose columns hold values of several kinds or that is not plain UTF-8, one JSON array, and
workbooks.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from smart_llm.errors import InputError
from smart_llm.files import private
from smart_llm.tables import excel, foreign
from smart_llm.tables import large as stored
from smart_llm.tables.arrays import lines_of
from smart_llm.tables.cells import value_text
from smart_llm.tables.delimited import read_delimited
from smart_llm.tables.encodings import LOOKED_AT, MARKS, encoding_of
from smart_llm.tables.large import Scratch, Stored
from smart_llm.tables.manner import USUAL, Manner
from smart_llm.tables.packed import PACKINGS, unpacked
from smart_llm.tables.table import Table
from smart_llm.tables.twice import doubtful, single

if TYPE_CHECKING:
    import polars as pl

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Suffix → format."""

READ_AS = {".txt": "tsv", **dict.fromkeys(excel.SUFFIXES, "xlsx")}
"""Suffix → format, of files that are read only."""
SEPARATORS = {"csv": ",", "tsv": "\t"}
"""Of what is written, where the table that was read has none."""
PACKED = {
    b"\x1f\x8b": ("compressed by gzip", "gunzip -c"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "zstd -dc"),
    b"PK\x03\x04": ("a workbook or a zip archive", "unzip -p"),
}
"""First bytes → what a stream is that is not read, and the command that unpacks it."""
_CHUNK = 1 << 20


def format_of(path: Path | str) -> str:
    """The format a file's name says, for writing. InputError: none that is written."""
    suffix = Path(path).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    if suffix in PACKINGS or suffix in READ_AS:
        name, written = named_as(Path(path))
        written = written or ".csv"
        raise InputError(f"{path}: {suffix} is read, but not written: write {Path(path).with_name(name + written)}")
    raise InputError(f"{path}: unknown format {suffix or '(no suffix)'!r}: use .csv, .tsv, .jsonl, .json or .parquet")


def input_format(path: Path | str) -> tuple[str, str | None]:
    """The format a file's name says, for reading, and how it is compressed. InputError: none that is read."""
    suffix = Path(path).suffix.lower()
    if suffix in PACKINGS:
        return input_format(Path(path).with_suffix(""))[0], PACKINGS[suffix]
    foreign.check_name(path)
    return READ_AS.get(suffix) or format_of(path), None


def named_as(path: Path) -> tuple[str, str]:
    """A file's name without what says its format, and the suffix that answers to it are written with: its own, or that
    of CSV where its format is not written."""
    plain = path.with_suffix("") if path.suffix.lower() in PACKINGS else path
    suffix = plain.suffix
    return plain.stem, {"tsv": ".tsv", "xlsx": ".csv"}.get(READ_AS.get(suffix.lower(), ""), suffix)


def read(path: Path | str, manner: Manner = USUAL) -> Table:
    """The table in a file. InputError: missing, unreadable, of unknown format, or malformed.

    A table without rows is read as such; a file without even a header line is an InputError.
    """
    path = Path(path)
    packing = input_format(path)[1]
    if packing is None:
        return _read(path, path, manner)
    with unpacked(path, packing) as file:
        return _read(path, file, manner)


def _read(path: Path, file: Path, manner: Manner) -> Table:
    """path: what the table is called; file: where its contents are."""
    kind = input_format(path)[0]
    if _size(file) < stored.LARGE or kind in ("xlsx", "json"):
        return _parse(path, _bytes(file), manner)
    if kind == "parquet":
        return _large_parquet(path, file)
    with _opened(file) as begun:
        foreign.check_start(path, begun.read(foreign.LOOKED_AT))
    if kind == "jsonl":
        return _large_jsonl(path, file, manner)
    return _delimited(path, file.absolute(), manner)


def parse(path: Path, data: bytes, manner: Manner = USUAL) -> Table:
    """The table in a file that has been fetched. path: its name."""
    if input_format(path)[1] is None:
        return _parse(path, data, manner)
    packed = Scratch(lambda name: Path(name).write_bytes(data))
    with unpacked(Path(packed.path), str(input_format(path)[1])) as file:
        return _read(path, file, manner)


def _parse(path: Path, data: bytes, manner: Manner) -> Table:
    kind = input_format(path)[0]
    if kind == "parquet":
        return _parquet(path, data)
    if kind == "xlsx":
        return excel.read_excel(path, data)
    foreign.check_start(path, data[: foreign.LOOKED_AT])
    if kind == "jsonl":
        return _jsonl(path, _text(path, data, manner))
    if kind == "json":
        return replace(_jsonl(path, lines_of(path, _text(path, data, manner))), format="json")
    return _delimited(path, data, manner)


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
        with open(part, "wb", opener=private) as file:
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
                file.write(chunk)
        with part.open("rb") as file:
            suffix = sniff(file.read(_CHUNK))
        return part.replace(directory / f"stdin-{content.hexdigest()}.{suffix}")
    finally:
        part.unlink(missing_ok=True)


def sniff(start: bytes) -> str:
    """The format of a file by its first bytes: csv, tsv, jsonl, json or parquet."""
    if start.startswith(b"PAR1"):
        return "parquet"
    for mark, (what, command) in PACKED.items():
        if start.startswith(mark):
            raise InputError(f"standard input is {what}: unpack it on the way, as in {command} … | smart run -")
    text = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if not text:
        raise InputError("standard input is empty: nothing to read")
    if text.startswith(b"["):
        if (rest := text[1:].lstrip()) and not rest.startswith(b"{"):
            raise InputError("standard input is a JSON array of something else than objects: give rows, [{…}, {…}]")
        return "json"
    header = text.split(b"\n", 1)[0]
    return "jsonl" if text.startswith(b"{") else "tsv" if header.count(b"\t") > header.count(b",") else "csv"


def check_names(names: list[str], where: object) -> None:
    """InputError: a column stands there twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{where}: column {twice[0]!r} is there more than once: rename one of them")


def _size(path: Path) -> int:
    with _opened(path) as file:
        return file.seek(0, os.SEEK_END)


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


def _text(path: Path, data: bytes, manner: Manner) -> bytes:
    """The file as UTF-8 without a byte order mark. InputError: it is in no encoding that JSON is written in."""
    encoding = manner.encoding
    if encoding is None:
        encoding = next((name for mark, name in MARKS if data.startswith(mark)), None)
    if encoding is None:
        _check_utf8(path, io.BytesIO(data))
        return data
    try:
        return data.decode(encoding_of(path, b"", False, encoding)[0]).encode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not {encoding} ({error.reason}): give another --encoding") from None


def _check_utf8(path: Path, file: BinaryIO) -> None:
    bad = _first_odd(file)
    if bad is not None:
        file.seek(0)
        line = 1 + file.read(bad).count(b"\n")
        raise InputError(f"{path} is not UTF-8 (near line {line}): save it as UTF-8, or give --encoding")


def _first_odd(file: BinaryIO) -> int | None:
    """Where a file stops being UTF-8; None where it never does."""
    decoder, before, more = codecs.getincrementaldecoder("utf-8")(), 0, True
    while more:
        chunk = file.read(_CHUNK)
        more, kept = bool(chunk), len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=not more)
        except UnicodeDecodeError as error:
            return before - kept + error.start
        before += len(chunk)
    return None


def _encoding(path: Path, file: BinaryIO, manner: Manner) -> tuple[str, str | None]:
    """The encoding of a delimited file, and a sentence where it was guessed."""
    odd = _first_odd(file)
    file.seek(0)
    start = file.read(LOOKED_AT)
    told = start.startswith(tuple(mark for mark, _ in MARKS)) or b"\x00" in start
    if odd is not None and odd > LOOKED_AT // 2 and not told:
        file.seek(max(0, odd - _CHUNK))
        part = file.read(_CHUNK + LOOKED_AT)
        start = part[part.rfind(b"\n", 0, odd - max(0, odd - _CHUNK)) + 1 :][:LOOKED_AT]
    return encoding_of(path, start, odd is None, manner.encoding)


def _delimited(path: Path, source: bytes | Path, manner: Manner) -> Table:
    kind = input_format(path)[0]
    with io.BytesIO(source) if isinstance(source, bytes) else _opened(source) as file:
        encoding, note = _encoding(path, file, manner)
        file.seek(0)
        marked = file.read(4).startswith(tuple(mark for mark, _ in MARKS))
    table = read_delimited(path, source, kind, encoding, manner, large=isinstance(source, Path))
    return replace(table, marked=marked, notes=(note, *table.notes) if note else table.notes)


def _parquet(path: Path, data: bytes) -> Table:
    import polars as pl

    with _bad_parquet(path):
        return Table(pl.read_parquet(io.BytesIO(data)), "parquet", path)


def _large_parquet(path: Path, file: Path) -> Table:
    import polars as pl

    with _bad_parquet(path):
        return Table(Stored.keep(pl.scan_parquet(file.absolute(), glob=False)), "parquet", path)


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

    lines = pl.Series("line", data.decode().split("\n"), dtype=pl.String).str.strip_chars(" \t\r")
    rows = lines.filter(lines.str.len_bytes() > 0)
    frame = _typed(rows)
    once, note = single(rows, frame.columns if frame is not None else [])
    if note is not None:
        frame = _typed(once)
    notes = () if note is None else (f"{path.name}: {note}",)
    return Table(_untyped(path, lines) if frame is None else frame, "jsonl", path, rows.to_frame(), notes=notes)


def _large_jsonl(path: Path, at: Path, manner: Manner) -> Table:
    import polars as pl

    with _opened(at) as file:
        marked = file.read(4).startswith(tuple(mark for mark, _ in MARKS))
        if marked or manner.encoding is not None:
            return _jsonl(path, _text(path, _bytes(at), manner))
        file.seek(0)
        _check_utf8(path, file)
    line = pl.col("line").str.strip_chars(" \t\r")
    lines = Stored.keep(pl.scan_lines(at.absolute(), name="line", glob=False).select(line).filter(line != ""))
    odd = ~line.str.starts_with("{") | line.str.contains(_SURROGATE)
    if not len(lines) or lines.lazy().select(odd.any()).collect().item():
        return _jsonl(path, _bytes(at))
    try:
        named = glob.escape(str(at.absolute()))  # polars would read a name such as "a[1].jsonl" as a pattern
        frame = Stored.keep(pl.scan_ndjson(named, infer_schema_length=None))
    except pl.exceptions.PolarsError:
        return _jsonl(path, _bytes(at))
    whole = len(frame) == len(lines) and frame.columns
    if whole and lines.lazy().select(doubtful(frame.columns).any()).collect().item():
        return _jsonl(path, _bytes(at))
    return Table(frame, "jsonl", path, lines) if whole else _jsonl(path, _bytes(at))


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
