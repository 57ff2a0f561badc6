"""Patience with a provider of batches: calls that do no harm when they are repeated, until they succeed or will not."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

from smart_llm.client.batch.office import Office
from smart_llm.errors import Refused, Retryable
from smart_llm.events import Said

T = TypeVar("T")
WORTH_SAYING = 3
"""Failures in a row until the user is told."""


class Patience:
    """As the options of this office say."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result, once there is one. `Refused`: there was none for too long."""
        started = time.monotonic()
        for attempt in count():
            try:
                return await call()
            except Retryable as error:
                await self.pause(attempt, error, since=started)
        raise AssertionError

    async def pause(self, attempt: int, error: Retryable | None = None, *, since: float | None = None) -> None:
        """Wait before trying again; `Refused` when that has gone on for too long. since: of `time.monotonic`."""
        options = self._office.options
        if since is not None and time.monotonic() - since > options.silence:
            raise Refused(f"{error} So for {options.silence:g} s. What was bought is kept: run again later to go on.")
        if attempt == WORTH_SAYING and error is not None:
            self._office.tell(Said(f"{error} Trying again."))
        delay = min(options.longest, options.poll * 2.0 ** min(attempt, 10))
        await self._office.sleep(max((error and error.retry_after) or 0.0, delay))
