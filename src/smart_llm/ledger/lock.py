"""One writer per ledger: an advisory lock on a side file, which the operating system drops with the process.

The lock stands on `LEDGER.lock` and not on the ledger itself, because closing any descriptor of a database file drops
the locks SQLite holds on it in this process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from smart_llm.errors import InputError


def acquire(path: Path) -> int:
    """Lock the ledger at `path`; returns the descriptor that holds the lock.

    Raises `InputError` when another run has it, or when the place cannot be written.
    """
    try:
        side = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InputError(f"The ledger {path} cannot be created: {error.strerror}.") from error
    try:
        fcntl.flock(side, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(side, 20).decode(errors="replace").strip() or "unknown"
        os.close(side)
        raise InputError(
            f"Another run (process {holder}) is using the ledger {path}. Wait for it to end, or name another --ledger."
        ) from error
    os.ftruncate(side, 0)
    os.write(side, str(os.getpid()).encode())
    return side


def release(side: int) -> None:
    """Give the lock up. The side file stays: removing it would let two runs lock two different files."""
    os.close(side)
