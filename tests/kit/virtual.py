"""An event loop whose clock jumps to the next thing that happens: minutes of waiting in milliseconds, always alike."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P, T = ParamSpec("P"), TypeVar("T")


class _Jumping(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits for ever")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code without real input and output."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return 1000.0 + self._jumping.now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def virtually(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """A test that runs on a loop of its own."""

    @wraps(work)
    def test(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(work(*args, **kwargs))

    return test


async def crowd(work: Callable[[], Coroutine[Any, Any, None]], workers: int, seconds: float) -> None:
    """Several at the same endless work, for so many seconds."""
    tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
