"""Replies made to do harm, over real sockets: bounded in memory and time, and never a traceback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import gzip
import tracemalloc
import zlib
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from making import make_provider

from smart_llm.client.client import Client
from smart_llm.errors import ProviderError
from smart_llm.ledger import Ledger
from smart_llm.mock.scripted import Scripted
from smart_llm.providers import bodies
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
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
    bomb = zlib.compressobj(1, wbits=31 if pack is gzip.compress else 15)
    head = bomb.compress(bytes(2**22)) + bomb.flush(zlib.Z_FULL_FLUSH)
    part = bomb.compress(bytes(2**22)) + bomb.flush(zlib.Z_FULL_FLUSH)  # such parts are alike, and may be repeated
    data = head + 255 * part + bomb.flush()
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


@pytest.mark.parametrize("data", [b"\x1f\x8b broken", gzip.compress(DONE, mtime=0)[:40]])
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


KEY = "sk-proj-Zq3+very/secret=key"
FORMS = [
    KEY,
    base64.b64encode(KEY.encode()).decode(),
    base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    base64.urlsafe_b64encode(f"x:{KEY}".encode()).decode(),
    quote(KEY, safe=""),
    KEY.encode().hex(),
    KEY.encode().hex().upper(),
    KEY[::-1],
    "".join(f"\\u{ord(letter):04x}" for letter in KEY),
]


def everything(folder: Path) -> str:
    """All that the files of a folder hold."""
    return "".join(each.read_bytes().decode("latin-1") for each in folder.iterdir())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ["model", "content", "finish_reason", "error"])
async def test_a_key_that_is_sent_back_is_kept_nowhere(tmp_path: Path, form: str, where: str) -> None:
    """Whatever a server says of the key, as it is or encoded, it reaches neither answer nor ledger nor error."""
    parts = {"model": "m", "content": "yes", "finish_reason": "stop", where: f"your key is {form}."}
    whole = (
        f'{{"model": "{parts["model"]}", "choices": [{{"message": {{"content": "{parts["content"]}"}}, '
        f'"finish_reason": "{parts["finish_reason"]}"}}], "usage": {{"prompt_tokens": 1, "completion_tokens": 1}}}}'
    )
    failed = f'{{"error": {{"message": "{parts.get("error")}", "code": "x"}}}}'
    reply = (400, failed.encode()) if where == "error" else (200, whole.encode())
    async with Scripted(reply) as url:
        model = resolve(f"openai:m@{url}?in=1&out=1&key_env=MY_KEY")
        providers = make_providers([model], environ={"MY_KEY": KEY})
        with Ledger.open(tmp_path / "l.db") as ledger:
            client = Client(ledger, [model], providers)
            try:
                answer = repr(await client.ask(Request(model.name, "hello", 7)))
            except ProviderError as error:
                answer = str(error)
            await client.close()
    kept = answer + everything(tmp_path)
    assert "your key is" in kept
    for each in FORMS[:-1]:
        assert each[4:-6] not in kept


@pytest.mark.parametrize(
    "evil", ["\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "a\r\nb\x08\x08", "\u202egnp.exe", "\x00"]
)
async def test_no_escape_sequence_reaches_anybody(evil: str) -> None:
    """What a server writes into its errors and names cannot rewrite a terminal or a cell."""
    failed = msgspec.json.encode({"error": {"message": f"bad {evil} thing"}})
    done = msgspec.json.decode(DONE)
    done["model"] = f"name {evil}"
    async with Scripted((400, failed), (400, f"plain {evil} text".encode()), (200, done)) as url:
        texts = []
        for _ in range(2):
            with pytest.raises(ProviderError) as caught:
                await said(url)
            texts.append(str(caught.value))
        model = resolve(f"openai:m@{url}?in=1&out=1")
        provider = make_provider(model)
        texts.append((await provider.complete(Request(model.name, "hello", 7))).snapshot)
        await provider.close()
    assert all(text.isprintable() for text in texts), texts


async def test_replies_that_were_too_large_are_not_kept() -> None:
    """One reply after the other that is cut off: what came of them is given back at once, not when Python gets round
    to it."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"100000\r\n" + b" " * 2**20 + b"\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        async with server:
            for _ in range(4):
                with pytest.raises(ProviderError, match="sent more than"):
                    await said(url)
        assert tracemalloc.get_traced_memory()[0] < bodies.MOST
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    "data",
    [
        DONE.replace(b"yes", b"yes \\ud83d"),
        DONE.replace(b"yes", b"yes \\ude00\\ud83d"),
        DONE.replace(b'{"choices"', b'{"model": "\\udfff", "choices"').replace(b"yes", b"yes \xed\xa0\xbd"),
        DONE.decode().encode("utf-16"),
        DONE.decode().encode("utf-16-le"),
        DONE.decode().encode("utf-32-be"),
    ],
)
async def test_an_answer_in_broken_or_rare_letters_is_an_answer(data: bytes) -> None:
    """Half an emoji, and JSON in another encoding of Unicode: read after one call, what is broken becomes a mark."""
    server = Scripted((200, data, {}))
    async with server as url:
        text = await said(url)
    assert text is not None
    assert text.startswith("yes")
    text.encode()
