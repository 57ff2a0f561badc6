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
from smart_llm.gateway.wire import CLOSE, REPLY, Reply

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

LONGEST = 100
"""Letters of a name that is looked for among those of the routes."""
MOST = 2000
"""Requests on their way at once; more are told to come again."""
PLAIN = {b"content-encoding": (b"", b"identity"), b"transfer-encoding": (b"chunked",)}
"""Headers that say how a body is packed, and what they say of one that is not."""
_NO_STORE = b"cache-control: no-store\r\n"
_JSON = b"content-type: application/json\r\n" + _NO_STORE
_STREAM = b"content-type: text/event-stream; charset=utf-8\r\n" + _NO_STORE
_log = logging.getLogger("smart_llm.gateway")


class Endpoint:
    """The address of one dialect (a module with `read`, `written`, `streamed`, `denied`)."""

    def __init__(self, dialect: ModuleType, gateway: Gateway, doors: Doors, metrics: Metrics) -> None:
        self._dialect, self._gateway, self._doors, self._metrics = dialect, gateway, doors, metrics
        self._ids, self._numbers = secrets.token_hex(8), itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        route, began, reply = "", time.perf_counter(), scope[REPLY]
        try:
            allowed = self._doors.open_to(scope)
            body = await _body(scope, receive, self._gateway.config.max_body)
            asked = self._dialect.read(body)
            route = self._allowed(asked.route, allowed, scope)
            self._metrics.enter(MOST)
            try:
                given = await self._gateway.routes[route].answer(asked)
            finally:
                self._metrics.leave()
            await reply(200, *self._written(given, stream=asked.stream, usage=asked.usage))
            self._metrics.answered(route, time.perf_counter() - began)
        except Denied as denied:
            self._metrics.denied(route, denied.status)
            await _deny(reply, denied, self._dialect.denied(denied))
        except asyncio.CancelledError:  # the gateway stops and has waited long enough
            stopped = Denied(503, "The gateway is stopping; come again.", kind="api_error", retry_after=5.0)
            self._metrics.denied(route, 503)
            await _deny(reply, stopped, self._dialect.denied(stopped))
        except Exception as fault:
            self._metrics.denied(route, 500)
            _log.error("A fault of the gateway's own: %s at %s", type(fault).__name__, _places(fault))
            ours = Denied(500, "The gateway has a fault of its own; its log says where.", kind="api_error")
            await _deny(reply, ours, self._dialect.denied(ours))

    def _allowed(self, name: str, allowed: list[str], scope: Scope) -> str:
        """The route, where it is there and whoever asks may ask it."""
        if name not in allowed:
            if name in self._gateway.routes:
                self._doors.check(name, scope)
            near = meant(name, allowed) if len(name) <= LONGEST else ""  # it is compared with all, letter by letter
            raise spoken.unknown(f"{spoken.PREFIX}{name}", near)
        return name

    def _written(self, given: Given, *, stream: bool, usage: bool) -> tuple[list[bytes], bytes]:
        number, now = f"{self._ids}{next(self._numbers):08x}", int(time.time())
        if stream:
            data = self._dialect.streamed(given, number, now, usage=usage)
        else:
            data = self._dialect.written(given, number, now)
        return [_STREAM if stream else _JSON, _told(given)], data


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
    for name, value in scope["headers"]:
        if name in PLAIN and value.strip().lower() not in PLAIN[name]:
            raise Denied(415, f"Send the body as it is, not packed ({name.decode()}).")
        if name == b"content-length":
            length = value.lstrip(b"0") or b"0"
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
def _who(route: str, model: str) -> bytes:
    return f"x-smart-route: {route}\r\nx-smart-answered-by: {quote(model, safe='/:@?&=+.,_-')}\r\n".encode()


def _told(given: Given) -> bytes:
    """Headers that say who answered."""
    return b"%bx-smart-window: %d\r\nx-smart-request: %d\r\nx-smart-audited: %b\r\n" % (
        _who(given.route, given.answered_by),
        given.window,
        given.request,
        b"true" if given.audited else b"false",
    )


async def _deny(reply: Reply, denied: Denied, data: bytes) -> None:
    lines = [_JSON]
    if denied.retry_after is not None:
        lines.append(b"retry-after: %d\r\n" % max(1, round(denied.retry_after)))
    if denied.status == 413:
        lines.append(CLOSE)
    await reply(denied.status, lines, data)


def _places(fault: BaseException) -> str:
    """Where it happened, without a word of what was being worked on."""
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(fault.__traceback__)))
