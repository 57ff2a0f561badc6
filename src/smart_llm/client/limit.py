"""A time limit like `asyncio.timeout`, at half its CPU time: every call needs one (figures in benchmarks/LOG.md)."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Limit:
    """Raises `TimeoutError` inside a block that still runs after the given seconds, or as soon as `end` is called."""

    __slots__ = ("_before", "_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds, self._over = seconds, False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        self._timer = task.get_loop().call_later(self._seconds, self.end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """The time is over."""
        if not self._over:
            self._over = True
            self._task.cancel()
