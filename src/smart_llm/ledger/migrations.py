"""The schema, as numbered steps. A step is never edited once released; a change of the schema is a new step."""

from __future__ import annotations

import sqlite3

from smart_llm.errors import LedgerError


def m001_initial(connection: sqlite3.Connection) -> None:
    """Answers, attempts, runs, events; all but the state of a run can only be added to."""
    connection.execute(
        """CREATE TABLE answers (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, model TEXT NOT NULL,
            request TEXT,                      -- canonical JSON; NULL where text is not stored
            answer TEXT NOT NULL,              -- canonical JSON
            cost REAL NOT NULL,                -- USD, the answer's own
            digest TEXT NOT NULL,              -- seals the answer to its key
            run TEXT NOT NULL, attempt INTEGER, created REAL NOT NULL)"""
    )
    connection.execute(
        """CREATE TABLE attempts (
            id INTEGER PRIMARY KEY, settles INTEGER, run TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
            outcome TEXT NOT NULL,             -- 'sent' until an answer or a later row settles it
            cost REAL NOT NULL,                -- USD; of unknown outcomes the upper bound
            created REAL NOT NULL)"""
    )
    connection.execute(
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, lookup TEXT NOT NULL, plan TEXT NOT NULL, plan_hash TEXT NOT NULL,
            seed TEXT NOT NULL, started REAL NOT NULL, state TEXT NOT NULL, certificate TEXT)"""
    )
    connection.execute(
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
            created REAL NOT NULL)"""
    )
    connection.execute("CREATE INDEX runs_lookup ON runs (lookup, started)")
    for table in ("answers", "attempts", "events"):
        _append_only(connection, table)


def m002_batches(connection: sqlite3.Connection) -> None:
    """Batches sent to a provider as one piece, and what became of them."""
    connection.execute(
        """CREATE TABLE batches (
            id TEXT PRIMARY KEY, run TEXT NOT NULL, model TEXT NOT NULL, url TEXT NOT NULL,
            keys TEXT NOT NULL,                -- the requests in it, by key, in order: a JSON array
            bound REAL NOT NULL,               -- USD it can cost at most
            attempt INTEGER NOT NULL,          -- the attempt that stands for it while its cost is unknown
            created REAL NOT NULL)"""
    )
    connection.execute(
        """CREATE TABLE batch_events (
            id INTEGER PRIMARY KEY, batch TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
            created REAL NOT NULL)"""
    )
    connection.execute("CREATE INDEX batch_events_batch ON batch_events (batch)")
    for table in ("batches", "batch_events"):
        _append_only(connection, table)


def m003_marks(connection: sqlite3.Connection) -> None:
    """What profiled rows were found to be, row by row, as soon as that was known."""
    connection.execute(
        """CREATE TABLE marks (
            id INTEGER PRIMARY KEY, run TEXT NOT NULL,
            number INTEGER NOT NULL,           -- of the ask, in its run
            place INTEGER NOT NULL,            -- of the row, in its ask
            reading TEXT NOT NULL,             -- canonical JSON: marks, scores, answers
            created REAL NOT NULL)"""
    )
    connection.execute("CREATE INDEX marks_ask ON marks (run, number)")
    _append_only(connection, "marks")


def m004_set_apart(connection: sqlite3.Connection) -> None:
    """Answers that the user had asked for again: they leave `answers` only when they are here."""
    connection.execute(
        """CREATE TABLE set_apart (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL, model TEXT NOT NULL, request TEXT, answer TEXT NOT NULL,
            cost REAL NOT NULL, digest TEXT NOT NULL, run TEXT NOT NULL, attempt INTEGER, created REAL NOT NULL,
            apart REAL NOT NULL)               -- when it was set apart"""
    )
    _append_only(connection, "set_apart")
    connection.execute(
        "CREATE TRIGGER set_apart_moves AFTER INSERT ON set_apart BEGIN DELETE FROM answers WHERE id = NEW.id; END"
    )
    connection.execute("DROP TRIGGER answers_no_delete")
    connection.execute(
        "CREATE TRIGGER answers_no_delete BEFORE DELETE ON answers "
        "WHEN NOT EXISTS (SELECT 1 FROM set_apart WHERE id = OLD.id) "
        "BEGIN SELECT RAISE(ABORT, 'answers can only be added to'); END"
    )


def _append_only(connection: sqlite3.Connection, table: str) -> None:
    for verb in ("UPDATE", "DELETE"):
        connection.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} can only be added to'); END"
        )


MIGRATIONS = (m001_initial, m002_batches, m003_marks, m004_set_apart)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a ledger to this version's schema, in one transaction; a newer ledger is refused."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    check_version(version)
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[version:]:
        step(connection)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def check_version(version: int) -> None:
    """`LedgerError` for a ledger of a newer version than this software knows."""
    if version > len(MIGRATIONS):
        raise LedgerError(f"The ledger has schema {version}, this smart-llm knows {len(MIGRATIONS)}: upgrade it.")
