"""Folders here and elsewhere: any filesystem Arrow knows, by address (`s3://…`, `gs://…`, `hdfs://…`, `file://…`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smart_llm.errors import InputError
from smart_llm.files import whole


def is_address(place: object) -> bool:
    """Whether this names a filesystem."""
    return "://" in str(place)


def is_folder(place: object) -> bool:
    """Whether this is a table in many files, as far as its name and this machine tell."""
    return is_address(place) or os.path.isdir(str(place))


def names(folder: str) -> list[str]:
    """The files in a folder and the folders below it, by name; those hidden by a dot or an underscore left out, as
    every reader of such folders does. A single file is its own only one."""
    with _reachable(folder) as (fs, root):
        from pyarrow.fs import FileSelector, FileType

        if fs.get_file_info(root).type == FileType.File:
            return [folder]
        found = fs.get_file_info(FileSelector(root, recursive=True))
        inside = [info.path[len(root) :].strip("/") for info in found if info.type == FileType.File]
    seen = [name for name in inside if not any(part[0] in "._" for part in name.split("/"))]
    return [f"{folder.rstrip('/')}/{name}" for name in sorted(seen)]


def read_bytes(place: str) -> bytes:
    """A whole file."""
    with _reachable(place) as (fs, path), fs.open_input_file(path) as file:
        data: bytes = file.read()
        return data


def size(place: str) -> int:
    """Bytes of a file."""
    with _reachable(place) as (fs, path):
        return int(fs.get_file_info(path).size)


def exists(place: str) -> bool:
    """Whether there is such a file."""
    with _reachable(place) as (fs, path):
        from pyarrow.fs import FileType

        return bool(fs.get_file_info(path).type == FileType.File)


def write_bytes(place: str, data: bytes) -> None:
    """A file, whole or not at all, durable when this returns. (An object store shows an object when it is complete.)"""
    if not is_address(place):
        with whole(Path(place)) as out:
            out.write(data)
        return
    with _reachable(place) as (fs, path), fs.open_output_stream(path) as file:
        file.write(data)


def remove(place: str) -> None:
    """A file that is no longer part of anything."""
    with _reachable(place) as (fs, path):
        fs.delete_file(path)


def make_folder(folder: str) -> None:
    """A folder to write into. `InputError`: it cannot be one."""
    with _reachable(folder) as (fs, path):
        fs.create_dir(path, recursive=True)


@contextmanager
def _reachable(place: str) -> Iterator[tuple[Any, str]]:
    """The filesystem of a place, and its path there."""
    try:
        import pyarrow as pa
        from pyarrow.fs import FileSystem, LocalFileSystem
    except ImportError:
        raise InputError(f"{place}: folders of files need pyarrow: pip install 'smart-llm[frames]'.") from None
    try:
        if is_address(place):
            yield FileSystem.from_uri(place)
        else:
            yield LocalFileSystem(), os.path.abspath(place)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{place} cannot be reached: {str(error).splitlines()[0][:160]}") from None
