"""Compressed files: unpacked once, beside the other temporary files, and read like any other from there."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from smart_llm.errors import InputError
from smart_llm.tables.large import Scratch

PACKINGS = {".gz": "gz", ".zst": "zst"}
"""Suffix → how a file is compressed."""


@contextmanager
def unpacked(path: Path, packing: str) -> Iterator[Path]:
    """A file with the unpacked contents, while the block lasts. InputError: it is spoilt, or nothing here can."""
    scratch = Scratch(lambda name: _unpack(path, packing, name))
    yield Path(scratch.path)


def _unpack(path: Path, packing: str, name: str) -> None:
    opened = gzip.open if packing == "gz" else _zstd(path)
    try:
        with opened(path, "rb") as packed, open(name, "wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}: check the name") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} cannot be unpacked: {str(error).splitlines()[0][:160]}") from None


def _zstd(path: Path) -> Callable[..., IO[bytes]]:
    """Python's own from 3.14 on, its backport, or pyarrow's, whichever is there."""
    with contextlib.suppress(ImportError):
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]

        return _raising(zstd.open, zstd.ZstdError)
    with contextlib.suppress(ImportError):
        from backports import zstd  # type: ignore[no-redef,import-not-found,unused-ignore]

        return _raising(zstd.open, zstd.ZstdError)
    with contextlib.suppress(ImportError):
        import pyarrow as pa

        return lambda name, mode: pa.input_stream(str(name), compression="zstd")
    raise InputError(f"{path}: .zst needs pip install 'smart-llm[files]'; or unpack it first: zstd -d {path}")


def _raising(opened: Callable[..., Any], failure: type[Exception]) -> Callable[..., IO[bytes]]:
    """The same, with what it raises as a ValueError."""

    @contextmanager
    def opening(path: Path, mode: str) -> Iterator[Any]:
        try:
            with opened(path, mode) as file:
                yield file
        except failure as error:
            raise ValueError(str(error)) from None

    return opening  # type: ignore[return-value]
