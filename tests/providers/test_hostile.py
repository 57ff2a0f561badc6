"""Replies made to do harm, over real sockets: bounded in memory and time, and never a traceback."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from smart_llm.errors import ProviderError
from smart_llm.mock.scripted import Scripted
from smart_llm.models import make_provider, resolve
from smart_llm.providers import bodies
from smart_llm.types import Request

DONE = b'{"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}'


async def said(url: str, name: str = "openai") -> str | None:
    """What one call brings."""
    model = resolve(f"{name}:m@{url}?in=1&out=1")
    provider = make_provider(model)
    try:
        return (await asyncio.wait_for(provider.complete(Request(model.name, "hello", 7)), 20)).text
    finally:
        await provider.close()


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_bomb_is_not_unpacked(pack: object, status: int) -> None:
    """A reply that unpacks to a gigabyte costs no such memory, and is an error of this call."""
    bomb = zlib.compressobj(9, wbits=31 if pack is gzip.compress else 15)
    data = b"".join([*(bomb.compress(bytes(2**22)) for _ in range(256)), bomb.flush()])
    kind = "gzip" if pack is gzip.compress else "deflate"
    async with Scripted((status, data, {"Content-Encoding": kind})) as url:
        tracemalloc.start()
        try:
            with pytest.raises(ProviderError, match="unpacks to more than"):
                await said(url)
            assert tracemalloc.get_traced_memory()[1] < 6 * bodies.MOST
        finally:
            tracemalloc.stop()


async def test_packed_replies_are_read() -> None:
    """An ordinary packed reply is an ordinary reply, in every coding that servers use unasked."""
    for kind, data in (("gzip", gzip.compress(DONE)), ("deflate", zlib.compress(DONE)), ("identity", DONE)):
        async with Scripted((200, data, {"Content-Encoding": kind})) as url:
            assert await said(url) == "yes"


@pytest.mark.parametrize("data", [b"\x1f\x8b broken", gzip.compress(DONE)[:40]])
async def test_what_cannot_be_unpacked_is_told(data: bytes) -> None:
    """Broken packing is an error of this call, worth another try."""
    async with Scripted((200, data, {"Content-Encoding": "gzip"})) as url:
        with pytest.raises(ProviderError):
            await said(url)


async def test_a_body_without_end_is_cut_off() -> None:
    """A server that never stops sending is left."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        try:
            while True:
                writer.write(b" " * 2**20)
                await writer.drain()
        except OSError:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderError, match="sent more than"):
            await said(f"http://127.0.0.1:{port}/v1")


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize("status", [200, 400, 429, 500])
@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"error":' * 200_000, b'{"choices":' + b"[" * 200_000])
async def test_nesting_is_an_error_in_a_line(name: str, status: int, data: bytes) -> None:
    """However deep a reply is nested, the call fails with an error of ours, on one line."""
    async with Scripted((status, data)) as url:
        with pytest.raises(ProviderError) as caught:
            await said(url, name)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500
