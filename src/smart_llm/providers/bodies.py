"""The body of a reply, unpacked by ourselves so that it has a limit: a megabyte may unpack to a gigabyte."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from smart_llm.providers.connections import Unusable

MOST = 32 * 2**20
"""Bytes of a reply, packed or not: the log-probabilities of a long answer are some megabytes."""
GZIP = b"\x1f\x8b"
"""What everything that is packed with gzip begins with, and no JSON: proxies pack and unpack without saying so."""
ACCEPTED = {"Accept-Encoding": "gzip"}


def unpacked(data: bytes, headers: Mapping[str, str], most: int) -> bytes:
    """The body as it was before the server packed it. `Unusable` beyond `most` bytes."""
    coding = headers.get("content-encoding", "").strip().lower()
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
