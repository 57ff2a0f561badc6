"""Where a user's files go, and how a file is written whole.

The one folder of a user holds model files, and the ledgers and spooled copies of tables that have no file of their own.

`SMART_HOME` in the environment names it; else the place the operating system keeps a user's data in, which nobody
empties as he would a cache: answers in a ledger were paid for. The ledger of a file stands beside the file.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO, TypeAlias

import platformdirs

HOME_VARIABLE = "SMART_HOME"
SMALL = 16 * 2**20
"""Bytes of a text that was written by hand, at most."""
LEFT = 3600.0
"""Seconds without a write, after which nobody is writing a file any more."""

Opener: TypeAlias = Callable[[str, int], int]


def user_dir() -> Path:
    """The user's folder as an absolute path. It is not created here: whoever writes makes the part it needs."""
    given = os.environ.get(HOME_VARIABLE)
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_path("smart-llm"))


def small_text(path: str | os.PathLike[str]) -> str:
    """A text that somebody wrote by hand: a prompt, a schema, a list of models. `OSError`, also where it is larger than
    such texts are (a device without end, a wrong file); `UnicodeDecodeError`."""
    with open(path, "rb") as file:
        data = file.read(SMALL + 1)
    if len(data) > SMALL:
        raise OSError(errno.EFBIG, f"it is larger than {SMALL // 2**20} MB", str(path))
    return data.decode("utf-8")


def unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Why a text cannot be read, in words."""
    return (error.strerror or "it cannot be opened") if isinstance(error, OSError) else "it is not UTF-8 text"


def unwritten(target: Path, error: OSError) -> str:
    """What to say of a file that could not be written. (What polars raises has no `strerror`.)"""
    return f"{target} could not be written: {error.strerror or error}; free the place and run again"


@contextmanager
def whole(target: Path, *, opener: Opener | None = None) -> Iterator[BinaryIO]:
    """A file that appears at `target` whole or not at all, and is durable when the block has ended.

    It is written beside its place, synced and renamed; a block that fails leaves what was there. What a process that
    was killed has left beside it is removed once nobody has written to it for an hour. opener: as for `open`
    (`private`). Errors: `OSError`.
    """
    part = beside(target)
    _sweep(target)
    try:
        with open(part, "wb", opener=opener) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        _sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def private(path: str, flags: int) -> int:
    """For `open`: a file that only its owner may read, from its first byte on."""
    return os.open(path, flags, 0o600)


def beside(target: Path) -> Path:
    """Where a file is written until it is whole: a hidden name of this process, not too long for any filesystem."""
    return target.with_name(f".{_short(target)}.{os.getpid()}.part")


def _short(target: Path) -> str:
    return target.name.encode(errors="ignore")[:200].decode(errors="ignore")


def _sweep(target: Path) -> None:
    """Remove what stands beside a file and will never be whole: it may hold a copy of a table."""
    with suppress(OSError):
        for part in target.parent.glob(f".{escape(_short(target))}.*.part"):
            if time.time() - part.stat().st_mtime > LEFT:
                part.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where a folder can be opened: Windows keeps names without being told."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
