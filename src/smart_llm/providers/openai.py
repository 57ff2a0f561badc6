"""OpenAI-compatible endpoints over aiohttp and msgspec: OpenAI, Gemini, vLLM, llama.cpp, Ollama and the many others.

One provider per address and key, one pool of kept-alive connections, which the client's pacing keeps within bounds. The
key is in one header of requests to this address; redirects are not followed, the environment's proxies and netrc are
not read, and no message ever quotes a header.

Models differ in the parameters they take. What is known by name is known beforehand; what an endpoint refuses with a
400 that names the parameter is learnt, and the request sent again without it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import msgspec
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.providers import wire
from smart_llm.types import Answer, Model, Request

_ROW_ONLY = re.compile(
    r"context.?(length|window)|maximum context|too long|too large|too many tokens|content.?(filter|policy|management)"
    r"|safety|string_above_max_length|invalid_prompt|moderation",
    re.IGNORECASE,
)
"""400s that concern this one prompt, by code or message."""

_LEARNABLE = ("logprobs", "temperature", "max_tokens", "response_format")
_REASONING = frozenset({"max_tokens", "temperature", "logprobs"})


class OpenAIProvider:
    """Answers requests for the models of one address. `key` goes to that address only."""

    def __init__(self, url: str, models: Iterable[Model], *, key: str | None = None) -> None:
        self._url = URL(f"{url}/chat/completions")
        self._host = urlsplit(url).netloc
        self._key = key
        self._names = {model.name: model.model for model in models}
        own = self._host == "api.openai.com"
        self._quirks = {
            name: _REASONING if own and wire.REASONING.match(model) else frozenset[str]()
            for name, model in self._names.items()
        }
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, request: Request) -> Answer:
        """One attempt, or a few where the endpoint first has to say which parameters it does not take."""
        while True:
            quirks = self._quirks[request.model]
            status, data, headers = await self._post(wire.body(request, self._names[request.model], quirks))
            if status == 200:
                return self._answer(data)
            detail = wire.error_detail(data)
            learnt = _refused_parameter(detail) if status in (400, 422) else None
            if learnt is None or learnt in quirks:
                raise self._error(status, detail, headers)
            self._quirks[request.model] = self._quirks[request.model] | {learnt}

    def encode(self, request: Request) -> bytes:
        """The body of one call, without the parameters this endpoint is known not to take (a line of a batch)."""
        return wire.body(request, self._names[request.model], self._quirks[request.model])

    def read(self, model: str, status: int, data: bytes) -> Answer:
        """What a reply to such a body says, wherever it was found. Raises `Retryable` for a parameter that is left out
        from now on, else what a call would raise."""
        if status == 200:
            return self._answer(data)
        detail = wire.error_detail(data)
        learnt = _refused_parameter(detail) if status in (400, 422) else None
        if learnt is None:
            raise self._error(status, detail, CIMultiDictProxy(CIMultiDict()))
        self._quirks[model] = self._quirks[model] | {learnt}
        raise Retryable(f"{self._host} does not take {learnt}; it is left out from now on.")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, body: bytes) -> tuple[int, bytes, CIMultiDictProxy[str]]:
        try:
            async with self._open().post(self._url, data=body, allow_redirects=False) as response:
                return response.status, await response.read(), response.headers
        except aiohttp.ClientConnectorError as error:
            raise Retryable(f"{self._host} cannot be reached: {_reason(error)}.") from None
        except aiohttp.ClientError as error:
            raise Retryable(f"{self._host} dropped the connection: {_reason(error)}.", paid=True) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _answer(self, data: bytes) -> Answer:
        try:
            return wire.answer(wire.decode(data))
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
            raise Retryable(f"{self._host} sent a reply that is not a completion.", paid=True) from None

    def _error(self, status: int, detail: wire.ErrorDetail, headers: CIMultiDictProxy[str]) -> ProviderError:
        """What a reply other than 200 means for us."""
        said = self._quote(detail)
        if status == 429 and "insufficient_quota" in (detail.code, detail.type):
            return Refused(f"{self._host}: the quota is used up{said}. Add to it, then run again to go on.")
        if status == 429:
            return Retryable(
                f"{self._host} asks to slow down{said}.", retry_after=_retry_after(headers), throttled=True
            )
        if status in (408, 409, 425) or status >= 500:
            after = _retry_after(headers)
            return Retryable(
                f"{self._host} failed with status {status}{said}.", retry_after=after, paid=status in (502, 504)
            )
        if 300 <= status < 400:
            return Refused(f"{self._host} redirects to another address; not followed. Give the final address.")
        if status in (401, 403):
            return Refused(f"{self._host} does not accept the key (status {status}). Check the environment variable.")
        if status == 404:
            return Refused(f"{self._host} does not know this model or address (status 404){said}.")
        row_only = status == 413 or bool(_ROW_ONLY.search(f"{detail.code} {detail.message}"))
        return Refused(f"{self._host} refuses the request (status {status}){said}.", row_only=row_only)

    def _quote(self, detail: wire.ErrorDetail) -> str:
        """The provider's words, short, on one line, without the key (some quote it back)."""
        text = " ".join(detail.message.split())[:160].rstrip(".")
        if self._key:
            text = text.replace(self._key, "…")
        return f": {text}" if text else ""


def _refused_parameter(detail: wire.ErrorDetail) -> str | None:
    """The parameter an endpoint says it does not take, if it is one we can do without."""
    for name in _LEARNABLE:
        if detail.param == name or (detail.param is None and name in detail.message):
            return name
    return None


def _retry_after(headers: CIMultiDictProxy[str]) -> float | None:
    """Seconds to wait, from `retry-after-ms`, or from `Retry-After` in seconds or as a date."""
    text, scale = headers.get("retry-after-ms"), 1e-3
    if text is None:
        text, scale = headers.get("Retry-After"), 1.0
    if text is None:
        return None
    try:
        return max(0.0, float(text) * scale)
    except ValueError:
        return _until(text)


def _until(text: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__)
