"""Connections to one address, kept alive: HTTP/1.1 as far as posting JSON needs it.

asyncio carries the bytes and encrypts them, httptools (llhttp, the parser of Node.js) reads the replies. Here is what
lies between: which call has which connection, how much a server may send, and what a failure means. A general client
does much for every call that has no use here (cookies, redirects, proxies, sessions of headers): three times the CPU of
a call, and a sixth of a small run before its first one (benchmarks/LOG.md).

Until its connection is there, a call has sent nothing (`Unreached`); from then on it may have been paid (`Dropped`,
`Unusable`). A connection carries one request at a time, and another one only after a whole reply to the last. The
connection of a call that is given up is closed at once, so that the server can stop working on it.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import cast
from urllib.parse import quote, urlsplit

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from smart_llm.errors import Refused

MOST_HEAD = 2**18
"""Bytes of a reply before its body: gateways send some kilobytes."""
FRAMES = 8
"""Bytes that may come for every byte of the body: pieces have frames."""
CONNECTING = 30.0
"""Seconds until a connection is there."""
NEXT_ADDRESS = 0.25
"""Seconds until the next address of a name is tried beside the first (RFC 8305)."""
NUMBER = re.compile(r"\[Errno (\d+)\]")
"""In the text of one or more errors of the system."""
KEPT = 15.0
"""Seconds without a call after which a connection is not used again: many servers are about to close it."""
WRITTEN_AS_IT_IS = "/%:@!$&'()*+,;=~-._"
"""Characters of a path that need no quoting, or are quoted already."""


class Unreached(Exception):
    """No connection: nothing was sent. The text says why."""


class Dropped(Exception):
    """The connection ended before the reply did. The text says how."""


class Unusable(Exception):
    """A reply that is larger than anybody needs, or cannot be read; the text says which."""


class HttpReply(msgspec.Struct, frozen=True):
    """What came back. headers: names in small letters, or in any case."""

    status: int
    data: bytes
    headers: Mapping[str, str]


class Connection(asyncio.Protocol):
    """One connection. reusable: the last reply was whole, and another request may follow."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._waiting: asyncio.Future[HttpReply] | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._status = self._received = self._most = 0
        self.reusable, self.idle_since = True, 0.0

    def ask(self, request: bytes, most: int) -> asyncio.Future[HttpReply]:
        """Send a whole request; the reply to it. most: bytes of its body."""
        self._waiting = waiting = self.loop.create_future()
        self._status, self._received, self._most, self.reusable = 0, 0, most, False
        self._transport.write(request)
        return waiting

    def abort(self) -> None:
        """Close at once, whatever is on its way. What came of it goes now, and not with the connection, which Python
        may find only much later."""
        self.reusable, self._body = False, bytearray()
        self._transport.abort()

    # ------------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = cast(asyncio.Transport, transport)
        if (wire := transport.get_extra_info("socket")) is not None:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # answers may take minutes

    def data_received(self, data: bytes) -> None:
        """Some bytes of a reply."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail(Dropped("its reply is not HTTP"))
        if self._waiting is not None:
            most = FRAMES * self._most + MOST_HEAD if self._status else MOST_HEAD
            if self._received > most:
                self._fail(Unusable(f"sent more than {most:,} bytes around its reply"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended. Where a reply does not say how long it is, that was its end."""
        self.reusable = False
        if self._waiting is not None and not exc and self._status and self._ends_with_connection():
            self._deliver()
        else:
            closed = "the reply broke off" if self._received else "it closed the connection without a reply"
            self._fail(Dropped(reason(exc) if exc else closed))

    # ------------------------------------------------------------------ called by the parser

    def on_message_begin(self) -> None:
        """A reply, expected or not."""
        self._status, self._headers, self._body = 0, {}, bytearray()
        if self._waiting is None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the first of its name counts, and none after the body."""
        if not self._status:
            self._headers.setdefault(name.lower().decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """All headers are there."""
        self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body += data
        if len(self._body) > self._most:
            self._fail(Unusable(f"sent more than {self._most:,} bytes"))

    def on_message_complete(self) -> None:
        """The whole reply is there; "wait, more is to come" is none."""
        if self._waiting is None or (100 <= self._status < 200 and not self._parser.should_upgrade()):
            return
        if self._parser.should_upgrade():
            self._fail(Dropped("its reply is not HTTP"))
            return
        self.reusable = self._parser.should_keep_alive() and not self._transport.is_closing()
        self._deliver()
        if not self.reusable:
            self._transport.close()

    # ------------------------------------------------------------------ inside

    def _ends_with_connection(self) -> bool:
        chunked = "chunked" in self._headers.get("transfer-encoding", "").lower()
        return not chunked and "content-length" not in self._headers

    def _deliver(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(HttpReply(self._status, bytes(self._body), self._headers))
        self._body = bytearray()

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        self.abort()
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)


class Connections:
    """Of one URL. headers: sent with every request."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        name = f"[{self._host}]" if ":" in self._host else self._host
        usual = parts.port in (None, 443 if self._secure else 80)
        self._name = name if usual else f"{name}:{self._port}"
        query = f"?{quote(parts.query, safe=WRITTEN_AS_IT_IS + '?')}" if parts.query else ""
        self._target = quote(parts.path or "/", safe=WRITTEN_AS_IT_IS) + query
        self._headers = dict(headers)
        self._heads: dict[tuple[tuple[str, str], ...], bytes] = {}
        self._idle: list[Connection] = []
        self._open = set[Connection]()

    async def post(self, body: bytes, headers: Mapping[str, str] | None, most: int) -> HttpReply:
        """One request, one reply, as it was sent. Raises `Unreached`, `Dropped` or `Unusable`."""
        head = self._head(tuple(headers.items()) if headers else ())
        connection = self._kept() or await self._connected()
        try:
            reply = await connection.ask(b"%b%d\r\n\r\n%b" % (head, len(body), body), most)
        finally:
            if connection.reusable:
                connection.idle_since = connection.loop.time()
                self._idle.append(connection)
            else:
                self._open.discard(connection)
                connection.abort()
        return reply

    async def close(self) -> None:
        """Close all; the next request opens a new one."""
        loop = asyncio.get_running_loop()
        for connection in self._open:
            if connection.loop is loop:
                connection.abort()
        self._open.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # so that they have ended when this returns

    def _kept(self) -> Connection | None:
        """The connection used last, of those that are still good."""
        while self._idle:
            connection = self._idle.pop()
            if connection.loop is not asyncio.get_running_loop():
                self._open.discard(connection)
            elif connection.reusable and connection.loop.time() - connection.idle_since < KEPT:
                return connection
            else:
                self._open.discard(connection)
                connection.abort()
        return None

    async def _connected(self) -> Connection:
        loop, secure = asyncio.get_running_loop(), _trusted() if self._secure else None
        stagger = None if _is_number(self._host) else NEXT_ADDRESS
        try:
            async with asyncio.timeout(CONNECTING):
                _, connection = await loop.create_connection(
                    Connection, self._host, self._port, ssl=secure, happy_eyeballs_delay=stagger
                )
        except TimeoutError:
            raise Unreached(f"no connection within {CONNECTING:g} s") from None
        except (OSError, UnicodeError) as error:
            raise Unreached(reason(error)) from None
        self._open.add(connection)
        return connection

    def _head(self, headers: tuple[tuple[str, str], ...]) -> bytes:
        """Everything before the number of bytes in the body."""
        if (head := self._heads.get(headers)) is None:
            sent = {"Host": self._name, "Accept": "*/*", "User-Agent": "smart-llm", **self._headers, **dict(headers)}
            if any(sign in text for pair in sent.items() for text in pair for sign in "\r\n\0"):
                raise Refused(f"A header for {self._host} has a line break or a NUL in it: mend the key.")
            lines = [f"POST {self._target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
            head = self._heads[headers] = "\r\n".join([*lines, "Content-Length: "]).encode()
        return head


def _is_number(host: str) -> bool:
    """Whether a host is an address and no name: then there is no other address to try."""
    with suppress(ValueError):
        return bool(ip_address(host))
    return False


def reason(error: BaseException) -> str:
    """What the system says of a failed connection, without a full stop."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(error, ssl.SSLError):
        return "no secure connection could be made"
    if isinstance(error, socket.gaierror):
        return error.strerror or "its name is not known"
    if numbers := NUMBER.findall(str(error)):
        return os.strerror(int(numbers[0]))
    return "the connection was lost"


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Whose certificates are trusted: whom this machine trusts."""
    context = ssl.create_default_context()
    with suppress(NotImplementedError):
        context.set_alpn_protocols(["http/1.1"])
    return context
