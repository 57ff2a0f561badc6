"""Many rows at once, a bounded number in flight, and nothing in flight lost when one of them must stop the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Generic, TypeVar, cast

from smart_llm.client.resting import TELL
from smart_llm.events import Stop

RESTING = 16
"""Rows to a worker that may wait out rate limits of their own while it goes on with others."""

Item = TypeVar("Item")


async def all_of(work: Iterable[Awaitable[Item]]) -> list[Item]:
    """The results of all, once all have ended: no call is left behind in flight when another one fails."""
    whole = list(work)
    if len(whole) == 1:
        return [await whole[0]]
    results = await asyncio.gather(*whole, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[Item]", results)


async def each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], *, workers: int, stop: Stop) -> None:
    """Run `work` on every item, `workers` at a time, drawing items lazily. Items that only wait out a rate limit of
    their own do not count, up to `RESTING` to a worker.

    The first exception stops new items; the rows in flight are finished (they are paid for), then it is raised.
    """
    await _Crew(iter(items), work, workers, stop).run()


class _Crew(Generic[Item]):
    """Workers, as many as are needed. rest: how many of them wait out a rate limit of their row."""

    def __init__(
        self, source: Iterator[Item], work: Callable[[Item], Awaitable[None]], workers: int, stop: Stop
    ) -> None:
        self._source, self._work, self._workers, self._stop = source, work, workers, stop
        self._tasks = set[asyncio.Task[None]]()
        self._rest = 0
        self._failure: BaseException | None = None
        self._over = False

    async def run(self) -> None:
        """Until all items are done."""
        token = TELL.set(self._told)
        try:
            for _ in range(self._workers):
                self._start()
            while self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise
        finally:
            TELL.reset(token)
        if self._failure is not None:
            raise self._failure

    def _start(self) -> None:
        task = asyncio.ensure_future(self._worker())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _told(self, more: int) -> None:
        self._rest += more
        if not self._over and len(self._tasks) < min(self._workers + self._rest, self._workers * (1 + RESTING)):
            self._start()

    async def _worker(self) -> None:
        try:
            for item in self._source:
                if self._over:
                    return
                self._stop.check()
                await self._work(item)
                if len(self._tasks) - self._rest > self._workers:
                    return  # those that rested have gone on
        except BaseException as error:  # whatever it is: rows left undone must not pass for done
            self._failure = self._failure or error
        self._over = True
