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
from itertools import count

from smart_llm.client.batch.desk import Desk, Parcel
from smart_llm.client.batch.intake import NOT_RUN, Intake
from smart_llm.client.batch.office import Halted, Office
from smart_llm.client.batch.patience import Patience
from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.events import Said
from smart_llm.ledger.batches import BatchRecord
from smart_llm.providers.batch import Found, Gone, Look, Result
from smart_llm.text import numbers

CHUNK = 512
"""Results written to the ledger at a time."""
REREADS = 5
"""Times the results are read again where some are missing."""


class Flight:
    """A batch on its way. adopted: an earlier session sent it; mine: with this run's money."""

    def __init__(self, office: Office, desk: Desk, *, adopted: bool = False, mine: bool = True) -> None:
        self._office, self._desk, self._api, self._book = office, desk, desk.api, office.book
        self._adopted, self._mine = adopted, mine
        self._patience, self._intake = Patience(office), Intake(office, desk)
        self._validating, self._turned_away = True, False

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
            self._intake.lose(record, self._intake.unanswered(record))
        await self._close(record, look.status)
        if self._intake.fatal is None and self._intake.nobody_answered():
            await self._did_not_run(record, self._intake.answers_nobody())
            return
        self._desk.failures = 0
        again = [item for item in self._intake.unanswered(record) if not await self._intake.given_up(item)]
        if self._intake.fatal is not None:
            raise self._intake.fatal
        self._intake.give_held()
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
            self._intake.lose(record, [self._office.items.get(key) for key in missing])

    async def _read(self, record: BatchRecord, look: Look, seen: set[int]) -> None:
        """One reading of the results, written down piece by piece."""
        fresh: list[Result] = []

        async def write() -> None:
            await asyncio.gather(*(self._intake.take(record, result) for result in fresh))
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

    async def _failed(self, record: BatchRecord, look: Look) -> None:
        """It did not run: too many tokens in the queue, requests that cannot be sent, or something else."""
        await self._close(record, "queue full" if look.queue_full else "failed")
        if look.queue_full:
            self._wait_for_room(record)
            return
        blamed = {record.keys[place] for place in look.lines if place < len(record.keys)}
        for item in self._intake.unanswered(record):
            if item.key in blamed:
                await self._intake.give_up(item, look.error)
        self._intake.give_held()
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
        for item in self._intake.unanswered(record):
            self._office.requeue(self._desk, item)

    async def _close(self, record: BatchRecord, outcome: str) -> None:
        """Nothing more is to come of it."""
        await self._book.settled(record, outcome, self._intake.lost)
        self._office.leave(record)
        if self._adopted and self._mine:
            self._office.budget.settle(record.bound, self._intake.cost + self._intake.lost)
        self._intake.give_held()

    def _validated(self) -> None:
        if self._validating:
            self._validating = False
            self._desk.validating -= 1
            self._office.send(self._desk)

    def _end(self) -> None:
        self._intake.give_held()
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
        self._office.tell(Said(f"Batch of {numbers.count(len(record.keys), 'request')} to {self._desk.model}: {what}."))
