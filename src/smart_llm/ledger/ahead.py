"""What was written for a ledger and is not in its SQLite file yet: two files beside it, used in turn.

    LEDGER-ahead.0, LEDGER-ahead.1     a head (whose it is, its number), then records with checksums

Appending to a file takes a few millionths of a second of CPU, a transaction of SQLite about two hundred. So whoever
answers people appends here, and what one of the files holds (a *piece*) is folded into the ledger by one transaction,
which notes the piece's number: none is folded in twice. Readers find what is not folded in as if it were (`overlay`),
and whoever writes the ledger next folds it in first (`settle`).

Nothing of them may get lost unnoticed. While there is a writer the ledger says so, and on which start of the machine:
then both files must be there. Every piece ends in a mark, which the next record replaces only when it and a mark after
it are written; so a killed process leaves whole pieces. Where the machine itself went down, the disk may hold less:
there a record that is torn ends its piece; those after it were never synced.

The first file is locked as long as there is a writer. Events of one run and kind that are written as parts become one
row of the ledger, whose payload lists them.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, TypeAlias

import msgspec

from smart_llm.errors import InputError, LedgerError

FORMAT = "smart-ahead/2"
ANSWER, ATTEMPT, EVENT, PART = range(4)
"""Kinds of entries: rows of the tables, an event without its number, and a part of one."""
Entry: TypeAlias = "tuple[int, Sequence[Any]]"

RUN, NAME, FOLDED, WRITTEN = "ahead", "ledger", "folded", "written"
"""Events of this run say whose the files beside a ledger are, which piece was folded in last, and whether there is a
writer: on which start of the machine, [] where that is not known, null for none."""
_TYPES: dict[str, Any] = {NAME: str, FOLDED: int, WRITTEN: list[str] | None}
COLUMNS = {"answers": 10, "attempts": 8, "events": 5}
TOGETHER = 50
"""Rows that one statement inserts: SQLite gives Python's lock up for every statement, and takes it again."""
TRIES, PAUSE = 50, 0.02
"""Times, and seconds between, that a reader looks again whose pieces were folded in meanwhile."""
_FRAME = Struct(">II")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_HEAD = "SELECT payload FROM events WHERE run = ? AND kind = ? ORDER BY id DESC LIMIT 1"
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
_sync = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True, slots=True)
class Piece:
    """What is to be folded in at once. ledger: whose it is. length, before: bytes of it, and of the piece before it.
    whole: whether the mark of its end is there."""

    ledger: str
    number: int
    before: int
    entries: list[Entry]
    length: int
    whole: bool


class Ahead:
    """The files of one ledger, for its only writer. A failed write leaves them as they are: nothing may follow it."""

    def __init__(self, path: Path, ledger: str, number: int) -> None:
        self._ledger, self.number, self._length = ledger, number - 1, 0
        flags = os.O_CREAT | os.O_RDWR | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        self._paths = files(path)
        self._files = [os.open(each, flags, 0o600) for each in self._paths]
        _mine(self._files[0])
        _sync_folder(self._paths[0].parent)
        self._begin()
        self.turn()

    def append(self, entries: Sequence[Entry]) -> None:
        """One record more: it survives this process when this returns. `OSError` where there is no room."""
        data, place = _encode(entries), self._length
        self._write(place + _FRAME.size, data + self._end)
        self._write(place, _FRAME.pack(len(data), zlib.crc32(data, self._seed)))
        self._length += _FRAME.size + len(data)

    def turn(self) -> None:
        """Begin the next piece in the other file, whose own must be folded in by now."""
        self.number += 1
        self._begin()

    def sync(self) -> None:
        """Bring both to the disk, the older one first; `OSError` where that fails."""
        now = self.number
        for number in (now - 1, now):
            _sync(self._files[number % 2])

    def close(self, *, remove: bool) -> None:
        """Give the files up. remove: all is folded in."""
        for each in self._files:
            os.close(each)
        if remove:
            _remove(self._paths)

    def _begin(self) -> None:
        """What the file held before is written over: that spares the disk much. Its checksums do not fit this piece."""
        self._file = self._files[self.number % 2]
        head = _encode([FORMAT, self._ledger, self.number, self._length])
        self._seed, self._length = zlib.crc32(head), _FRAME.size + len(head)
        self._end = _mark(self._seed)
        self._write(0, _FRAME.pack(len(head), self._seed) + head + self._end)

    def _write(self, place: int, data: bytes) -> None:
        if _write_at(self._file, data, place) != len(data):
            raise OSError("there is no room for it")


def _moved(file: int, data: bytes, place: int) -> int:
    os.lseek(file, place, os.SEEK_SET)
    return os.write(file, data)


_write_at = getattr(os, "pwrite", _moved)


