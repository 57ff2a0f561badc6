"""What a client needs of a ledger."""

from __future__ import annotations

import asyncio
from typing import Protocol

from smart_llm.types import Answer, Request


class Journal(Protocol):
    """`Ledger` itself, or a line to one that many share."""

    def get(self, key: str) -> Answer | None:
        """The answer recorded for a request, as far as is known here."""
        ...

    def number(self, key: str) -> int | None:
        """The number of that answer in the order in which they were recorded."""
        ...

    async def put(
        self, key: str, request: Request, answer: Answer, *, run: str = "", attempt: int | None = None
    ) -> Answer:
        """Record an answer; returns, once it is durable, the one that stands."""
        ...

    async def send(self, key: str, model: str, bound: float, *, run: str = "") -> int:
        """Announce a call; returns, once that is durable, the number to settle it by."""
        ...

    def attempt(
        self, key: str, model: str, outcome: str, cost: float, *, run: str = "", settles: int | None = None
    ) -> asyncio.Future[bool]:
        """Record a call that brought no answer, before any answer put later."""
        ...

    def spent(self, run_id: str) -> float:
        """USD this run has paid or may have paid."""
        ...
