"""CSV and TSV as people have them: every cell a text, exactly as it was written.

The text is looked at as a whole (`dialects`) and then read in the way it was written. What polars reads the same way is
left to polars; any other text is written anew in the plainest form first, to memory or, where the file is large, to
disk. What was guessed or left out on the way is said in the table's notes.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from smart_llm.errors import InputError
from smart_llm.tables.dialects import NEVER, SAMPLE, SEPARATORS, Lines, Look, Row, choose
from smart_llm.tables.large import Scratch, Stored
from smart_llm.tables.manner import Manner
from smart_llm.tables.table import Table

if TYPE_CHECKING:
    import polars as pl

RECURS = 2
"""A cell of the first line that stands in this many rows below, in its own column, is no name of a column."""
SENTENCE = 4
"""Words."""
LONGEST = 1 << 20
"""Characters of a first line."""
SHOWN = 3
"""Places named in a caution."""


def read_delimited(
    path: Path, source: bytes | Path, kind: str, encoding: str, manner: Manner, *, large: bool = False
) -> Table:
    """The table in a delimited text. source: the text, or the file it is in. InputError: it cannot be read exactly."""
    lines = _opener(source, encoding)
    try:
        found = choose(lines, kind, manner.quotes, path)
        headed = _is_headed(lines, found) if manner.header is None else manner.header
        names, written, told = _names(found, headed)
        cells = source
        scratch = None
        if not (headed and _plain(found, kind, encoding)):
            if large:
                scratch = Scratch(lambda name: _rewrite(lines, found, headed, kind, name))
                cells = Path(scratch.path)
            else:
                cells = _anew(lines, found, headed, kind)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not {encoding} ({error.reason}): give another --encoding") from None
    with _malformed(path):
        frame = _frame(cells, SEPARATORS[kind][0], names)
        kept = Stored.keep(frame) if large else frame.collect()
        kept = kept.head(found.rows) if cells is source else kept  # blank lines at the end are no rows
    separator = SEPARATORS[kind][0] if found.dialect.separator == NEVER else found.dialect.separator
    notes = tuple(f"{path.name}: {each}" for each in (*_told(found, kind, headed, manner), *told))
    as_written, crlf = None if written == names else tuple(written), _ends_in_crlf(lines)
    return Table(kept, kind, path, written=as_written, separator=separator, crlf=crlf, notes=notes)


def _opener(source: bytes | Path, encoding: str) -> Lines:
    @contextmanager
    def lines() -> Iterator[TextIO]:
        raw = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        with raw, io.TextIOWrapper(raw, encoding, newline="") as text:
            yield text

    return lines


def _ends_in_crlf(lines: Lines) -> bool:
    """Whether the first line does."""
    with lines() as text:
        line = text.readline(LONGEST)
    return line.endswith("\r\n")


def _plain(found: Look, kind: str, encoding: str) -> bool:
    """Whether polars reads the text as it is, and the same."""
    dialect = found.dialect
    usual = dialect.separator == SEPARATORS[kind][0] and dialect.quotes == "double" and not dialect.start
    as_it_is = found.exact and not (found.index or found.returns or found.early) and found.blank == found.trailing
    return usual and as_it_is and encoding == "utf-8" and found.width > 1


def _rows(text: TextIO, found: Look, headed: bool) -> Iterator[Row]:
    """The rows alone, all as wide as the header."""
    width = found.width + found.index
    rows = found.dialect.rows(text)
    first = next((row for row in rows if row), [])
    if not headed:
        yield first
    for row in rows:
        if not (width > 1 and len(row) < 2 and not "".join(row).strip()):
            yield [*row, *[""] * (width - len(row))][:width]


def _anew(lines: Lines, found: Look, headed: bool, kind: str) -> bytes:
    buffer = io.StringIO(newline="")
    _copy(lines, found, headed, kind, buffer)
    return buffer.getvalue().encode()


def _rewrite(lines: Lines, found: Look, headed: bool, kind: str, name: str) -> None:
    with open(name, "w", encoding="utf-8", newline="") as file:
        _copy(lines, found, headed, kind, file)


def _copy(lines: Lines, found: Look, headed: bool, kind: str, file: TextIO) -> None:
    """The same cells, all in quotes, under names that nobody will see."""
    out = csv.writer(file, delimiter=SEPARATORS[kind][0], quoting=csv.QUOTE_ALL, lineterminator="\n")
    out.writerow(range(found.width + found.index))
    with lines() as text:
        out.writerows(_rows(text, found, headed))


def _frame(source: bytes | Path, separator: str, names: list[str]) -> pl.LazyFrame:
    """Every cell a text."""
    import polars as pl

    frame = pl.scan_csv(source, separator=separator, infer_schema=False, empty_string_is_null=False, glob=False)
    found = frame.collect_schema().names()
    if len(found) != len(names):
        raise pl.exceptions.ComputeError("the header line cannot be read: check its quotes")
    return frame.rename(dict(zip(found, names, strict=True))).with_columns(pl.all().fill_null(""))


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    """What polars says of a delimited file, as an InputError."""
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as error:
        brief = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path} is malformed: {brief}") from None


def _is_headed(lines: Lines, found: Look) -> bool:
    """Whether the first line names the columns: no cell of it stands below it again and again."""
    with lines() as text:
        sample = list(islice(_rows(text, found, headed=True), SAMPLE))
    below = [row for row in sample if row[: found.width] != found.header]
    columns = list(zip(found.header, zip(*below, strict=True), strict=False))
    recurring = [(name, cells) for name, cells in columns if cells.count(name) >= RECURS]
    if any(len(name.strip()) > 1 and not _is_number(name) for name, _ in recurring):
        return False
    numbers = any(_is_number(name) and all(map(_is_number, cells)) for name, cells in recurring)
    return not (numbers and _is_prose(found.header))


def _is_prose(header: list[str]) -> bool:
    """Whether every cell is a number or several words, and one a sentence: a text after its mark, no names."""
    words = [len(name.split()) for name in header if not _is_number(name)]
    return bool(words) and min(words) >= 2 and max(words) >= SENTENCE


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _names(found: Look, headed: bool) -> tuple[list[str], list[str], list[str]]:
    """The columns by the names they have here (each once, none empty) and by those they are written with; and what to
    say of the difference."""
    if not headed:
        names = [f"column_{place}" for place in range(1, found.width + 1)]
        return names, names, []
    written = [*[""] * found.index, *found.header]
    counts, names = Counter(written), list[str]()
    taken = set(written)
    for place, name in enumerate(written, 1):
        if name.strip() and counts[name] == 1:
            names.append(name)
            continue
        new = f"{name.strip()}_{1 + written[: place - 1].count(name)}" if name.strip() else f"column_{place}"
        while new in taken:
            new += "_"
        taken.add(new)
        names.append(new)
    told = []
    for name in dict.fromkeys(name for name in written if counts[name] > 1 and name.strip()):
        inside = [f"{{{names[place]}}}" for place, each in enumerate(written) if each == name]
        told.append(f"column {name!r} is there {len(inside)} times: in a prompt they are {', '.join(inside)}.")
    if unnamed := [f"{{{names[place]}}}" for place, name in enumerate(written) if not name.strip()]:
        some = ", ".join(unnamed[:SHOWN]) + (", …" if len(unnamed) > SHOWN else "")
        told.append(f"columns without a name go by their place: {some}.")
    return names, written, told


def _told(found: Look, kind: str, headed: bool, manner: Manner) -> Iterator[str]:
    """What was guessed and what was left out, as ends of sentences after the file's name."""
    dialect = found.dialect
    if dialect.separator == NEVER:
        yield f"there is one column, so every {SEPARATORS[kind][0]!r} is part of its text."
    elif dialect.separator != SEPARATORS[kind][0]:
        yield f"cells are separated by {dialect.separator!r}."
    if manner.quotes == "auto" and dialect.quotes == "none":
        yield 'quotes are read as ordinary characters; --quotes double reads "…" as one cell.'
    if manner.quotes == "auto" and dialect.quotes == "backslash":
        yield 'a quote inside a cell is written \\", and read as ".'
    if manner.header is None and not headed:
        yield "the first line is read as a row, for its cells stand in other rows too; --header says it is none."
    if blank := found.blank - found.trailing:
        yield f"{blank:,} blank {'lines are' if blank > 1 else 'line is'} left out, as no row."
    if short := sum(rows for cells, rows in found.widths.items() if cells < found.width):
        row, line = min(place for cells, place in found.first.items() if cells < found.width)
        who = f"{short:,} rows have" if short > 1 else "1 row has"
        yield f"{who} fewer cells than the header, row {row} (line {line}) first: those cells are empty."
    for row, line, height in found.suspects[:SHOWN]:
        yield f"row {row} (lines {line} to {line + height - 1}) has a cell of many lines: was a quote left open?"
