"""Replies as servers may send them, over real sockets: what is read, what fails and whether it may have been paid, and
which connections are used again."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from smart_llm.errors import Refused, Retryable
from smart_llm.providers import bodies, connections
from smart_llm.providers.http import HttpEndpoint

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Reply = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Says the same to every request, and then ends the connection or not. connections: how many there were."""

    def __init__(self, reply: Reply, *, last: bool = True) -> None:
        self._reply, self._last = reply, last
        self.connections, self.heads = 0, list[bytes]()
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(2)
                if not isinstance(self._reply, bytes):
                    await self._reply(reader, writer)
                    return
                writer.write(self._reply)
                await writer.drain()
                if self._last:
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.left.set()
            writer.close()


@asynccontextmanager
async def at(server: Server, **headers: str) -> AsyncIterator[HttpEndpoint]:
    """An endpoint at this server, which is gone when the block ends."""
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    endpoint = HttpEndpoint(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1?a=b", headers)
    try:
        yield endpoint
    finally:
        await endpoint.close()
        listening.close()


WHOLE: dict[str, tuple[bytes, int]] = {
    "with its length": (OK + b"\r\nab", 200),
    "in pieces": (CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\nX-Trailer: 1\r\n\r\n", 200),
    "up to the end of the connection": (b"HTTP/1.1 200 OK\r\n\r\nab", 200),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nab", 200),
    "after word that it will come": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + OK + b"\r\nab",
        200,
    ),
    "with letters that are not ASCII in a header": (OK + "X-A: café\r\n".encode() + b"\r\nab", 200),
    "with 200 headers": (OK + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\nab", 200),
    "of an unusual status": (b"HTTP/1.1 529 Busy\r\nContent-Length: 2\r\n\r\nab", 529),
}


def _by_the_byte(data: bytes) -> Reply:
    """The same, in as many pieces as there are bytes."""

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

    return reply


@pytest.mark.parametrize("sent", [lambda data: data, _by_the_byte], ids=["at once", "by the byte"])
@pytest.mark.parametrize("kind", WHOLE)
async def test_whole_replies_are_read(kind: str, sent: Callable[[bytes], Reply]) -> None:
    """A reply in any shape that HTTP/1 has is read as it was meant, in whatever pieces it comes."""
    data, status = WHOLE[kind]
    async with at(Server(sent(data))) as endpoint:
        reply = await endpoint.post(b"{}")
    assert (reply.status, reply.data) == (status, b"ab")


async def _reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _endless_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        writer.write(b"a" * 2**16)
        await writer.drain()


async def _endless_pieces(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED)
    while True:
        writer.write(b"1;a=" + b"a" * 2**16 + b"\r\na\r\n")
        await writer.drain()


BROKEN: dict[str, tuple[Reply, str]] = {
    "nothing": (b"", "without a reply"),
    "a reset": (_reset, "reset by peer"),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nab", "reply broke off"),
    "half of the pieces": (CHUNKED + b"2\r\nab\r\n", "reply broke off"),
    "no HTTP": (b"hello\r\n\r\n", "not HTTP"),
    "no number of bytes": (CHUNKED + b"zz\r\nab\r\n", "not HTTP"),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab", "not HTTP"),
    "another protocol": (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "not HTTP"),
    "a head without end": (_endless_head, "more than"),
    "frames without end": (_endless_pieces, "more than"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_replies_may_have_been_paid(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a server sends instead of a reply: tried again, counted as paid, in bounded time and memory."""
    monkeypatch.setattr(bodies, "MOST", 2**20)
    reply, says = BROKEN[kind]
    async with at(Server(reply)) as endpoint:
        with pytest.raises(Retryable, match=says) as caught:
            await asyncio.wait_for(endpoint.post(b"{}"), 60)
    assert caught.value.paid


async def test_nothing_is_paid_without_a_connection() -> None:
    """An address where nobody listens, a name that nobody has, and a certificate that nobody vouches for."""
    for url in ("http://127.0.0.1:1/", "http://nowhere.invalid/", f"http://{'x' * 64}.invalid/"):
        with pytest.raises(Retryable, match="cannot be reached") as caught:
            await HttpEndpoint(url, {}).post(b"{}")
        assert not caught.value.paid


def _certificate(folder: Path) -> tuple[Path, Path]:
    """One for "localhost" that nobody else vouches for, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    return certificate, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")
@pytest.mark.parametrize("trusted", [True, False])
async def test_certificates(trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS, a server whose certificate this machine trusts is asked, several times over one connection; nothing is
    sent to any other."""
    certificate, key = _certificate(tmp_path)
    server, secure = Server(OK + b"\r\nab", last=False), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(certificate, key)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    connections._trusted.cache_clear()
    async with await asyncio.start_server(server, "localhost", 0, ssl=secure) as listening:
        endpoint = HttpEndpoint(f"https://localhost:{listening.sockets[0].getsockname()[1]}/", {})
        if trusted:
            assert [(await endpoint.post(b"{}")).data for _ in range(3)] == [b"ab"] * 3
        else:
            with pytest.raises(Retryable, match="cannot be reached: its certificate is not trusted") as caught:
                await endpoint.post(b"{}")
            assert not caught.value.paid
        await endpoint.close()
    connections._trusted.cache_clear()
    assert (server.connections, len(server.heads)) == ((1, 3) if trusted else (0, 0))


async def test_a_connection_is_used_again() -> None:
    """One request after the other goes over one connection; many at once over as many, and no more than that."""
    server = Server(OK + b"\r\nab", last=False)
    async with at(server) as endpoint:
        for _ in range(5):
            await endpoint.post(b"{}")
        assert server.connections == 1
        for _ in range(3):
            await asyncio.gather(*(endpoint.post(b"{}") for _ in range(4)))
    assert server.connections == 4


@pytest.mark.parametrize(
    "reply",
    [OK + b"Connection: close\r\n\r\nab", OK + b"\r\nabHTTP/1.1 200 OK\r\n", OK + b"\r\nab"],
    ids=["it says that it ends", "more comes than was asked for", "it ends"],
)
async def test_a_connection_that_may_be_spoiled_is_not_used_again(reply: bytes) -> None:
    """A server that ends a connection after a reply, or sends more than one, meets the next request on another one: no
    request fails and none gets the reply of another."""
    server = Server(reply)
    async with at(server) as endpoint:
        for _ in range(3):
            assert (await endpoint.post(b"{}")).data == b"ab"
            await asyncio.sleep(0.02)
    assert server.connections == 3


async def test_a_reply_to_nothing_is_not_taken_for_one() -> None:
    """What a server sends over a connection that nobody uses (often that it is about to end) answers no request."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\nab")
        await taken.wait()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        taken.clear()
        await reader.read()

    taken, server = asyncio.Event(), Server(late)
    async with at(server) as endpoint:
        for _ in range(2):
            assert (await endpoint.post(b"{}")).status == 200
            taken.set()
            while taken.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)  # what has been sent is read before this ends, however busy the machine is
    assert server.connections == 2


async def test_a_call_that_is_given_up_ends_its_connection() -> None:
    """The server sees it at once, and can stop; the next request goes over another connection."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = Server(silent)
    async with at(server) as endpoint:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(endpoint.post(b"{}"), 0.05)
        await asyncio.wait_for(server.left.wait(), 30)


async def test_a_header_is_one_line() -> None:
    """A key with a line break in it cannot smuggle a header: nothing is sent."""
    server = Server(OK + b"\r\nab")
    async with at(server, Authorization="Bearer a\r\nX-Other: b") as endpoint:
        with pytest.raises(Refused, match="mend the key"):
            await endpoint.post(b"{}")
    assert server.heads == []


async def test_what_is_sent() -> None:
    """One head: the whole path with its query, the host and port, the key, and the length of the body."""
    server = Server(OK + b"\r\nab")
    async with at(server, Authorization="Bearer k") as endpoint:
        await endpoint.post(b"{}", {"X-Own": "1"})
    line, *headers = server.heads[0].decode().splitlines()
    assert line == "POST /v1?a=b HTTP/1.1"
    assert {"Authorization: Bearer k", "X-Own: 1", "Content-Length: 2", "Content-Type: application/json"} <= {*headers}
