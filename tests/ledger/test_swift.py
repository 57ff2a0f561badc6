"""The gateway's writer: order, failure, what survives, what is on the disk, and what a reader finds."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smart_llm.errors import InputError, LedgerError
from smart_llm.ledger import Ledger, Reader, ahead
from smart_llm.ledger.ahead import ATTEMPT, EVENT, PART, Entry
from smart_llm.ledger.swift import Swift


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty ledger."""
    Ledger.open(tmp_path / "a.db").close()
    return tmp_path / "a.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Swift]]:
    """Opens its writer; what is left open at the end is closed."""
    made: list[tuple[Swift, sqlite3.Connection]] = []

    def open_() -> Swift:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        made.append((Swift(connection, path, {}), connection))
        return made[-1][0]

    yield open_
    for writer, connection in made:
        writer.close()
        connection.close()


def told(number: int) -> Entry:
    """An event."""
    return EVENT, ("run", "told", str(number), 0.0)


def unlocked(writer: Swift) -> None:
    """Nobody holds the writer's files any more: as a killed process leaves them, or where there are no such locks."""
    fcntl.flock(writer._ahead._files[0], fcntl.LOCK_UN)


def part(number: int) -> Entry:
    """A part of one."""
    return PART, ("run", "parts", str(number), 0.0)


def read(path: Path, kind: str = "told") -> list[object]:
    """What a reader finds."""
    with Reader.open(path) as reader:
        return [event.payload for event in reader.events("run") if event.kind == kind]


def folded(path: Path) -> int:
    """Events of the run that are in the ledger itself."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        found: int = other.execute("SELECT COUNT(*) FROM events WHERE run = 'run'").fetchone()[0]
    return found


async def test_what_is_written_is_there(path: Path, opened: Callable[[], Swift]) -> None:
    """Once the call has returned a reader finds what was written, in its order, whether it is folded in or not; what is
    within is synced; and nothing but the ledger is left when it is closed."""
    writer = opened()
    assert writer.write([told(1)]) == 1
    assert writer.write([told(2), told(3)]) == 2
    writer.hold(told(4))
    writer.write([told(5)])
    assert read(path) == [1, 2, 3, 4, 5]
    await asyncio.wait_for(writer.within(3), 60)
    assert writer.synced == 3
    while not folded(path):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    writer.write([told(6)])
    assert read(path) == [1, 2, 3, 4, 5, 6]
    writer.hold(told(7))
    writer.close()
    assert read(path) == [1, 2, 3, 4, 5, 6, 7]
    assert not any(each.exists() for each in ahead.files(path))
    with pytest.raises(LedgerError, match="closed"):
        writer.write([told(8)])


def test_parts_are_one_row(path: Path, opened: Callable[[], Swift]) -> None:
    """Parts of events become one row until a whole one comes between, and one again after it."""
    writer = opened()
    writer.write([part(1), part(2)])
    writer.write([part(3), told(9), part(4)])
    assert read(path, "parts") == [[1, 2, 3], [4]]
    writer.close()
    assert read(path, "parts") == [[1, 2, 3], [4]]
    with Reader.open(path) as reader:
        assert [event.kind for event in reader.events("run")] == ["parts", "told", "parts"]


KILLED = """
import asyncio, os, signal, sqlite3, sys
from pathlib import Path
from smart_llm.ledger.swift import Swift

path = Path(sys.argv[1])
async def main():
    writer = Swift(sqlite3.connect(path, isolation_level=None, check_same_thread=False), path, {})
    for number in range(int(sys.argv[2])):
        writer.write([(2, ("run", "told", str(number), 0.0))])
        if number % 1000 == 999:
            await asyncio.sleep(float(sys.argv[3]))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.parametrize(("count", "pause"), [(10, 0.0), (2000, 1.3), (12_000, 0.06)])
