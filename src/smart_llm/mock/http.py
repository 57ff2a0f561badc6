"""As much of an HTTP/1.1 server as a mock needs: one request at a time per connection, kept alive.

Written on `asyncio.Protocol` because throughput is measured against this server: no task per request, one write per
reply, and faults (half a body, a dropped connection, silence) are ordinary replies here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Call:
    """One request. headers: the raw header block, lower case names not guaranteed."""

    method: str
    path: str
    headers: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, by its name in lower case."""
        for line in self.headers.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.strip().lower() == name.encode():
                return value.strip().decode("latin-1")
        return None


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out, after `delay` seconds. hang_up: the connection is cut after it."""

    data: bytes
    delay: float = 0.0
    hang_up: bool = False


Handler = Callable[[Call], Reply]


def reply(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole reply as bytes."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"HTTP/1.1 {status} {PHRASES.get(status, 'Unknown')}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode("latin-1") + body


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, handler: Handler, connections: set[Connection]) -> None:
        self._handler = handler
        self._connections = connections
        self._buffer = bytearray()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone; what it asked for is not sent."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self._buffer += data
        if not self._busy:
            self._next()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def _next(self) -> None:
        call = self._take()
        if call is None:
            return
        answer = self._handler(call)
        self._busy = True
        if answer.delay > 0:
            self._timer = asyncio.get_running_loop().call_later(answer.delay, self._send, answer)
        else:
            self._send(answer)

    def _take(self) -> Call | None:
        """A whole request from the buffer, or None as long as part of it is missing."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._buffer[:end])
        method, target, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        call = Call(method, target.split("?")[0], head, b"")
        stop = end + 4 + int(call.header("content-length") or 0)
        if len(self._buffer) < stop:
            return None
        body = bytes(self._buffer[end + 4 : stop])
        del self._buffer[:stop]
        return Call(method, call.path, head, body)

    def _send(self, answer: Reply) -> None:
        self._timer = None
        self._busy = False
        if answer.data:
            self._transport.write(answer.data)
        if answer.hang_up:
            self._transport.close()
        elif self._buffer:
            self._next()