def files(path: Path) -> list[Path]:
    """Where they are: beside the ledger itself, also where `path` is a link to it."""
    path = path.resolve()
    return [path.with_name(f"{path.name}-ahead.{place}") for place in (0, 1)]


def boot_of() -> str | None:
    """What names this start of the machine; None where it does not say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None


def pieces(path: Path) -> list[Piece]:
    """What the files beside a ledger hold, oldest first, as far as it is whole. `LedgerError`: one may not be read."""
    found = list[Piece]()
    for each in files(path):
        try:
            found += _piece(each.read_bytes(), each)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LedgerError(f"{each}, a part of {path}, cannot be read: {error.strerror}.") from None
    return sorted(found, key=lambda piece: piece.number)


def _piece(data: bytes, path: Path) -> Iterator[Piece]:
    head, start = _record(data, 0, 0)
    if head is None:
        return
    told = _decode(head)
    if told[0] != FORMAT:
        raise LedgerError(f"{path} was written by another version of smart-llm ({told[0]}); open it with that one.")
    entries, seed, end = list[Entry](), zlib.crc32(head), start
    record, start = _record(data, end, seed)
    while record is not None:
        entries += [(kind, row) for kind, row in _decode(record)]
        end = start
        record, start = _record(data, end, seed)
    _, ledger, number, before = told
    yield Piece(ledger, number, before, entries, end, data[end : end + _FRAME.size] == _mark(seed))


def _mark(seed: int) -> bytes:
    """What ends a piece."""
    return _FRAME.pack(0, zlib.crc32(b"end", seed))


def _record(data: bytes, start: int, seed: int) -> tuple[bytes | None, int]:
    """The record that begins here, None where there is no whole one, and where the next begins."""
    if start + _FRAME.size > len(data):
        return None, start
    length, checksum = _FRAME.unpack_from(data, start)
    end = start + _FRAME.size + length
    record = data[start + _FRAME.size : end]
    fits = length and end <= len(data) and zlib.crc32(record, seed) == checksum
    return (record if fits else None), end


# --------------------------------------------------------------------------- into the ledger


def fold(connection: sqlite3.Connection, number: int, entries: Iterable[Entry], *, last: bool = False) -> None:
    """Write a piece into the ledger, by one transaction. last: its writer ends with it. `LedgerError` where somebody
    else has written it meanwhile: nothing that this writer goes on with would be found."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if (_told(connection, FOLDED) or 0) != number - 1:
            raise LedgerError("another process writes this ledger as well; give every gateway a ledger of its own")
        _insert(connection, entries, "")
        _note(connection, FOLDED, number)
        if last:
            _note(connection, WRITTEN, None)
        connection.execute("COMMIT")
    except (sqlite3.Error, LedgerError):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def settle(connection: sqlite3.Connection, path: Path) -> None:
    """Fold in what a writer that was stopped has left, and remove its files. `InputError`: it was not stopped."""
    _check_stopped(path)
    for piece in _missing(connection, path):
        fold(connection, piece.number, piece.entries)
    if _told(connection, WRITTEN) is not None:
        _note(connection, WRITTEN, None)
    _remove(files(path))


def begin(connection: sqlite3.Connection, path: Path) -> Ahead:
    """Files for a ledger that is settled. `OSError`, `sqlite3.Error`: there is no room for them."""
    name = _told(connection, NAME)
    if name is None:
        name = os.urandom(8).hex()
        _note(connection, NAME, name)
    made = Ahead(path, name, 1 + (_told(connection, FOLDED) or 0))
    boot = boot_of()
    _note(connection, WRITTEN, [] if boot is None else [boot])
    return made


def overlay(connection: sqlite3.Connection, path: Path) -> None:
    """Let a reader's connection find what is not folded in, as of now, as if it were."""
    for left in range(TRIES, -1, -1):
        connection.execute("BEGIN")  # until it is closed: what is folded in later is here already
        try:
            found = _missing(connection, path)
            break
        except LedgerError:
            connection.execute("ROLLBACK")
            if not left:
                raise
            time.sleep(PAUSE)
    entries = [entry for piece in found for entry in piece.entries]
    if not entries:
        connection.execute("ROLLBACK")
        return
    for table in COLUMNS:
        connection.execute(f"CREATE TEMP TABLE ahead_{table} AS SELECT * FROM main.{table} WHERE 0")
    connection.execute("CREATE UNIQUE INDEX temp.ahead_key ON ahead_answers (key)")
    _insert(connection, entries, "ahead_")
    known = "SELECT 1 FROM main.answers WHERE main.answers.key = ahead_answers.key"
    connection.execute(f"DELETE FROM temp.ahead_answers WHERE EXISTS ({known})")
    last = connection.execute("SELECT MAX(id) FROM main.events").fetchone()[0] or 0
    connection.execute("UPDATE temp.ahead_events SET id = rowid + ?", (last,))
    for table in COLUMNS:
        both = f"SELECT * FROM main.{table} UNION ALL SELECT * FROM temp.ahead_{table}"
        connection.execute(f"CREATE TEMP VIEW {table} AS {both}")


