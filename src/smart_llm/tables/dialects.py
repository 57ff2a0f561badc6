"""How a delimited text is to be read: which separator, what quotes mean, where the header is.

Files are written by many programs, and a cell that is read in another way than it was written is lost without a word.
So the whole text is looked at before a way is chosen, and a text that fits no way is an InputError that names the row:

    double       a cell in quotes holds separators and line ends, and "" for a quote (spreadsheets, pandas, Python)
    backslash    the same, but \\" for a quote and \\\\ for a backslash (MySQL, Spark, R)
    none         quotes are ordinary characters and every line is a row (tab-separated corpora)

Where anything but tabs separates cells it is `double` if it can be, else `backslash`. Where tabs do it is `none` if
every line has as many cells as the header and quotes stand where a writer of `double` would never leave them.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from typing import TextIO, TypeAlias

from smart_llm.errors import InputError

Lines: TypeAlias = "Callable[[], AbstractContextManager[TextIO]]"
"""Opens the text from its start; line ends as they are."""
Row: TypeAlias = list[str]

QUOTES = ("auto", "double", "backslash", "none")
SEPARATORS = {"csv": (",", ";", "\t", "|"), "tsv": ("\t", ",", ";", "|")}
"""Separators that are tried, the usual one of the format first."""
NEVER = "\x1f"
"""The separator of a table of one column: what stands between cells there is none of its text."""
SAMPLE = 200
"""Rows by which a separator is chosen and a missing header noticed."""
CHUNK = 1 << 20
"""Characters looked at together."""
LONG = 100
"""Lines of one cell that are worth a caution."""
_BACKSLASH = re.compile(r'\\(["\\])?')
_ESCAPED_QUOTE = r'(?:^|%s)"(?:[^"\\]|\\.)*\\"'
"""A cell in quotes with an escaped one inside, after the separator."""

csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of reading. start: lines before the first row or header (`sep=;`)."""

    separator: str
    quotes: str = "double"
    start: int = 0

    def rows(self, text: Iterable[str]) -> Iterator[Row]:
        """The rows of a text, blank lines as empty lists. `csv.Error`: it is not of this dialect."""
        lines = islice(text, self.start, None)
        if self.quotes == "none":
            return ([] if _blank(line) else _cut(line).split(self.separator) for line in lines)
        if self.quotes == "backslash":
            doubled = map(_kept_backslashes, lines)
            return csv.reader(doubled, delimiter=self.separator, strict=True, escapechar="\\")
        return csv.reader(lines, delimiter=self.separator, strict=True)


def _blank(line: str) -> bool:
    return line in ("\n", "\r\n", "\r", "")


