"""What everybody who works on batches shares: the money, the ledger, the requests that wait, and whether to stop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from smart_llm.client.batch.desk import Desk, Item
from smart_llm.client.batch.options import BatchOptions
from smart_llm.client.budget import Budget
from smart_llm.events import Listener
from smart_llm.ledger import Ledger
from smart_llm.ledger.batches import BatchBook, BatchRecord


class Halted(Exception):
    """The run stops: leave everything as it is written down."""


class Office(ABC):
    """run: whose money it is. items: requests without an answer yet, by key. halted: set when the run stops."""

    def __init__(self, ledger: Ledger, budget: Budget, *, run: str, options: BatchOptions, tell: Listener) -> None:
        self.budget, self.options, self.ledger, self.run, self.tell = budget, options, ledger, run, tell
        self.book = BatchBook(ledger)
        self.items: dict[str, Item] = {}
        self.halted = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait; raises `Halted` when the run stops meanwhile."""
        if self.halted.is_set():
            raise Halted
        try:
            await asyncio.wait_for(self.halted.wait(), seconds)
        except TimeoutError:
            return
        raise Halted

    @abstractmethod
    def requeue(self, desk: Desk, item: Item) -> None:
        """Let a request wait for the next batch."""

    @abstractmethod
    def send(self, desk: Desk) -> None:
        """Let what waits at this desk go out, as far as it may."""

    @abstractmethod
    def unblock(self, desk: Desk) -> None:
        """Room may have come up in the provider's queue."""

    @abstractmethod
    def unblock_later(self, desk: Desk, seconds: float) -> None:
        """Nothing of ours is in the provider's queue: try again after a while."""

    @abstractmethod
    def leave(self, record: BatchRecord) -> None:
        """A batch has settled: its requests are not under way any more."""