def _missing(connection: sqlite3.Connection, path: Path) -> list[Piece]:
    """The pieces that are not folded in. `LedgerError`: these are not all, or not of this ledger."""
    last, name, written = _told(connection, FOLDED) or 0, _told(connection, NAME), _told(connection, WRITTEN)
    there = pieces(path)
    found = [piece for piece in there if piece.number > last]
    fits = [piece.number for piece in found] == list(range(last + 1, last + 1 + len(found)))
    names = f"{files(path)[0]} and {files(path)[1].name}"
    if not fits or any(piece.ledger != name for piece in found):
        raise LedgerError(
            f"{names} do not go with {path}: it is another ledger, or an older copy "
            "of theirs. Put back what belongs to them, or move them away."
        )
    if written is not None and not _all_there(path, there, found, process=written == [boot_of()]):
        raise LedgerError(
            f"{names} hold the newest of what {path} has recorded, and are missing or damaged. Put them back as they "
            "were; if they are lost, begin a new ledger: requests that were answered are not in this one."
        )
    if len(found) == 2 and found[0].length < found[1].before:
        found.pop()  # nothing follows what was lost
    return found


def _all_there(path: Path, there: list[Piece], found: list[Piece], *, process: bool) -> bool:
    """Whether files are as their writer has left them. process: only that can have been stopped, not the machine."""
    if not process:
        return all(each.exists() for each in files(path))
    return len(there) == 2 and bool(found) and all(piece.whole for piece in found)


def _insert(connection: sqlite3.Connection, entries: Iterable[Entry], prefix: str) -> None:
    for table, rows in _rows(entries).items():
        each = f"({','.join('?' * COLUMNS[table])})"
        sql = f"INSERT OR IGNORE INTO {prefix}{table} VALUES "
        whole = len(rows) - len(rows) % TOGETHER
        for start in range(0, whole, TOGETHER):
            many = [value for row in rows[start : start + TOGETHER] for value in row]
            connection.execute(sql + ",".join([each] * TOGETHER), many)
        connection.executemany(sql + each, rows[whole:])


def _rows(entries: Iterable[Entry]) -> dict[str, list[Sequence[Any]]]:
    """By table. Parts of an event come before the next whole one."""
    rows: dict[str, list[Sequence[Any]]] = {table: [] for table in COLUMNS}
    parts: dict[tuple[str, str], list[str]] = {}
    now = 0.0

    def gathered() -> None:
        for (run, kind), told in parts.items():
            rows["events"].append((None, run, kind, f"[{','.join(told)}]", now))
        parts.clear()

    for kind, row in entries:
        if kind == PART:
            run, what, payload, now = row
            parts.setdefault((run, what), []).append(payload)
        elif kind == EVENT:
            gathered()
            rows["events"].append((None, *row))
        else:
            rows["answers" if kind == ANSWER else "attempts"].append(row)
    gathered()
    return rows


def _told(connection: sqlite3.Connection, kind: str) -> Any:
    row = connection.execute(_HEAD, (RUN, kind)).fetchone()
    try:
        return None if row is None else msgspec.json.decode(row[0], type=_TYPES[kind])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise LedgerError(f"the ledger is damaged: its newest event {RUN}/{kind} cannot be read") from None


def _note(connection: sqlite3.Connection, kind: str, value: object) -> None:
    told = msgspec.json.encode(value).decode()
    connection.execute("INSERT INTO events VALUES (NULL, ?, ?, ?, ?)", (RUN, kind, told, time.time()))


def _check_stopped(path: Path) -> None:
    """`LEDGER.lock` says so in a better way; but a lock that somebody has removed holds nobody up."""
    with suppress(OSError):
        handle = os.open(files(path)[0], os.O_RDWR)
        try:
            if not _mine(handle):
                raise InputError(f"Another process writes the ledger {path}. Wait for it to end, or name another one.")
        finally:
            os.close(handle)


def _mine(handle: int) -> bool:
    """Lock an open file until it is closed; False: somebody else has. Where there are no such locks, `LEDGER.lock`
    cannot be removed either."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def _remove(paths: Iterable[Path]) -> None:
    """What they hold is folded in: that they are left, where a folder cannot be written any more, does no harm."""
    for each in paths:
        with suppress(OSError):
            each.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """That the files are there has to survive as well; not every system can say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
