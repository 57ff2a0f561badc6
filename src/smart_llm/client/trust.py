"""Whether a model's server keeps to what was asked: its limits, and one refused row not standing for all.

With a budget, a call leaves only where the most it can cost still fits. A server that ignores limits breaks that, so
the first reply that costs more than its call could is recorded and stops the run, and calls that are out are given up,
for they may cost as much. So that not sixty of them find it out at once, the first call to a model goes ahead alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from types import TracebackType
from typing import Self

from smart_llm.client.limit import Limit
from smart_llm.errors import Refused
from smart_llm.types import Answer

ROUNDING = 1 + 1e-9
"""A call has cost more than it can where it has cost more than its bound by this factor."""
LEAD = 5.0
"""Seconds that calls with a budget wait for the first one to a model."""
REFUSALS = 20
"""Requests refused in a row, in words that are not known, until the run is stopped."""


class Trust:
    """Of one model. broken: why no budget can hold there. out: the time limits of calls that are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.broken: Refused | None = None
        self.out: set[Limited] = set()
        self._first: asyncio.Event | None = None
        self._refusals = 0

    def led(self, budgeted: bool) -> AbstractAsyncContextManager[None]:
        """With a budget, the first call to a model goes ahead; all others wait until it is over, for a few seconds."""
        return self._lead() if budgeted and not (self._first and self._first.is_set()) else nullcontext()

    @asynccontextmanager
    async def _lead(self) -> AsyncIterator[None]:
        if self._first is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._first.wait(), LEAD)
            self._first.set()
            yield
            return
        self._first = asyncio.Event()
        try:
            yield
        finally:
            self._first.set()

    def limited(self, seconds: float) -> Limited:
        """The time limit of a call, which ends at once where limits turn out not to be kept."""
        return Limited(self, seconds)

    def broke(self, bound: float, answer: Answer) -> Refused | None:
        """What stops the run where a reply has cost more than its call could."""
        if answer.cost <= bound * ROUNDING:
            return None
        usage = answer.usage
        given_up = f"; {len(self.out)} calls that were out are given up, and may cost more" if self.out else ""
        self.broken = self.broken or Refused(
            f"{self._name} does not keep to limits, so that no --budget can hold: one reply cost ${answer.cost:.6g} "
            f"where ${bound:.6g} was the most ({usage.input_tokens} tokens in, {usage.output_tokens} out). What was "
            f"bought is kept{given_up}. Mend the server, give more room (?thinking=2000), or run without --budget."
        )
        for limit in self.out:
            limit.end()
        return self.broken

    def check(self) -> None:
        """Raises what stops the run where limits are not kept."""
        if self.broken is not None:
            raise self.broken

    def refused(self, error: Refused, *, others: bool) -> None:
        """A request was refused. Raises what stops the run: a refusal that is no row's own, or many in a row in words
        that do not say whether it is the request alone. others: whether the model has answered any."""
        if error.row_only:
            return
        if not (error.maybe_row or (error.doubtful and others)):
            raise error
        self._refusals += 1
        if self._refusals >= REFUSALS:
            raise Refused(
                f"{self._name} has refused {self._refusals} requests in a row; the last: {error} What was bought is "
                "kept: mend the prompt, the model or its server, and run again to go on."
            )

    def answered(self) -> None:
        """A request was answered."""
        self._refusals = 0


class Limited(Limit):
    """The time limit of one call, among those of all that are out."""

    __slots__ = ("_trust",)

    def __init__(self, trust: Trust, seconds: float) -> None:
        super().__init__(seconds)
        self._trust = trust

    def __enter__(self) -> Self:
        self._trust.out.add(self)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._trust.out.discard(self)
        super().__exit__(kind, error, trace)
        if kind is None and self._trust.broken is not None:  # it came in the moment of the one that broke its bound
            raise TimeoutError
