"""Why a call did not come to its end, in words: what the operating system says, else what happened, never a class."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ServerTimeoutError, "it took too long"),
    (aiohttp.ServerDisconnectedError, "it closed the connection without a reply"),
    (aiohttp.ClientPayloadError, "the reply broke off"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
    (aiohttp.ClientSSLError, "no secure connection could be made"),
    (aiohttp.ClientResponseError, "its reply is not HTTP"),
    (aiohttp.InvalidURL, "the address is not one"),
    (aiohttp.ClientConnectionError, "the connection was lost"),
    (ssl.SSLError, "no secure connection could be made"),
    (TimeoutError, "it took too long"),
    (ConnectionError, "the connection was lost"),
    (asyncio.IncompleteReadError, "the reply broke off"),
)
"""The first that fits."""


def reason(error: BaseException) -> str:
    """Without a full stop."""
    if isinstance(error, OSError) and error.strerror and not error.strerror.startswith("<"):
        return str(error.strerror)
    return next((words for kind, words in REASONS if isinstance(error, kind)), "the call failed")
