"""The body of a reply, read and unpacked by ourselves so that both have a limit: a server may send without end, and a
megabyte may unpack to a gigabyte."""

from __future__ import annotations

import zlib

import aiohttp

MOST = 32 * 2**20
"""Bytes of a reply, packed or not: the log-probabilities of a long answer are some megabytes."""
GZIP = b"\x1f\x8b"
"""What everything that is packed with gzip begins with, and no JSON: proxies pack and unpack without saying so."""
ACCEPTED = {"Accept-Encoding": "gzip"}


class Unusable(Exception):
    """It is larger than anybody needs, or cannot be unpacked; the text says which."""


async def body(response: aiohttp.ClientResponse, most: int | None = None) -> bytes:
    """All of it, of a session that does not unpack by itself. `Unusable` beyond `most` bytes."""
    most = MOST if most is None else most
    parts, size = [], 0
    async for part in response.content.iter_chunked(2**18):
        parts.append(part)
        if (size := size + len(part)) > most:
            raise Unusable(f"sent more than {most:,} bytes")
    return _unpacked(b"".join(parts), response.headers.get("Content-Encoding", "").strip().lower(), most)


def _unpacked(data: bytes, coding: str, most: int) -> bytes:
    if data.startswith(GZIP):
        coding = "gzip"
    elif coding in ("", "identity") or not data or data.lstrip()[:1] in (b"{", b"["):  # unpacked on the way
        return data
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Unusable("packed its reply in a way nobody asked for")
    whole = b""
    while data:
        unpacker = zlib.decompressobj(wbits=47)  # gzip or zlib, by its first bytes
        try:
            whole += unpacker.decompress(data, most + 1 - len(whole))
        except zlib.error:
            raise Unusable("sent a reply that cannot be unpacked") from None
        if len(whole) > most:
            raise Unusable(f"sent a reply that unpacks to more than {most:,} bytes")
        data = unpacker.unused_data  # some servers pack a reply in pieces
    return whole
