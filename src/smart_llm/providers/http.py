"""One address, one key, one pool of kept-alive connections: what every provider over HTTP is made of.

The key is in one header of requests to this address and nowhere else: redirects are not followed, the environment's
proxies and netrc are not read, cookies are not kept, and no message ever quotes a header.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from smart_llm.errors import ProviderError, Retryable
from smart_llm.providers import problems

Told: TypeAlias = Callable[[str, Mapping[str, str]], None]
"""Is told the model's name and the headers of each reply, by someone who paces calls by what they say of limits."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back. headers: names in any case."""

    status: int
    data: bytes
    headers: Mapping[str, str]


class HttpEndpoint:
    """Posts JSON to one URL. headers: sent with every request, the key among them. secret: the key, never quoted."""

    def __init__(self, url: str, headers: Mapping[str, str], *, secret: str | None = None) -> None:
        self._url = URL(url)
        self._headers = {"Content-Type": "application/json", **headers}
        self._secret = secret
        self._session: aiohttp.ClientSession | None = None
        self.host = urlsplit(url).netloc

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> HttpReply:
        """One request, one reply, whatever its status. `Retryable` where none came."""
        session = self._session or self._open()
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                return HttpReply(response.status, await response.read(), response.headers)
        except aiohttp.ClientConnectorError as error:
            raise Retryable(f"{self.host} cannot be reached: {_reason(error)}.") from None
        except aiohttp.ClientError as error:
            raise Retryable(f"{self.host} dropped the connection: {_reason(error)}.", paid=True) from None

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def error(self, reply: HttpReply, problem: problems.Problem) -> ProviderError:
        """What a reply other than 200 means for us."""
        return problems.meaning(self.host, reply.status, problem, reply.headers, self._secret)

    def nonsense(self) -> Retryable:
        """A reply with status 200 that is not an answer: it may have been paid."""
        return Retryable(f"{self.host} sent a reply that is not a completion.", paid=True)

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__)
