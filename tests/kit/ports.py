"""Ports that nobody else gets while a test's servers come and go on them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from zlib import crc32


def usual(name: str) -> list[int]:
    """Ports for what has this name, the same every time: addresses are part of models' names, and names of a run's
    order."""
    return [20_000 + (crc32(name.encode()) + 7919 * k) % 10_000 for k in range(1000)]


@contextmanager
def kept(*ports: int) -> Iterator[int]:
    """The first of these ports that is free, or any free one, until the block ends: servers of this test can listen
    there, one after another; while none does, connections are refused."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for port in ports or (0,):
            with suppress(OSError):
                held.bind(("127.0.0.1", port))
                break
        yield held.getsockname()[1]
