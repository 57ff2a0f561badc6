"""Who may ask what. Tokens are compared in constant time; without tokens, only this machine may ask.

A page in a browser on this machine is not this machine: a request that names another origin, or another host than this
machine's, is turned away, and so is one that a proxy passes on from elsewhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from smart_llm.gateway.config import RouteConfig
from smart_llm.gateway.spoken import Denied

LOCAL = ("localhost", "127.0.0.1", "::1")
_PASSED_ON = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"via",
        b"cf-connecting-ip",
    )
)
"""Headers by which proxies say that they pass a request on."""


class Doors:
    """Of one gateway."""

    def __init__(self, routes: Mapping[str, RouteConfig]) -> None:
        self._tokens = {name: [_digest(token) for token in route.tokens] for name, route in routes.items()}

    def may(self, route: str, scope: Mapping[str, Any]) -> bool:
        """Whether this request may ask this route."""
        tokens = self._tokens[route]
        return _has(tokens, scope) if tokens else is_local(scope)

    def check(self, route: str, scope: Mapping[str, Any]) -> None:
        """`Denied` where it may not."""
        if self.may(route, scope):
            return
        if self._tokens[route]:
            raise Denied(
                401, "No token that is valid here; send Authorization: Bearer TOKEN.", kind="authentication_error"
            )
        raise Denied(
            403, "Without tokens (tokens_env) this route answers to this machine alone.", kind="permission_error"
        )

    def routes(self, scope: Mapping[str, Any]) -> list[str]:
        """The routes that this request may ask."""
        return [name for name in self._tokens if self.may(name, scope)]

    def open_to(self, scope: Mapping[str, Any]) -> list[str]:
        """The same; `Denied` where there are none, before a byte of the body is read."""
        found = self.routes(scope)
        if not found:
            self.check(next(iter(self._tokens)), scope)
        return found

    def may_look(self, scope: Mapping[str, Any]) -> bool:
        """Whether this request may see the page and the metrics: from this machine, or with the token of any route."""
        return is_local(scope) or any(_has(tokens, scope) for tokens in self._tokens.values() if tokens)


def is_local(scope: Mapping[str, Any]) -> bool:
    """Whether a request comes from this machine, and from no page of elsewhere. Of a header that was sent twice, what
    suits best proves nothing."""
    client, hosts = scope.get("client"), 0
    if client is None or not _loopback(client[0]):
        return False
    for name, value in scope["headers"]:
        if name in _PASSED_ON or (name == b"origin" and _host(value) not in LOCAL):
            return False
        if name == b"host":
            hosts += 1 if _host(b"//" + value) in LOCAL else 2
    return hosts == 1


@lru_cache(maxsize=256)
def _host(url: bytes) -> str | None:
    try:
        return urlsplit(url.decode("latin-1")).hostname
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _has(tokens: list[bytes], scope: Mapping[str, Any]) -> bool:
    """Whether a token was sent: all are compared, each in constant time."""
    sent = _digest(_sent(scope["headers"]))
    return sum(hmac.compare_digest(sent, token) for token in tokens) > 0


def _sent(headers: Any) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:].strip())
        if name == b"x-api-key":
            return bytes(value.strip())
    return b""


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()