def test_a_kill_loses_nothing(path: Path, count: int, pause: float) -> None:
    """After a SIGKILL, before anything was folded in, between, or while that happens, a reader finds all that was
    written, once; and so does the next writer, which then leaves the ledger alone."""
    done = subprocess.run([sys.executable, "-c", KILLED, path, str(count), str(pause)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert any(each.exists() for each in ahead.files(path))
    assert read(path) == list(range(count))
    Ledger.open(path).close()
    assert not any(each.exists() for each in ahead.files(path))
    assert read(path) == list(range(count))


def machine_down(writer: Swift) -> None:
    """The ledger says that its writer began on another start of the machine."""
    payload = '["another start of the machine"]'
    writer._connection.execute("INSERT INTO events VALUES (NULL, 'ahead', 'written', ?, 0.0)", (payload,))


def missing(file: Path, data: bytes) -> None:
    """It was deleted."""
    file.unlink()


def empty(file: Path, data: bytes) -> None:
    """Nothing is in it any more."""
    file.write_bytes(b"")


def cut(file: Path, data: bytes) -> None:
    """Half of it is left."""
    file.write_bytes(data[: len(data) // 2])


def cut_after_a_record(file: Path, data: bytes) -> None:
    """Whole records are left, and some are not."""
    place = 0
    for _ in range(3):
        place += 8 + int.from_bytes(data[place : place + 4])
    file.write_bytes(data[:place])


def headless(file: Path, data: bytes) -> None:
    """Its beginning is spoilt."""
    file.write_bytes(bytes(byte ^ 85 for byte in data[:30]) + data[30:])


def spoilt_within(file: Path, data: bytes) -> None:
    """A few bytes in the middle are."""
    file.write_bytes(data[:100] + bytes(byte ^ 85 for byte in data[100:110]) + data[110:])


@pytest.mark.parametrize("spoil", [missing, empty, cut, cut_after_a_record, headless, spoilt_within])
@pytest.mark.parametrize(("turned", "which"), [(False, 1), (True, 0), (True, 1)])
def test_what_is_lost_beside_a_ledger_is_said(
    path: Path, opened: Callable[[], Swift], spoil: Callable[[Path, bytes], None], turned: bool, which: int
) -> None:
    """After a killed process, files beside the ledger that are missing, cut off or spoilt are named by readers and by
    the next writer, and nothing is changed; put back, all that was written is found."""
    writer = opened()
    for number in range(5):
        writer.write([told(number)])
    if turned:
        writer._ahead.turn()
        for number in range(5, 9):
            writer._ahead.append([told(number)])
    unlocked(writer)
    file = ahead.files(path)[which]
    data = file.read_bytes()
    spoil(file, data)
    for look in (Ledger.open, Reader.open) if spoil in (missing, cut) else (Ledger.open,):  # a reader looks again first
        with pytest.raises(LedgerError, match=r"missing or damaged|do not go with"):
            look(path)
    file.write_bytes(data)
    assert read(path) == list(range(9 if turned else 5))


def test_two_writers_of_a_ledger_are_noticed(path: Path, opened: Callable[[], Swift]) -> None:
    """Where a second writer got past both locks, the first cannot fold in what nobody would find, and says so."""

    async def both() -> str:
        first, failures = opened(), list[LedgerError]()
        first.failed = failures.append
        first.write([told(1)])
        path.with_name("a.db.lock").unlink()
        unlocked(first)
        Ledger.open(path).close()
        while not failures:
            with contextlib.suppress(LedgerError):
                first.write([told(2)])
            await asyncio.sleep(0.05)
        return str(failures[0])

    assert "another process writes this ledger" in asyncio.run(asyncio.wait_for(both(), 60))
    assert read(path) == [1]


def test_a_link_to_a_ledger_is_the_ledger(path: Path, opened: Callable[[], Swift]) -> None:
    """By a symbolic link the same files are found, and the same lock."""
    link = path.parent / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    writer = opened()
    writer.write([told(1)])
    assert read(link) == [1]
    unlocked(writer)
    with contextlib.closing(Ledger.open(path)), pytest.raises(InputError, match="is using the ledger"):
        Ledger.open(link)


@pytest.mark.parametrize("lost", [9, 15, 60])
def test_a_torn_end_ends_it(path: Path, opened: Callable[[], Swift], lost: int) -> None:
    """When the machine went down, of a file whose end is missing or spoilt the whole records before it count."""
    writer = opened()
    machine_down(writer)
    for number in range(5):
        writer.write([told(number)])
    file = ahead.files(path)[1]
    data = file.read_bytes()
    for spoilt in (data[:-lost], data[:-lost] + bytes(byte ^ 255 for byte in data[-lost:])):
        file.write_bytes(spoilt)
        kept = read(path)
        assert kept == list(range(len(kept)))
        assert 2 <= len(kept) < 5
    file.write_bytes(data)
    assert read(path) == [0, 1, 2, 3, 4]


def test_nothing_follows_what_was_lost(path: Path, opened: Callable[[], Swift]) -> None:
    """Where the machine went down and the end of a file was lost the next one, begun after it, does not count."""
    writer = opened()
    machine_down(writer)
    for number in range(3):
        writer.write([told(number)])
    ledger = writer._ahead
    ledger.turn()
    ledger.append([told(3)])
    assert read(path) == [0, 1, 2, 3]
    file = ahead.files(path)[1]
    data = file.read_bytes()
    file.write_bytes(data[:-11])
    assert read(path) == [0, 1]
    file.write_bytes(data)


def test_files_of_another_ledger_are_refused(path: Path, opened: Callable[[], Swift], tmp_path: Path) -> None:
    """Files that do not go with a ledger, or that are younger than it, are said to be so, and nothing is changed."""
    other = tmp_path / "b.db"
    Ledger.open(other).close()
    old = path.read_bytes()
    writer = opened()
    writer.write([told(1)])
    left = [each.read_bytes() for each in ahead.files(path)]
    for target, data in zip(ahead.files(other), left, strict=True):
        target.write_bytes(data)
    for look in (Reader.open, Ledger.open):
        with pytest.raises(LedgerError, match="do not go with"):
            look(other)
    writer.close()
    writer._connection.close()
    path.write_bytes(old)
    for target, data in zip(ahead.files(path), left, strict=True):
        target.write_bytes(data)
    with pytest.raises(LedgerError, match="do not go with"):
        Ledger.open(path)


async def test_what_cannot_be_folded_in_is_kept(path: Path, opened: Callable[[], Swift]) -> None:
    """Where the ledger itself cannot be written its owner is told, nothing more is written, and everything so far is
    found by readers, and folded in once that is possible again."""
    writer, failures, written = opened(), list[LedgerError](), 0
    writer.failed = failures.append
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END")
        while not failures:
            with contextlib.suppress(LedgerError):
                writer.write([told(written)])
                written += 1
            await asyncio.sleep(0.01)
        with pytest.raises(LedgerError, match="no room"):
            writer.write([told(written)])
        other.execute("DROP TRIGGER full")
    writer.close()
    assert read(path) == list(range(written))
    Ledger.open(path).close()
    assert not any(each.exists() for each in ahead.files(path))
    assert read(path) == list(range(written))


def test_nothing_is_written_after_what_failed(path: Path, opened: Callable[[], Swift]) -> None:
    """After a write that failed everybody is told so, and nothing later stands in its place."""
    writer, failures = opened(), list[LedgerError]()
    writer.failed = failures.append
    writer.write([told(1)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(LedgerError, match="could not be written"):
            writer.write([(ATTEMPT, (1, None, "run", "k" * 1000, "m", "sent", 0.0, 0.0))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(failures) == 1
    with pytest.raises(LedgerError, match="an earlier write failed"):
        writer.write([told(3)])
    writer.close()
    assert read(path) == [1]


async def test_nobody_waits_for_ever(opened: Callable[[], Swift]) -> None:
    """However the threads take turns, whoever waits until the disk has a record is told: thousands at once, while more
    is written and synced."""
    writer, before = opened(), sys.getswitchinterval()

    async def waits() -> None:
        for number in range(20):
            await writer.within(writer.write([told(number)]))

    sys.setswitchinterval(1e-6)
    try:
        await asyncio.wait_for(asyncio.gather(*(waits() for _ in range(2000))), 60)
    finally:
        sys.setswitchinterval(before)
    assert writer.synced == writer.written == 40_000