def _cut(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _kept_backslashes(line: str) -> str:
    """Backslashes that escape nothing but stand for themselves, as the reader wants them: twice."""
    return _BACKSLASH.sub(lambda m: m[0] if m[1] else "\\\\", line)


@dataclass
class Look:
    """What reading the whole text in one dialect shows. rows: how many there are. widths: cells of a row → how many
    rows have so many. first: width → (row, line) of the first such row. overfull: rows with text beyond the header.
    numbered: whether the first cells of rows that are wider than the header count them. blank, trailing: blank lines,
    and those of them at the end. early: whether some stand before the header. failed: row, line and what is wrong.
    suspects: row, line and height of cells that may have swallowed rows. quoted: whether there is a quote. returns:
    whether a carriage return stands without a line feed."""

    dialect: Dialect
    header: Row = field(default_factory=list)
    rows: int = 0
    widths: Counter[int] = field(default_factory=Counter)
    first: dict[int, tuple[int, int]] = field(default_factory=dict)
    overfull: int = 0
    numbered: bool = True
    blank: int = 0
    trailing: int = 0
    early: bool = False
    failed: tuple[int, int, str] | None = None
    suspects: list[tuple[int, int, int]] = field(default_factory=list)
    quoted: bool = False
    returns: bool = False

    @property
    def width(self) -> int:
        """Cells of the header."""
        return len(self.header)

    @property
    def index(self) -> bool:
        """Whether every row has one cell more than the header, its number, as R writes them."""
        return self.rows > 1 and set(self.widths) == {self.width + 1} and self.numbered

    @property
    def fits(self) -> bool:
        """Whether the text is of this dialect, rows with too few cells forgiven."""
        return self.failed is None and (not self.overfull or self.index)

    @property
    def exact(self) -> bool:
        """Whether every row has as many cells as the header."""
        return self.failed is None and (set(self.widths) <= {self.width} or self.index)


def look(lines: Lines, dialect: Dialect) -> Look:
    """Read the whole text in one dialect."""
    found = Look(dialect)
    with lines() as text:
        found.quoted, found.returns = _signs(text)
    with lines() as text:
        _read(found, dialect.rows(text))
    return found


def _read(found: Look, rows: Iterator[Row]) -> None:
    """Every row; what nearly all are like is counted without a word, for files may have millions."""
    width, plain, line, last = -1, 0, found.dialect.start, (0, 0)
    try:
        for row in rows:
            before, line = line, getattr(rows, "line_num", line - found.dialect.start + 1) + found.dialect.start
            if len(row) == width and line - before == 1 and width > 1:
                plain += 1
                continue
            found.rows = plain + sum(found.widths.values())
            if not found.header:
                found.header, found.early = row, found.early or not row
                width = len(row)
            elif width > 1 and len(row) < 2 and not "".join(row).strip():
                found.blank += 1
                last = (found.rows, last[1] + 1 if last[0] == found.rows else 1)
            else:
                _odd(found, row or [""], before + 1, line - before)
    except csv.Error as error:
        found.failed = (plain + sum(found.widths.values()) + 1, line + 1, str(error))
    found.widths[width] += plain
    found.widths += Counter()  # without those that no row has
    found.rows = sum(found.widths.values())
    found.trailing = last[1] if last[0] == found.rows else 0


def _odd(found: Look, row: Row, line: int, height: int) -> None:
    """A row that is not of one line with as many cells as the header."""
    number = found.rows + 1
    found.widths[len(row)] += 1
    found.first.setdefault(len(row), (number, line))
    found.overfull += any(row[found.width :])
    if len(row) > found.width:
        found.numbered = found.numbered and row[0] in (str(number), str(number - 1))
    if height >= 3 and _swallowed(row, found):
        found.suspects.append((number, line, height))


def _swallowed(row: Row, found: Look) -> bool:
    """Whether the lines within a cell look like rows of their own, or are far too many."""
    separator, count = found.dialect.separator, found.width - 1
    inner = [line for cell in row for line in cell.split("\n")[1:-1]]
    alike = count > 0 and bool(inner) and all(line.count(separator) == count for line in inner)
    return alike or len(inner) >= LONG


def _signs(text: TextIO) -> tuple[bool, bool]:
    """Whether a text holds a quote, and a carriage return that no line feed follows."""
    quoted = returns = open_ = False
    while chunk := text.read(CHUNK):
        quoted = quoted or '"' in chunk
        returns = (
            returns or (open_ and chunk[0] != "\n") or chunk.count("\r") - chunk.count("\r\n") > (chunk[-1] == "\r")
        )
        open_ = chunk[-1] == "\r"
    return quoted, returns or open_


def choose(lines: Lines, kind: str, quotes: str, where: object) -> Look:
    """The way a text is to be read. InputError: it is empty, or fits none."""
    if quotes not in QUOTES:
        raise InputError(f"--quotes {quotes}: use {', '.join(QUOTES)}")
    separator, start = _separator(lines, kind)
    if quotes != "auto":
        found = look(lines, Dialect(separator, quotes, start))
        return _accepted(found, where)
    double = look(lines, Dialect(separator, "double", start))
    if double.failed is None and not double.header:
        raise InputError(f"{where} is empty: it has no header line and no rows")
    tabbed = separator == "\t"
    if double.fits and not (tabbed and double.quoted):
        return double
    if double.width == 1 and not double.fits:
        double = look(lines, Dialect(NEVER, "double", start))
        return _accepted(double, where)
    literal = look(lines, Dialect(separator, "none", start))
    return _accepted(_between(lines, double, literal), where)


def _between(lines: Lines, double: Look, literal: Look) -> Look:
    """Of a text with quotes: which way is meant."""
    tabbed = double.dialect.separator == "\t"
    tabs = tabbed and literal.exact and literal.width > 1
    if double.fits and not (tabs and _ordinary(lines, literal.dialect)):
        return double
    escaped = look(lines, Dialect(double.dialect.separator, "backslash", double.dialect.start))
    if escaped.fits and _has_escapes(lines, escaped.dialect.separator) and not (tabs and escaped.rows < literal.rows):
        return escaped
    if tabs or (not tabbed and literal.exact and _titles(lines, literal)):
        return literal
    if double.fits or not tabbed:
        return double
    return literal if literal.fits and literal.width > 1 else double


def _has_escapes(lines: Lines, separator: str) -> bool:
    pattern = re.compile(_ESCAPED_QUOTE % re.escape(separator))
    with lines() as text:
        return any(pattern.search(line) for line in text)


def _ordinary(lines: Lines, dialect: Dialect) -> bool:
    """Whether quotes stand where nobody who doubles them would leave them, and none is doubled as he would do it."""
    with lines() as text:
        quoted = [cell for row in dialect.rows(text) for cell in row if '"' in cell]
    well = [cell for cell in quoted if _well_quoted(cell)]
    return len(well) < len(quoted) and not any('""' in cell[1:-1] for cell in well)


def _well_quoted(cell: str) -> bool:
    """Whether a cell as it stands is in quotes, with those inside doubled."""
    inner = cell[1:-1]
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")


def _titles(lines: Lines, literal: Look) -> bool:
    """Whether quotes can only be ordinary characters: closed in their cell, and no cell is quoted as a whole."""
    with lines() as text:
        quoted = [cell for row in literal.dialect.rows(text) for cell in row if '"' in cell]
    return not any(_well_quoted(cell) or cell.count('"') % 2 for cell in quoted)


def _separator(lines: Lines, kind: str) -> tuple[str, int]:
    """The separator, and how many lines say nothing else."""
    with lines() as text:
        sample = list(islice(text, SAMPLE))
    if sample and (told := re.fullmatch(r'"?sep=(.)"?\s*', sample[0].lstrip("\ufeff"))):
        return told[1], 1
    best, usual = (0.0, 0), SEPARATORS[kind][0]
    chosen = usual
    for separator in SEPARATORS[kind]:
        widths = [len(row) for row in csv.reader(sample, delimiter=separator) if row]
        if not widths or widths[0] < 2:
            continue
        share = sum(width == widths[0] for width in widths) / len(widths)
        if separator == usual and share >= 0.9:
            return usual, 0
        if (share >= 0.5 or separator == usual) and (share, widths[0]) > best:
            best, chosen = (share, widths[0]), separator
    return chosen, 0


def _accepted(found: Look, where: object) -> Look:
    if found.failed is not None:
        row, line, failure = found.failed
        raise InputError(f"{where}, row {row} (line {line}): {_reason(failure)}")
    if not found.header:
        raise InputError(f"{where} is empty: it has no header line and no rows")
    if not found.fits:
        row, line = min(place for width, place in found.first.items() if width > found.width)
        cells = next(width for width, place in found.first.items() if place == (row, line))
        raise InputError(
            f"{where}, row {row} (line {line}) has {cells} cells, more cells than the header, which has "
            f"{found.width}: quote cells that hold {found.dialect.separator!r}"
        )
    return found


def _reason(failure: str) -> str:
    if "end of data" in failure:
        return (
            "malformed: a quote opens a cell there and is never closed. Close it, or give --quotes none if quotes are "
            "ordinary characters."
        )
    if "expected after" in failure:
        return (
            "malformed: a cell begins with a quote, and text follows its closing quote. Double the quotes inside, or "
            "give --quotes none if they are ordinary characters."
        )
    return f"malformed: {failure}"
