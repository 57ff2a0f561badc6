"""One batch from its first note in the ledger to its settlement.

    written down ─► uploaded ─► submitting ─► submitted ─► followed ─► every result durable ─► settled
                                    │
                                    └─ no clear reply: looked for at the provider, fenced off, looked for again

The order of notes and calls is what makes a crash harmless; `ledger.batches` says what each note means. Where the reply
to a submission is lost, the batch is searched for as long as `search` says before it counts as not taken: requests are
then free to go into another batch, under another id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from smart_llm.client.batch.desk import Desk, Item, Parcel
from smart_llm.client.batch.office import Halted, Office
from smart_llm.client.batch.patience import Patience
from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.events import Said
from smart_llm.ledger.batches import BatchRecord
from smart_llm.providers.batch import Found, Gone, Look, Result
from smart_llm.types import Answer

CHUNK = 512
"""Results written to the ledger at a time."""
HOPELESS = 10
"""Requests that finally fail before any was answered, until the run is stopped."""
NOT_RUN = 3
"""Batches in a row that did not run, until the run is stopped."""
REREADS = 5
"""Times the results are read again where some are missing."""


class Flight:
    """A batch on its way. adopted: an earlier session sent it; mine: with this run's money."""

    def __init__(self, office: Office, desk: Desk, *, adopted: bool = False, mine: bool = True) -> None:
        self._office, self._desk, self._api, self._book = office, desk, desk.api, office.book
        self._adopted, self._mine = adopted, mine
        self._patience = Patience(office)
        self._validating, self._turned_away = True, False
        self._cost = self._lost = 0.0
        self._answered, self._failed_now = 0, list[Item]()
        self._last: Retryable | None = None
        self._fatal: Refused | None = None
        self._held: tuple[Item, Answer] | None = None  # one row waits until all is settled, and so does the run

    async def send(self, parcel: Parcel) -> None:
        """A new batch."""
        self._desk.flights += 1
        try:
            keys, url = parcel.keys, self._api.url
            record = await self._book.begin(
                parcel.batch_id, self._desk.model, url, keys, bound=parcel.bound, run=self._office.run
            )
            taken = await self._submit(record, parcel.lines)
            if taken is None:
                await self._not_taken(record)
                return
            self._say(taken, f"submitted to {self._api.host}")
            parcel = Parcel(parcel.batch_id, (), ())  # the lines are large
            await self._settle(taken)
        finally:
            self._end()

    async def take_up(self, record: BatchRecord) -> None:
        """A batch an earlier session may have submitted."""
        self._desk.flights += 1
        try:
            taken: BatchRecord | None = record
            if record.remote is None:
                remote = await self._search(record)
                taken = None if remote is None else await self._book.submitted(record, remote)
            if taken is None:
                await self._not_taken(record)
            else:
                await self._settle(taken)
        finally:
            self._end()

    # ------------------------------------------------------------------ submission

    async def _submit(self, record: BatchRecord, lines: Sequence[bytes]) -> BatchRecord | None:
        """The batch as the provider knows it, or None where it is certain that it was not taken."""
        file = await self._patience.call(lambda: self._api.upload(record.batch_id, lines))
        if file is not None:
            record = await self._book.uploaded(record, file)
        started = time.monotonic()
        for attempt in count():
            self._stop_if_halted()
            record = await self._book.submitting(record)
            try:
                remote: str | None = await self._api.submit(record.batch_id, file, lines)
            except Retryable as error:
                if not error.paid:  # it did not arrive, or was turned away
                    await self._patience.pause(attempt, error, since=started)
                    continue
                remote = await self._search(record)
            except Refused:
                await self._close(record, "refused")
                raise
            return None if remote is None else await self._book.submitted(record, remote)
        raise AssertionError

    async def _search(self, record: BatchRecord) -> str | None:
        """The provider's id of a batch that may have been submitted; None when it is certain that it was not."""
        since, total, fenced = float(record.events["submitting"]["at"]), len(record.keys), False

        async def find() -> Found:
            return await self._api.find(
                record.batch_id, since=since, total=total, known=frozenset(self._book.remotes())
            )

        while True:
            found = await self._patience.call(find)
            if found.remote is not None:
                return found.remote
            if not found.undecided and time.time() - since >= self._office.options.search:
                if fenced or not await self._patience.call(lambda: self._api.fence(record.file)):
                    return None
                fenced = True  # and look once more, for it may have come just before
                continue
            await self._office.sleep(self._office.options.poll)

    async def _not_taken(self, record: BatchRecord) -> None:
        """It never ran: its requests go into the next batch. That a session was cut off before it sent one says nothing
        of the provider."""
        await self._close(record, "not taken")
        if self._adopted:
            self._requeue(record)
        else:
            await self._did_not_run(record, Refused(f"{self._api.host} took none of {NOT_RUN} batches in a row."))

    # ------------------------------------------------------------------ following

    async def _settle(self, record: BatchRecord) -> None:
        """Wait for its end, and make everything it brought durable; what has no answer is asked again."""
        try:
            look = await self._follow(record)
            if look.state == "failed":
                await self._failed(record, look)
                return
            await self._collect(record, look)
        except Gone:
            look = Look(record.remote or "", "ended", "gone")
            self._lose(record, self._unanswered(record))
        await self._close(record, look.status)
        if self._fatal is None and self._nobody_answered():
            await self._did_not_run(record, self._answers_nobody())
            return
        self._desk.failures = 0
        again = [item for item in self._unanswered(record) if not await self._given_up(item)]
        if self._fatal is not None:
            raise self._fatal
        self._give_held()
        self._say(record, f"{look.status}, {len(again):,} of them to be asked again" if again else look.status)
        for item in again:
            self._office.requeue(self._desk, item)

    async def _follow(self, record: BatchRecord) -> Look:
        assert record.remote is not None
        remote, delay = record.remote, self._office.options.poll
        while True:
            self._stop_if_halted()
            look = await self._patience.call(lambda: self._api.look(remote))
            if look.state != "running":
                return look
            if look.status != "validating":
                self._validated()
            await self._office.sleep(delay)
            delay = min(self._office.options.longest, delay * 1.5)

    async def _collect(self, record: BatchRecord, look: Look) -> None:
        """Read the results until all are there. What ran is paid, whether or not its result can be read."""
        seen: set[int] = set()
        started, incomplete = time.monotonic(), 0
        for attempt in count():
            try:
                await self._read(record, look, seen)
            except Retryable as error:
                await self._patience.pause(attempt, error, since=started)
                continue
            incomplete += 1
            if len(seen) >= look.done or incomplete == REREADS:
                break
            await self._patience.pause(attempt)
        if len(seen) < look.done:
            missing = [key for place, key in enumerate(record.keys) if place not in seen]
            self._lose(record, [self._office.items.get(key) for key in missing])

    async def _read(self, record: BatchRecord, look: Look, seen: set[int]) -> None:
        """One reading of the results, written down piece by piece."""
        fresh: list[Result] = []

        async def write() -> None:
            await asyncio.gather(*(self._take(record, result) for result in fresh))
            seen.update(result.place for result in fresh)
            fresh.clear()

        try:
            async for result in self._api.results(look, record.batch_id):
                if result.place not in seen and result.place < len(record.keys):
                    fresh.append(result)
                if len(fresh) >= CHUNK:
                    await write()
        finally:
            await write()

    async def _take(self, record: BatchRecord, result: Result) -> None:
        """One result: an answer is durable before it is given; an error is sorted by what may help."""
        key = record.keys[result.place]
        item, outcome = self._office.items.get(key), result.outcome
        if isinstance(outcome, Answer):
            await self._answer(record, key, item, outcome)
        elif isinstance(outcome, Retryable):
            if outcome.paid:
                self._lose(record, [item])
            self._last = outcome
            if item is not None:
                item.tries += 1
                self._failed_now.append(item)
        elif item is not None and isinstance(outcome, Refused) and (outcome.row_only or outcome.maybe_row):
            await self._give_up(item, outcome)
        elif isinstance(outcome, Refused):
            self._fatal = outcome

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
                    self._fatal = lane.trust.broke(item.bound, answer) or self._fatal
            else:
                standing = answer = replace(answer, cost=lane.model.rate.cost(answer.usage))
                await self._book.put_unasked(record, key, answer)
            self._cost += answer.cost
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
        self._cost += answer.cost
        self._release(item, answer.cost)
        self._fatal = Refused(self._desk.lane.changed(answer))

    def _answers_nobody(self) -> Refused:
        return Refused(
            f"{self._api.host} answered no request of {NOT_RUN} batches in a row: {self._last} What was bought is "
            "kept: run again later to go on."
        )

    def _nobody_answered(self) -> bool:
        """Whether every request of the batch failed, most of them for the first time: that says something about the
        provider and nothing about them, so it does not count against them."""
        fresh = sum(item.tries == 1 for item in self._failed_now)
        if self._answered or fresh < 2 or 2 * fresh < len(self._failed_now):
            return False
        for item in self._failed_now:
            item.tries -= 1
        return True

    async def _failed(self, record: BatchRecord, look: Look) -> None:
        """It did not run: too many tokens in the queue, requests that cannot be sent, or something else."""
        await self._close(record, "queue full" if look.queue_full else "failed")
        if look.queue_full:
            self._wait_for_room(record)
            return
        blamed = {record.keys[place] for place in look.lines if place < len(record.keys)}
        for item in self._unanswered(record):
            if item.key in blamed:
                await self._give_up(item, look.error)
        self._give_held()
        if blamed:
            self._desk.failures = 0
        await self._did_not_run(record, look.error)

    def _wait_for_room(self, record: BatchRecord) -> None:
        """Until a batch of ours has ended, or, where there is none, for a while."""
        self._turned_away, alone = True, self._desk.flights == 1
        self._desk.turned_away(len(record.keys), alone=alone)
        self._say(record, f"turned away, the queue of tokens at {self._api.host} is full; it goes out again later")
        self._requeue(record)
        if alone:
            self._office.unblock_later(self._desk, self._office.options.longest)

    async def _did_not_run(self, record: BatchRecord, error: ProviderError | None) -> None:
        self._desk.failures += 1
        if self._desk.failures >= NOT_RUN and error is not None:
            raise error
        self._requeue(record)

    def _requeue(self, record: BatchRecord) -> None:
        for item in self._unanswered(record):
            self._office.requeue(self._desk, item)

    # ------------------------------------------------------------------ money and ends

    def _lose(self, record: BatchRecord, items: Sequence[Item | None]) -> None:
        """Money that may have been paid for nothing; of requests nobody asked for only the batch's bound is known."""
        known = [self._desk.lane.bound(item.request, 0.0) for item in items if item is not None]
        self._lost = min(record.bound, self._lost + (sum(known) if len(known) == len(items) else record.bound))
        for item in items:
            if item is not None:
                self._release(item, item.bound)

    def _release(self, item: Item, cost: float) -> None:
        """Settle what was set aside for one request (of an adopted batch it was set aside as a whole)."""
        if item.reserved:
            self._office.budget.settle(item.bound, cost)
            item.reserved = False

    def _give_held(self) -> None:
        if self._held is not None:
            self._held[0].give(self._held[1])
            self._held = None

    async def _close(self, record: BatchRecord, outcome: str) -> None:
        """Nothing more is to come of it."""
        await self._book.settled(record, outcome, self._lost)
        self._office.leave(record)
        if self._adopted and self._mine:
            self._office.budget.settle(record.bound, self._cost + self._lost)
        self._give_held()

    async def _given_up(self, item: Item) -> bool:
        """Whether a request has failed often enough."""
        if item.tries < self._office.options.tries:
            return False
        await self._give_up(item, Retryable(f"{self._desk.model} failed {item.tries} times by batch."))
        return True

    async def _give_up(self, item: Item, error: ProviderError | None) -> None:
        """The row's error. Where nothing was ever answered, many of them stop the run."""
        self._desk.hopeless += 1
        unknown = isinstance(error, Refused) and error.maybe_row
        if not self._desk.answered and self._desk.hopeless >= HOPELESS and (unknown or isinstance(error, Retryable)):
            self._fatal = Refused(f"{self._desk.model}: the first {self._desk.hopeless} requests all failed: {error}")
        await self._office.ledger.attempt(item.key, self._desk.model, "gave up", 0.0, run=self._office.run)
        self._release(item, 0.0)
        self._give(item, Answer(None, error=str(error)))

    def _give(self, item: Item, answer: Answer) -> None:
        """An answer that stands; the last one is given when the batch is settled."""
        self._office.items.pop(item.key, None)
        held, self._held = self._held, (item, answer)
        if held is not None:
            held[0].give(held[1])

    def _unanswered(self, record: BatchRecord) -> list[Item]:
        return [self._office.items[key] for key in record.keys if key in self._office.items]

    def _validated(self) -> None:
        if self._validating:
            self._validating = False
            self._desk.validating -= 1
            self._office.send(self._desk)

    def _end(self) -> None:
        self._give_held()
        self._desk.flights -= 1
        if self._validating:
            self._validating = False
            self._desk.validating -= 1
        if not self._turned_away:
            self._office.unblock(self._desk)

    def _stop_if_halted(self) -> None:
        if self._office.halted.is_set():
            raise Halted

    def _say(self, record: BatchRecord, what: str) -> None:
        self._office.tell(Said(f"Batch of {len(record.keys):,} requests to {self._desk.model}: {what}."))
