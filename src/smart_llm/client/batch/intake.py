"""What comes back of one batch.

Every answer is durable before it is given, every failure is sorted by what may help, and the money that was set aside
is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smart_llm.client.batch.desk import Desk, Item
from smart_llm.client.batch.office import Office
from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.ledger.batches import BatchRecord
from smart_llm.providers.batch import Result
from smart_llm.types import Answer

HOPELESS = 10
"""Requests that finally fail before any was answered, until the run is stopped."""
NOT_RUN = 3
"""Batches in a row that did not run, until the run is stopped."""


class Intake:
    """Takes the results of a batch. cost: USD paid for its answers. lost: USD that may have been paid for nothing.
    fatal: what stops the run once all results are in."""

    def __init__(self, office: Office, desk: Desk) -> None:
        self._office, self._desk = office, desk
        self.cost = self.lost = 0.0
        self.fatal: Refused | None = None
        self._answered, self._failed_now = 0, list[Item]()
        self._last: Retryable | None = None
        self._held: tuple[Item, Answer] | None = None  # one row waits until all is settled, and so does the run

    async def take(self, record: BatchRecord, result: Result) -> None:
        """One result: an answer is durable before it is given; an error is sorted by what may help."""
        key = record.keys[result.place]
        item, outcome = self._office.items.get(key), result.outcome
        if isinstance(outcome, Answer):
            await self._answer(record, key, item, outcome)
        elif isinstance(outcome, Retryable):
            if outcome.paid:
                self.lose(record, [item])
            self._last = outcome
            if item is not None:
                item.tries += 1
                self._failed_now.append(item)
        elif item is not None and isinstance(outcome, Refused) and (outcome.row_only or outcome.maybe_row):
            await self.give_up(item, outcome)
        elif isinstance(outcome, Refused):
            self.fatal = outcome

    def lose(self, record: BatchRecord, items: Sequence[Item | None]) -> None:
        """Money that may have been paid for nothing; of requests nobody asked for only the batch's bound is known."""
        known = [self._desk.lane.bound(item.request, 0.0) for item in items if item is not None]
        self.lost = min(record.bound, self.lost + (sum(known) if len(known) == len(items) else record.bound))
        for item in items:
            if item is not None:
                self._release(item, item.bound)

    def nobody_answered(self) -> bool:
        """Whether every request of the batch failed, most of them for the first time: that says something about the
        provider and nothing about them, so it does not count against them."""
        fresh = sum(item.tries == 1 for item in self._failed_now)
        if self._answered or fresh < 2 or 2 * fresh < len(self._failed_now):
            return False
        for item in self._failed_now:
            item.tries -= 1
        return True

    def answers_nobody(self) -> Refused:
        """What stops the run where that happens again and again."""
        return Refused(
            f"{self._desk.api.host} answered no request of {NOT_RUN} batches in a row: {self._last} What was bought is "
            "kept: run again later to go on."
        )

    async def given_up(self, item: Item) -> bool:
        """Whether a request has failed often enough."""
        if item.tries < self._office.options.tries:
            return False
        await self.give_up(item, Retryable(f"{self._desk.model} failed {item.tries} times by batch."))
        return True

    async def give_up(self, item: Item, error: ProviderError | None) -> None:
        """The row's error. Where nothing was ever answered, many of them stop the run."""
        self._desk.hopeless += 1
        unknown = isinstance(error, Refused) and error.maybe_row
        if not self._desk.answered and self._desk.hopeless >= HOPELESS and (unknown or isinstance(error, Retryable)):
            self.fatal = Refused(f"{self._desk.model}: the first {self._desk.hopeless} requests all failed: {error}")
        await self._office.ledger.attempt(item.key, self._desk.model, "gave up", 0.0, run=self._office.run)
        self._release(item, 0.0)
        self._give(item, Answer(None, error=str(error)))

    def give_held(self) -> None:
        """Give the answer that was kept back until all is settled."""
        if self._held is not None:
            self._held[0].give(self._held[1])
            self._held = None

    def unanswered(self, record: BatchRecord) -> list[Item]:
        """The requests of the batch that somebody still waits for."""
        return [self._office.items[key] for key in record.keys if key in self._office.items]

    async def _answer(self, record: BatchRecord, key: str, item: Item | None, answer: Answer) -> None:
        ledger, lane = self._office.ledger, self._desk.lane
        standing = ledger.get(key)  # read before, by a session that did not come to its end
        if standing is None:
            if item is not None:
                standing = answer = lane.priced(item.request, answer)
                if lane.unexpected(answer):
                    self._refuse(item, answer)
                    return
                standing = await ledger.put(key, item.request, answer, run=record.run)
                if self._office.budget.limit is not None and item.reserved:
                    self.fatal = lane.trust.broke(item.bound, answer) or self.fatal
                    self._office.budget.beyond = lane.trust.broken
            else:
                standing = answer = replace(answer, cost=lane.model.rate.cost(answer.usage))
                await self._office.book.put_unasked(record, key, answer)
            self.cost += answer.cost
        self._answered += 1
        self._desk.answered += 1
        item = self._office.items.get(key)  # somebody may have asked for it meanwhile
        if item is not None:
            self._release(item, standing.cost)
            self._give(item, standing)

    def _refuse(self, item: Item, answer: Answer) -> None:
        """Another snapshot than those the evidence is about has answered: that is paid, it is no answer, and the run
        stops."""
        self._office.ledger.attempt(item.key, self._desk.model, "another snapshot", answer.cost, run=self._office.run)
        self.cost += answer.cost
        self._release(item, answer.cost)
        self.fatal = Refused(self._desk.lane.changed(answer))

    def _give(self, item: Item, answer: Answer) -> None:
        """An answer that stands; the last one is given when the batch is settled."""
        self._office.items.pop(item.key, None)
        held, self._held = self._held, (item, answer)
        if held is not None:
            held[0].give(held[1])

    def _release(self, item: Item, cost: float) -> None:
        """Settle what was set aside for one request (of an adopted batch it was set aside as a whole)."""
        if item.reserved:
            self._office.budget.settle(item.bound, cost)
            item.reserved = False
