"""Why a call failed, in words: whatever a server does to the connection, no class of a library is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import smart_llm as smart

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DOINGS = {
    "closes at once": b"",
    "speaks no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "breaks off": HEAD + b"Content-Length: 500\r\n\r\n{",
    "breaks off in chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\n{",
    "sends odd chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{",
    "packs badly": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
}


@pytest.mark.parametrize("doing", DOINGS)
async def test_no_class_is_named(tmp_path: Path, port: int, doing: str) -> None:
    """The run stops with exit code 3 and a sentence."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(DOINGS[doing])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        models = [f"openai:{name}@http://127.0.0.1:{port}/v1?in=1&out=1" for name in ("big", "small")]
        with pytest.raises(smart.ProviderError) as stopped:
            await smart.arun(
                [{"text": f"row {i}"} for i in range(5)],
                smart.Task("Good? {text}", labels=["yes", "no"]),
                reference=models[0],
                candidates=models[1:],
                ledger=tmp_path / "l.db",
                patience=0.5,
                timeout=2,
            )
    said = str(stopped.value)
    assert "Error" not in said
    assert "Exception" not in said
    assert "'" not in said
    assert f"127.0.0.1:{port}" in said
