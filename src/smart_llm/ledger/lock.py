"""One writer per ledger: a lock on a side file, which the operating system drops with the process.

The lock stands on `LEDGER.lock` and not on the ledger itself, because closing any descriptor of a database file drops
the locks SQLite holds on it in this process. `filelock` makes it, on every operating system; a child that is forked
while a run goes on does not hold it. The side file stays when the lock is given up: removing it would let two runs
lock two different files.
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from smart_llm.errors import InputError

HOLDER = 1
"""Where the holder's process number stands in the side file: Windows locks the first byte, and nobody can read it."""
WIDTH = 20
"""Bytes it takes, with blanks after it."""


def acquire(path: Path) -> FileLock:
    """Lock the ledger at `path`, or the one that it is a link to; `release` of the result gives it up.

    Raises `InputError` when another run has it, or when the place cannot be written.
    """
    if not path.parent.is_dir():  # filelock would make it, and a slip of the pen a new place for what is paid
        raise InputError(f"The ledger {path} cannot be created: there is no folder {path.parent}.")
    side = FileLock(
        f"{path.resolve()}.lock", timeout=0, mode=0o600, thread_local=False, preserve_lock_file=True, on_acquired=_sign
    )
    try:
        side.acquire()
    except Timeout:
        raise InputError(
            f"Another run (process {_holder(side.lock_file)}) is using the ledger {path}. Wait for it to end, or name "
            "another --ledger."
        ) from None
    except OSError as error:
        raise InputError(f"The ledger {path} cannot be created: {error.strerror}.") from error
    return side


def _sign(side: int) -> None:
    """Write whose lock it is into the side file."""
    os.lseek(side, HOLDER, os.SEEK_SET)
    os.write(side, str(os.getpid()).ljust(WIDTH).encode())


def _holder(side: str | os.PathLike[str]) -> str:
    """The process that holds the lock, as far as can be read."""
    try:
        with open(side, "rb", buffering=0) as file:
            file.seek(HOLDER)
            return file.read(WIDTH).decode(errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"
