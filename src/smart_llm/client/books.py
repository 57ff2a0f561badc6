"""What the ledger is told of a client's calls besides their answers: what they may cost before they leave, and what
became of those without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from smart_llm.client.budget import Budget, Send
from smart_llm.client.journal import Journal
from smart_llm.client.lane import Lane

NOTE = "in flight"
"""Stands for the key in the notes that announce many calls at once."""


class Books:
    """Of one client. With a budget every call is announced by a number of its own, else many together by a note."""

    def __init__(self, ledger: Journal, run: str, budget: Budget) -> None:
        self._ledger, self._run = ledger, run
        self.budget = budget

    async def make_room(self, lane: Lane, bound: float) -> None:
        """Before a call waits for its turn: where no number will be written for it, a note covers what it may cost."""
        if self.budget.limit is None and not lane.announced.has_room(bound):
            await lane.announced.make_room(bound, self._note_of(lane))

    async def announce(self, lane: Lane, key: str, bound: float) -> int | None:
        """What a call may cost is durable when this returns; its number, if it has one."""
        if self.budget.limit is not None:
            return await self._ledger.send(key, lane.model.name, bound, run=self._run)
        lane.announced.take(bound)
        if not lane.announced.covers:
            await lane.announced.cover(self._note_of(lane))
        return None

    def ended(self, lane: Lane, bound: float, cost: float) -> None:
        """A call that was announced is over; it cost, or may have cost, so much."""
        if self.budget.limit is None:
            lane.announced.give(bound)
        self.budget.settle(bound, cost)

    def record(self, key: str, model: str, outcome: str, cost: float, number: int | None) -> None:
        """Queue an attempt without an answer, if it cost money or was announced; durable before any later answer."""
        if cost or number is not None:
            self._ledger.attempt(key, model, outcome, cost, run=self._run, settles=number)

    async def gave_up(self, key: str, model: str) -> None:
        """A row has an error; everything its attempts may have cost is durable when this returns."""
        await self._ledger.attempt(key, model, "gave up", 0.0, run=self._run)

    async def settle(self, lanes: Iterable[Lane]) -> None:
        """Nothing is in flight any more: what was announced is taken back."""
        notes = [(lane.model.name, note) for lane in lanes for note in lane.announced.settled()]
        back = [self._ledger.attempt(NOTE, name, "back", 0.0, run=self._run, settles=note) for name, note in notes]
        await asyncio.gather(*back)

    def _note_of(self, lane: Lane) -> Send:
        return lambda more: self._ledger.send(NOTE, lane.model.name, more, run=self._run)
