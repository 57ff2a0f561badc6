"""HTTP as batch APIs need it: several addresses under one URL, files up, results down line by line.

The key goes where `providers.http` lets it go: to this URL's host, in one header. Addresses are made here from ids;
what a provider names as a URL (`results_url`) is not followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.providers import bodies, problems
from smart_llm.providers.batch.base import Gone
from smart_llm.providers.connections import HttpReply
from smart_llm.providers.reasons import reason
from smart_llm.types import Json

SLOWEST = 250_000
"""Bytes a second below which a transfer counts as hung: added to the time limit of a call."""

_decode = msgspec.json.Decoder().decode


class BatchHttp:
    """The addresses under one URL. headers: sent with every request, the key among them. timeout: seconds per call."""

    def __init__(self, url: str, headers: Mapping[str, str], *, secret: str | None, timeout: float) -> None:
        self._url, self._headers, self._secret, self._timeout = url.rstrip("/"), dict(headers), secret, timeout
        self._session: aiohttp.ClientSession | None = None
        self.host = urlsplit(url).netloc

    async def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """A request without a body, and its reply as JSON. Raises `Retryable` or `Refused` for every other reply."""
        return self.decoded(await self.send(method, path, [], headers or {}, query))

    def decoded(self, reply: HttpReply) -> Json:
        """The JSON of a good reply; what any other means is raised."""
        if reply.status != 200:
            raise self._meaning(reply)
        try:
            value = _decode(reply.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            value = None
        if not isinstance(value, dict):
            raise Retryable(f"{self.host} sent a reply that is not JSON.", paid=True)
        return value

    async def send(
        self,
        method: str,
        path: str,
        pieces: Sequence[bytes],
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """One request, its body in pieces, and the reply, whatever its status."""
        size = sum(map(len, pieces))
        if size:
            headers = {**headers, "Content-Length": str(size)}
        async with self._request(method, path, pieces, headers, query, extra=size / SLOWEST) as response:
            return HttpReply(response.status, await response.read(), response.headers)

    async def lines(self, path: str, headers: Mapping[str, str] | None = None) -> AsyncGenerator[bytes, None]:
        """A file of lines as it comes, however large. `Retryable` where it ends before its end."""
        async with self._request("GET", path, (), headers or {}, None, extra=None) as response:
            if response.status != 200:
                data = await self._timed(response.read())
                raise self._meaning(HttpReply(response.status, data, response.headers))
            rest = b""
            while piece := await self._timed(response.content.read(1 << 20)):
                *whole, rest = (rest + piece).split(b"\n")
                if len(rest) > bodies.MOST:
                    raise Retryable(f"{self.host} sent a line of more than {bodies.MOST:,} bytes.", paid=True)
                for line in whole:
                    if line.strip():
                        yield line
            if rest.strip():
                yield rest

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        pieces: Sequence[bytes],
        headers: Mapping[str, str],
        query: Mapping[str, str] | None,
        *,
        extra: float | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """extra: seconds above the time limit, None for a stream that is timed piece by piece."""
        session = self._session = self._session or self._open()
        address = URL(f"{self._url}{path}").with_query(query)
        limit = None if extra is None else self._timeout + extra
        data = _flow(pieces) if pieces else None
        try:
            async with (
                asyncio.timeout(limit),
                session.request(method, address, data=data, headers=headers, allow_redirects=False) as response,
            ):
                if 300 <= response.status < 400:
                    raise Refused(f"{self.host} redirects to another address; not followed. Give the final address.")
                yield response
        except aiohttp.ClientConnectorError as error:
            raise Retryable(f"{self.host} cannot be reached: {reason(error)}.") from None
        except aiohttp.ClientError as error:
            raise Retryable(f"{self.host} dropped the connection: {reason(error)}.", paid=True) from None
        except TimeoutError:
            raise Retryable(f"{self.host} did not answer within {self._timeout:g} s.", paid=True) from None

    def _meaning(self, reply: HttpReply) -> ProviderError:
        problem = problems.read(reply.data)
        if reply.status == 404:
            return Gone(f"{self.host} does not know this (status 404): {problem.message[:160]}")
        found = problems.meaning(self.host, reply.status, problem, reply.headers, self._secret)
        if isinstance(found, Refused) and found.key:
            return Refused(f"{found} Check the environment variable that holds it.")
        return found

    async def _timed(self, reading: Awaitable[bytes]) -> bytes:
        return await asyncio.wait_for(reading, self._timeout)

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


async def _flow(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The body piece by piece: a file of 200 MB is never copied as a whole."""
    for piece in pieces:
        yield piece


def arrived(reply: HttpReply) -> HttpReply:
    """A reply to a submission; after a fault of the server the batch may be there all the same (`paid`)."""
    if reply.status >= 500 or reply.status in (408, 409, 425):
        raise Retryable(f"The submission of a batch met status {reply.status}.", paid=True)
    return reply


def id_of(reply: Mapping[str, Json]) -> str:
    """The id of what was made."""
    if not isinstance(reply.get("id"), str):
        raise Retryable("A reply to a batch had no id in it.", paid=True)
    return str(reply["id"])
