"""The addresses of a gateway: requests read within limits, answers written, faults kept inside.

Nothing of a request or an answer is logged, and no text of a provider goes into an error: either may quote a prompt.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeAlias
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.routing import Route as Address

from smart_llm.errors import meant
from smart_llm.gateway import chat, messages, spoken
from smart_llm.gateway.doors import Doors
from smart_llm.gateway.gateway import Gateway
from smart_llm.gateway.metrics import Metrics
from smart_llm.gateway.spoken import Denied, Given
from smart_llm.gateway.views import Views

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

LONGEST = 100
"""Letters of a name that is looked for among those of the routes."""
MOST = 2000
"""Requests on their way at once; more are told to come again."""
_JSON, _STREAM = (b"content-type", b"application/json"), (b"content-type", b"text/event-stream; charset=utf-8")
_NO_STORE = (b"cache-control", b"no-store")
_log = logging.getLogger("smart_llm.gateway")


class Endpoint:
    """The address of one dialect (a module with `read`, `written`, `streamed`, `denied`)."""

    def __init__(self, dialect: ModuleType, gateway: Gateway, doors: Doors, metrics: Metrics) -> None:
        self._dialect, self._gateway, self._doors, self._metrics = dialect, gateway, doors, metrics
        self._ids, self._numbers = secrets.token_hex(8), itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        route, began = "", time.perf_counter()
        try:
            allowed = self._doors.open_to(scope)
            config = self._gateway.config
            body = await _body(scope, receive, config.max_body)
            asked = self._dialect.read(body)
            route = self._allowed(asked.route, allowed, scope)
            self._metrics.enter(MOST)
            try:
                given = await self._gateway.routes[route].answer(asked)
            finally:
                self._metrics.leave()
            await _send(send, 200, *self._reply(given, stream=asked.stream, usage=asked.usage))
            self._metrics.answered(route, time.perf_counter() - began)
        except Denied as denied:
            self._metrics.denied(route, denied.status)
            await _deny(send, denied, self._dialect.denied(denied))
        except asyncio.CancelledError:  # the gateway stops and has waited long enough
            stopped = Denied(503, "The gateway is stopping; come again.", kind="api_error", retry_after=5.0)
            self._metrics.denied(route, 503)
            await _deny(send, stopped, self._dialect.denied(stopped))
        except Exception as fault:
            self._metrics.denied(route, 500)
            _log.error("A fault of the gateway's own: %s at %s", type(fault).__name__, _places(fault))
            ours = Denied(500, "The gateway has a fault of its own; its log says where.", kind="api_error")
            await _deny(send, ours, self._dialect.denied(ours))

    def _allowed(self, name: str, allowed: list[str], scope: Scope) -> str:
        """The route, where it is there and whoever asks may ask it."""
        if name not in allowed:
            if name in self._gateway.routes:
                self._doors.check(name, scope)
            near = meant(name, allowed) if len(name) <= LONGEST else ""  # it is compared with all, letter by letter
            raise spoken.unknown(f"{spoken.PREFIX}{name}", near)
        return name

    def _reply(self, given: Given, *, stream: bool, usage: bool) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        number, now = f"{self._ids}{next(self._numbers):08x}", int(time.time())
        if stream:
            data = self._dialect.streamed(given, number, now, usage=usage)
        else:
            data = self._dialect.written(given, number, now)
        return data, [_STREAM if stream else _JSON, *_told(given)]


class Application:
    """The gateway as an ASGI application. What is asked most goes to its endpoint at once; starlette has the rest."""

    def __init__(self, gateway: Gateway) -> None:
        doors, metrics = Doors(gateway.config.routes), Metrics(gateway)
        views = Views(gateway, doors, metrics)
        dialects = [(chat.PATH, chat), (messages.PATH, messages)]
        self._endpoints = {at: Endpoint(how, gateway, doors, metrics) for at, how in dialects}

        self._others = Starlette(
            routes=[
                *(Address(at, endpoint, methods=["POST"]) for at, endpoint in self._endpoints.items()),
                Address("/v1/models", views.models),
                Address("/healthz", views.health),
                Address("/metrics", views.metrics),
                Address("/", views.page),
            ]
        )

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._endpoints:
            await self._endpoints[scope["path"]](scope, receive, send)
        else:
            await self._others(scope, receive, send)


async def _body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The body of a request, up to this number of bytes. The connection sees to it that it comes in time (`wire`)."""
    headers = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Denied(415, "Send the body as it is, not packed (content-encoding).")
    length = headers.get(b"content-length", b"0").lstrip(b"0") or b"0"
    if not length.isdigit() or len(length) > 18 or int(length) > most:
        raise _large(most)
    whole, more = bytearray(), True
    while more and len(whole) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Denied(408, "The body did not come in time, or ended early.")
        whole += message.get("body", b"")
        more = message.get("more_body", False)
    if len(whole) > most:
        raise _large(most)
    return bytes(whole)


def _large(most: int) -> Denied:
    return Denied(413, f"The body has more than {most} bytes (max_body).")


@lru_cache(maxsize=256)
def _who(route: str, model: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-smart-route", route.encode()),
        (b"x-smart-answered-by", quote(model, safe="/:@?&=+.,_-").encode()),
    ]


def _told(given: Given) -> list[tuple[bytes, bytes]]:
    """Headers that say who answered."""
    return [
        *_who(given.route, given.answered_by),
        (b"x-smart-window", b"%d" % given.window),
        (b"x-smart-request", b"%d" % given.request),
        (b"x-smart-audited", b"true" if given.audited else b"false"),
    ]


async def _deny(send: Send, denied: Denied, data: bytes) -> None:
    headers = [_JSON]
    if denied.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(denied.retry_after))))
    if denied.status == 413:
        headers.append((b"connection", b"close"))
    await _send(send, denied.status, data, headers)


async def _send(send: Send, status: int, data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A whole reply; to a client that is gone it goes nowhere."""
    headers = [*headers, _NO_STORE, (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def _places(fault: BaseException) -> str:
    """Where it happened, without a word of what was being worked on."""
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(fault.__traceback__)))
