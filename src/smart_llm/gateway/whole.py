"""Replies sent in one piece: head and body of a small reply are two writes of the server, and would be two packets."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SMALL = 2**16
"""Bytes that are kept until the end of a turn of the event loop."""


class Whole:
    """A transport that sends what is written in one turn of the event loop together."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._kept = transport, list[bytes]()
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it, soon."""
        if len(data) > SMALL:
            self._send()
            self._transport.write(data)
            return
        if not self._kept:
            self._loop.call_soon(self._send)
        self._kept.append(data)

    def close(self) -> None:
        """Send what is kept, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        kept, self._kept = self._kept, []
        if kept and not self._transport.is_closing():
            self._transport.write(b"".join(kept))


def protocol(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's own, on such a transport. seconds: within which the first request of a connection has to begin."""

    class Protocol(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(Whole(transport))  # type: ignore[arg-type]
            self._late = self.loop.call_later(seconds, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._late.cancel()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            if self.cycle is None:  # its head is not there yet
                self.transport.close()

    return Protocol
