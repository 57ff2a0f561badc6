"""Ports that nobody else gets while a test's servers come and go on them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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
