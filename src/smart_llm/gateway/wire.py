"""Connections: replies sent in one piece, and none kept open for a client that neither asks nor listens.

Head and body of a small reply are two writes of the server, and would be two packets. The server itself would wait for
ever for a head that never ends, or for a client that does not read what it is sent; so such connections are cut here.

The answers of the endpoints go out by `reply`, in one write: the server's own way looks at every header again, and
costs more than all the rest of a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

Reply: TypeAlias = Callable[[int, list[bytes], bytes], Coroutine[Any, Any, None]]
"""See `Patient.reply`."""
REPLY = "smart.reply"
"""Under which an endpoint finds what sends its reply in the scope of its request."""
CLOSE = b"connection: close\r\n"

ARRIVING = 30.0
"""Seconds that a request may take to come, or the time there is for an answer, where that is shorter."""
SMALL = 2**16
"""Bytes that are kept until the end of a turn of the event loop."""
HEAD = 2**16
"""Bytes in a row that are no part of a body: a head, most of all."""
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LATE = b'{"type":"error","error":{"type":"timeout_error","message":"The request did not come in time.","code":null}}'
_TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b"
) % (len(_LATE), _LATE)
"""In both dialects at once."""


class Whole:
    """A transport that sends what is written in one turn of the event loop together. seconds: see `watch`."""

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport, self._seconds = transport, seconds
        self._kept, self._written = list[bytes](), 0
        self._watching: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it, soon."""
        self._written += len(data)
        if len(data) > SMALL:
            self._send()
            self._transport.write(data)
            return
        if not self._kept:
            self._loop.call_soon(self._send)
        self._kept.append(data)

    def write_now(self, data: bytes) -> None:
        """Send it at once: it is whole."""
        self._written += len(data)
        self._send()
        self._transport.write(data)

    def close(self) -> None:
        """Send what is kept, and close."""
        self._send()
        self._transport.close()
        self.watch()

    def watch(self) -> None:
        """Cut the connection if the client takes nothing of what is waiting to be sent within the time limit."""
        if left := self._transport.get_write_buffer_size():
            self._watching = self._watching or self._loop.call_later(self._seconds, self._look, self._written - left)

    def _look(self, taken: int) -> None:
        self._watching = None
        if self._written - self._transport.get_write_buffer_size() == taken:
            self._transport.abort()
        else:
            self.watch()

    def _send(self) -> None:
        kept, self._kept = self._kept, []
        if kept and not self._transport.is_closing():
            self._transport.write(b"".join(kept))


class Patient(HttpToolsProtocol):
    """uvicorn's protocol on such a transport. seconds: within which a request has to be whole once something of it has
    come, or the connection was made, and within which a client has to take something of what it is sent. most:
    connections at once. Only what is not whole gets a timer."""

    seconds: float
    most: int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection: its first request has to come."""
        super().connection_made(Whole(transport, self.seconds))  # type: ignore[arg-type]
        if len(self.connections) > self.most:  # one goes on which nothing is asked: whoever wants it connects again
            idle = (each for each in self.connections if each is not self and each._idle)  # type: ignore[union-attr]
            spared = next(idle, self)
            self.connections.discard(spared)  # it is no longer there to be spared
            spared.transport.abort()
        self._loose, self._open, self._told = 0, False, False
        self._late: asyncio.TimerHandle | None = self.loop.call_later(self.seconds, self._give_up)
        self._keeping: asyncio.TimerHandle | None = None
        self._idle_since = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._in_time()
        if self._keeping is not None:
            self._keeping.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something of a request, or of nothing."""
        self._loose += len(data)
        rest: bytes | memoryview = data
        try:
            while rest:
                rest = self._read(rest)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._loose > HEAD:
            self._refuse(_TOO_LARGE)
        elif self._open or self.cycle is None or self.cycle.response_complete:
            self._late = self._late or self.loop.call_later(self.seconds, self._give_up)
        elif self._late is not None:
            self._in_time()

    def _read(self, data: bytes | memoryview) -> bytes | memoryview:
        """Read on; what is left after a head that offers to speak another protocol. The parser takes that for the other
        protocol, and has told of no body: another parser reads on as if nothing had been offered."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            framing = (b"content-length", b"transfer-encoding")
            lines = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name in framing]
            self.parser, self._told = HttpRequestParser(self), True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))
            return memoryview(data)[offer.args[0] :]
        return b""

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        super().pause_writing()
        self.transport.watch()  # type: ignore[attr-defined]

    def on_message_begin(self) -> None:
        """A head begins."""
        self._loose, self._open = 0, True
        if not self._told:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        if not self._told:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of a head."""
        if not self._told:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is whole. Of one that was told before, the body comes after all."""
        if not self._told:
            super().on_headers_complete()
        self.cycle.more_body, self._told = True, False

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._loose = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._loose, self._open = 0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As the server does it; but one timer stands for all requests of a connection, which nothing has to stop."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._keeping is None:
            self._keeping = self.loop.call_later(self.timeout_keep_alive, self._keep)

    async def reply(self, cycle: RequestResponseCycle, status: int, lines: list[bytes], data: bytes) -> None:
        """The whole and only reply to a request; to a client that is gone it goes nowhere. lines: of its head, each
        with its end."""
        scope: dict[str, Any] = cycle.scope  # type: ignore[assignment]
        scope.pop(REPLY, None)  # or the two would hold each other in memory
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected or cycle.response_complete:
            return
        cycle.response_started = cycle.response_complete = True
        closes = not cycle.keep_alive or CLOSE in lines
        own = [part for name, value in self.server_state.default_headers for part in (name, b": ", value, b"\r\n")]
        own += [CLOSE] if closes and CLOSE not in lines else []
        size = b"content-length: %d\r\n\r\n" % len(data)
        self.transport.write_now(b"".join([STATUS_LINE[status], *own, *lines, size, data]))  # type: ignore[attr-defined]
        cycle.message_event.set()
        if closes:
            self.transport.close()
        cycle.on_response()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope: dict[str, Any] = cycle.scope  # type: ignore[assignment]
        scope[REPLY] = partial(self.reply, cycle)
        super()._start_asgi_task(cycle, app)

    def _keep(self) -> None:
        """Hang up on a client that has asked nothing for long."""
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        busy = not self._idle or self._late is not None
        if left <= 0 and not busy:
            self.transport.close()
        else:
            self._keeping = self.loop.call_later(self.timeout_keep_alive if busy else left, self._keep)

    @property
    def _idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self._idle:
            self.transport.close()
        elif self.cycle.more_body:
            self._refuse(_TOO_LATE)
        elif self._open:  # another one is being answered: its client may have its answer first
            self._late = self.loop.call_later(self.seconds, self._give_up)

    def _refuse(self, said: bytes) -> None:
        if self._idle or not self.cycle.response_started:
            self.transport.write(said)
        self.transport.close()


def protocol(seconds: float, most: int) -> type[asyncio.Protocol]:
    """The protocol class with these limits."""
    return type("Protocol", (Patient,), {"seconds": seconds, "most": most})


def room(most: int) -> int:
    """How many connections there may be, most at the most: this process may open as many files again, to ask providers.
    What the system allows it is made use of."""
    try:
        import resource
    except ImportError:
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * most if hard == resource.RLIM_INFINITY else min(2 * most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return most if soft == resource.RLIM_INFINITY else min(most, soft // 2)
