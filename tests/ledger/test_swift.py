"""The gateway's writer: order, failure, and what is on the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from smart_llm.errors import LedgerError
from smart_llm.ledger.swift import Swift

INSERT = "INSERT INTO kept VALUES (?)"


def opened(path: Path) -> tuple[sqlite3.Connection, Swift]:
    """A file with one table, and its writer."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY)")
    return connection, Swift(connection, path)


def read(path: Path) -> list[int]:
    """What another connection finds."""
    with sqlite3.connect(path) as other:
        found = [number for (number,) in other.execute("SELECT number FROM kept ORDER BY rowid")]
    other.close()
    return found


async def test_what_is_awaited_is_there(tmp_path: Path) -> None:
    """What was awaited, and all that was queued before it, another process can read; what is within is synced."""
    connection, writer = opened(tmp_path / "a.db")
    writer.submit(INSERT, (1,))
    assert await writer.together([(INSERT, (2,)), (INSERT, (3,))])
    assert read(tmp_path / "a.db") == [1, 2, 3]
    assert writer.written == writer.submitted == 3
    await asyncio.wait_for(writer.within(3), 10)
    assert writer.synced == 3
    assert writer.execute(INSERT, (4,))
    writer.close()
    connection.close()
    assert read(tmp_path / "a.db") == [1, 2, 3, 4]
    with pytest.raises(LedgerError, match="closed"):
        writer.submit(INSERT, (5,))


async def test_nothing_is_written_after_what_failed(tmp_path: Path) -> None:
    """After a write that failed everybody is told so, and nothing later stands in its place."""
    connection, writer = opened(tmp_path / "a.db")
    assert await writer.submit(INSERT, (1,))
    with pytest.raises(LedgerError, match="could not be written"):
        await writer.together([(INSERT, (2,)), ("INSERT INTO nowhere VALUES (?)", (3,))])
    with pytest.raises(LedgerError, match="an earlier write failed"):
        await writer.submit(INSERT, (4,))
    with pytest.raises(LedgerError):
        writer.execute(INSERT, (5,))
    writer.close()
    connection.close()
    assert read(tmp_path / "a.db") == [1]
