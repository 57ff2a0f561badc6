"""Many rows at once, a bounded number in flight, and nothing in flight lost when one of them must stop the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, cast

from smart_llm.errors import Interrupted

Item = TypeVar("Item")


class Stop:
    """Set by a signal: no new row is started, what is in flight is finished."""

    def __init__(self) -> None:
        self.requested = False
        self._then: list[Callable[[], None]] = []

    def request(self) -> None:
        """Ask for a clean stop."""
        self.requested = True
        for call in self._then:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Have this called, in the event loop, when a stop is asked for."""
        self._then.append(call)

    def check(self) -> None:
        """Raises `Interrupted` once a stop was asked for."""
        if self.requested:
            raise Interrupted("Stopped. What was bought is kept: run the same command again to go on.")


async def all_of(work: Iterable[Awaitable[Item]]) -> list[Item]:
    """The results of all, once all have ended: no call is left behind in flight when another one fails."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[Item]", results)


async def each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], *, workers: int, stop: Stop) -> None:
    """Run `work` on every item, `workers` at a time, drawing items lazily.

    The first exception stops new items; the rows in flight are finished (they are paid for), then it is raised.
    """
    source = iter(items)
    failure: list[BaseException] = []

    async def worker() -> None:
        try:
            for item in source:
                if failure:
                    return
                stop.check()
                await work(item)
        except Exception as error:
            failure.append(error)

    await asyncio.gather(*(worker() for _ in range(workers)))
    if failure:
        raise failure[0]
