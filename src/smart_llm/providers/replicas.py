"""One model behind several addresses: a server per node, and the load spread over them.

A call goes where the fewest are out. A server that cannot be reached, fails, is silent or asks to slow down is left
alone for a while, longer each time, and whatever was certainly not paid for is asked at once elsewhere; what may have
been paid is the client's to decide. When all of them are left alone, the one that may be asked first is asked, so that
the client learns what is wrong. What a server says of its rate limits is its own, not the limit of all: it is not
passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from smart_llm.errors import Retryable
from smart_llm.providers.base import Provider, capped
from smart_llm.types import Answer, Request

FIRST_REST, LONGEST_REST = 0.5, 30.0
"""Seconds a server is left alone: doubles from the first to the longest while it keeps failing."""


@dataclass(eq=False)
class Server:
    """One of them. out: calls in flight there; last: number of the last call sent there; until: left alone until then,
    in the event loop's time; failures: in a row."""

    provider: Provider
    out: int = 0
    last: int = 0
    until: float = 0.0
    failures: int = 0

    def failed(self, retry_after: float | None = None) -> None:
        """Leave it alone for as long as it asks, or for a while. Calls that were out together count as one failure."""
        now = _now()
        if now < self.until:
            return
        rest = min(LONGEST_REST, FIRST_REST * 2.0**self.failures)
        self.failures = min(self.failures + 1, 16)
        named = capped(retry_after)
        self.until = now + (rest if named is None else named)


class Spread:
    """A provider made of providers that serve the same models."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._servers = [Server(provider) for provider in providers]
        self._calls = 0

    async def complete(self, request: Request) -> Answer:
        """One attempt: by one server, or by others too as long as none of them was paid."""
        left = list(self._servers)
        while True:
            server = self._choose(left)
            left.remove(server)
            try:
                return await self._asked(server, request)
            except Retryable as error:
                if error.paid or all(each.until > _now() for each in left):
                    raise

    async def close(self) -> None:
        """Close all of them."""
        for server in self._servers:
            await server.provider.close()

    async def _asked(self, server: Server, request: Request) -> Answer:
        self._calls += 1
        server.out, server.last = server.out + 1, self._calls
        try:
            answer = await server.provider.complete(request)
        except Retryable as error:
            server.failed(error.retry_after)
            raise
        except asyncio.CancelledError:  # it may have been silent for too long
            server.failed()
            raise
        finally:
            server.out -= 1
        server.failures, server.until = 0, 0.0
        return answer

    def _choose(self, left: Sequence[Server]) -> Server:
        """Where the fewest calls are out, in turn; of those left alone, the one that may be asked first."""
        now = _now()
        return min(left, key=lambda each: (max(0.0, each.until - now), each.out, each.last))


def _now() -> float:
    return asyncio.get_running_loop().time()
