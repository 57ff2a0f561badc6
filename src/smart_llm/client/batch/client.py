"""Asking by batch: the same `ask` as the ordinary client's, at half the price, answered when a whole batch has ended.

Rows wait; requests that wait are collected by model. When nobody has asked anything new for a moment, and no row is
still on its way through an ordinary model, everything that waits goes out. What comes back is durable in the ledger, at
the batch price, before anybody is told; what failed alone waits for the next batch, beside the rows that were deferred.
A batch's life is in `flight`.

Nothing is submitted twice: a batch is written down before it leaves (`ledger.batches`), and one that is found unsettled
is looked for at the provider before anything of it may be asked again. Its requests are known by their keys, so the
same command simply asks the same requests again and finds that a batch is on its way with them.

Stopping leaves batches running at the provider: they are paid for anyhow, and taken up by the same command later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Protocol

from smart_llm.client.batch.desk import Desk, Item
from smart_llm.client.batch.flight import Flight
from smart_llm.client.batch.office import Halted, Office
from smart_llm.client.batch.options import BatchOptions
from smart_llm.client.client import Client
from smart_llm.client.lane import Lane
from smart_llm.client.pace import Pace
from smart_llm.errors import BudgetExhausted, InputError, Interrupted, Refused, Retryable
from smart_llm.events import Listener, Said, Stop
from smart_llm.ledger import Ledger, request_key
from smart_llm.ledger.batches import BatchBook, BatchRecord
from smart_llm.providers.base import Provider
from smart_llm.providers.batch import BatchApi, batch_api, known
from smart_llm.text.numbers import count
from smart_llm.types import Answer, Model, Request

PROBES = 7
"""Times an address is asked whether it has batches."""
TICK = 0.2
"""Seconds between looks at whether to stop, or to send what waits."""


class BatchClient(Office):
    """Answers requests: by batch where the model has a desk, else through the ordinary client."""

    def __init__(
        self,
        ordinary: Client,
        ledger: Ledger,
        desks: Mapping[str, Desk],
        *,
        run: str,
        options: BatchOptions,
        check: Callable[[], None],
        tell: Listener,
    ) -> None:
        """check: raises what should stop the run, looked at all the time."""
        super().__init__(ledger, ordinary.budget, run=run, options=options, tell=tell)
        self._ordinary, self._desks, self._check = ordinary, desks, check
        self._underway: dict[str, BatchRecord] = {}  # by key: batches of earlier sessions
        self._left: list[BatchRecord] = []  # those among them nobody has asked for yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._outside, self._last = 0, 0.0
        self._watch: asyncio.Task[None] | None = None

    async def take_up(self) -> None:
        """Find the batches that earlier sessions left; call it once, before anything is asked."""
        for record in self.book.unsettled():
            desk = self._desks.get(record.model)
            if desk is None or desk.api.url != record.url:
                continue
            if not record.may_run:
                await self._drop(record, "never submitted")
                continue
            if len(self.ledger.get_many(record.keys)) == len(record.keys):
                await self._drop(record, "completed")
                continue
            if self._is_mine(record):
                self.budget.adopt(record.bound)
            self._underway.update(dict.fromkeys(record.keys, record))
            self._left.append(record)
            self.tell(Said(f"Taking up a batch of {count(len(record.keys), 'request')} to {record.model}."))
        self._watch = asyncio.create_task(self._watching())

    async def ask(self, request: Request) -> Answer:
        """The answer that stands for a request; see `Client.ask`."""
        desk = self._desks.get(request.model)
        if desk is None:
            return await self._ask_ordinary(request)
        key = request_key(request)
        answer = self.ledger.get(key)
        if answer is not None:
            return answer
        if self._error is not None:
            raise self._error
        item = self.items.get(key)
        if item is None:
            item = self.items[key] = Item(key, request, asyncio.get_running_loop().create_future())
            await self.enter(desk, item)
        return await asyncio.shield(item.done)

    async def held(self, request: Request) -> int | None:
        """The number of the recorded answer in the ledger's order, if there is one."""
        return self.ledger.number(request_key(request))

    def alive(self, model: str) -> bool:
        """Whether this model has reacted to anything yet; of one that is asked by batch the batches tell."""
        return model in self._desks or self._ordinary.alive(model)

    async def settle(self) -> None:
        """See `Client.settle`; a batch is announced and settled as a whole."""
        await self._ordinary.settle()

    def expect(self, snapshots: Mapping[str, frozenset[str]]) -> None:
        """See `Client.expect`."""
        self._ordinary.expect(snapshots)
        for name, desk in self._desks.items():
            desk.lane.expected = snapshots.get(name)

    async def close(self) -> None:
        """End what goes on here; what runs at the provider is left there. Close the ordinary client yourself."""
        self.halted.set()
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for desk in self._desks.values():
            await desk.api.close()

    # ------------------------------------------------------------------ what flights need

    def requeue(self, desk: Desk, item: Item) -> None:
        """Let a request wait for the next batch."""
        if item.reserved:
            desk.queue.append(item)
            self._last = asyncio.get_running_loop().time()
        else:
            self._spawn(self.enter(desk, item))

    def send(self, desk: Desk) -> None:
        """Let what waits at this desk go out, as far as it may."""
        if self._error is not None:
            return
        for parcel in desk.take():
            desk.validating += 1
            self._spawn(Flight(self, desk).send(parcel))

    def unblock(self, desk: Desk) -> None:
        """Room may have come up in the provider's queue."""
        desk.blocked = False
        self.send(desk)

    def unblock_later(self, desk: Desk, seconds: float) -> None:
        """Nothing of ours is in the provider's queue: try again after a while."""

        async def later() -> None:
            await self.sleep(seconds)
            self.unblock(desk)

        self._spawn(later())

    # ------------------------------------------------------------------ inside

    async def _drop(self, record: BatchRecord, outcome: str) -> None:
        """Settle a batch of an earlier session that nothing more is to come of."""
        if self._is_mine(record):
            self.budget.adopt(record.bound)
            self.budget.settle(record.bound, 0.0)
        await self.book.settled(record, outcome)

    async def _ask_ordinary(self, request: Request) -> Answer:
        self._outside += 1
        try:
            return await self._ordinary.ask(request)
        finally:
            self._outside -= 1

    async def enter(self, desk: Desk, item: Item) -> None:
        """Join the batch that is on its way with this request, or wait for the next one, with money set aside."""
        self._last = asyncio.get_running_loop().time()
        if item.key in self._underway:
            return
        bound = desk.lane.bound(item.request, 0.0)
        try:
            await self.budget.reserve(bound)
        except BudgetExhausted as error:
            self.items.pop(item.key, None)
            item.fail(error)
            return
        except asyncio.CancelledError:
            self.items.pop(item.key, None)
            item.done.cancel()
            raise
        item.bound, item.reserved = bound, True
        desk.queue.append(item)
        self._last = asyncio.get_running_loop().time()
        if len(desk.queue) >= desk.api.limits.requests:
            self.send(desk)

    async def _watching(self) -> None:
        """Send what waits when all is quiet; notice a wish to stop."""
        try:
            while True:
                await asyncio.sleep(min(TICK, self.options.quiet))
                self._check()
                idle = asyncio.get_running_loop().time() - self._last
                if self._last and idle >= (self.options.patient if self._outside else self.options.quiet):
                    self._send_all()
        except Exception as error:
            self._halt(error)

    def _send_all(self) -> None:
        """Everything that waits; and what earlier sessions left is followed from here on, if it is of any use."""
        for record in list(self._left):
            mine = self._is_mine(record)
            if mine or any(key in self.items for key in record.keys):
                self._left.remove(record)
                desk = self._desks[record.model]
                desk.validating += 1
                self._spawn(Flight(self, desk, adopted=True, mine=mine).take_up(record))
        for desk in self._desks.values():
            self.send(desk)

    def leave(self, record: BatchRecord) -> None:
        """A batch has settled: its requests are not under way any more."""
        for key in record.keys:
            self._underway.pop(key, None)

    def _is_mine(self, record: BatchRecord) -> bool:
        """Whether the money of a batch is this run's, and counted as spent since its outcome was unknown."""
        return record.run == self.run and self.book.announced(record)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Halted:
            pass
        except Exception as error:
            self._halt(error)

    def _halt(self, error: Exception) -> None:
        """Stop the run: nobody waits any longer."""
        if self._error is not None:
            return
        self._error = self._explained(error) if isinstance(error, Interrupted) else error
        self.halted.set()
        for desk in self._desks.values():
            desk.queue.clear()
        for item in list(self.items.values()):
            item.fail(self._error)
        self.items.clear()

    def _explained(self, error: Interrupted) -> Interrupted:
        left = [record for record in self.book.unsettled() if record.may_run and record.model in self._desks]
        if not left:
            return error
        hosts = ", ".join(sorted({self._desks[record.model].api.host for record in left}))
        rows = sum(len(record.keys) for record in left)
        return Interrupted(
            f"Stopped. {len(left)} batch{'es' * (len(left) > 1)} with {count(rows, 'request')} go on at {hosts}: run "
            "the same command again to take them up. What was bought is kept, nothing is submitted twice."
        )


class Buying(Protocol):
    """What a run works with, as far as batches need it (`engine.session.Session`)."""

    @property
    def ledger(self) -> Ledger:
        """Where everything is written down."""

    @property
    def providers(self) -> Mapping[str, Provider]:
        """By model name."""

    @property
    def timeout(self) -> float:
        """Seconds per call."""

    @property
    def tell(self) -> Listener:
        """Who listens."""

    @property
    def stop(self) -> Stop:
        """Whether to stop."""

    @property
    def batch(self) -> BatchOptions:
        """How batches are made and followed."""


@asynccontextmanager
async def batching(
    ordinary: Client, models: Sequence[Model], names: frozenset[str], run: str, session: Buying
) -> AsyncIterator[BatchClient]:
    """The client that asks these models by batch and the others as ever; batches of earlier sessions are taken up."""
    desks = {}
    for model in models:
        provider = session.providers[model.name]
        api = batch_api(model, provider, timeout=session.timeout) if model.name in names else None
        if api is not None:
            lane = Lane(model, provider, Pace(1, Random(0)))  # its prices; the pace is the provider's own
            desks[model.name] = Desk(lane, api, most=api.limits.requests)
    if missing := names - desks.keys():
        raise InputError(f"--batch: this run asks {min(missing)} by batch, which it cannot be asked by now.")
    client = BatchClient(
        ordinary, session.ledger, desks, run=run, options=session.batch, check=session.stop.check, tell=session.tell
    )
    try:
        await client.take_up()
        yield client
    finally:
        await client.close()


def tell_of_batches(ledger: Ledger, models: Sequence[Model], tell: Listener) -> None:
    """An ordinary run says which batches are still out with answers it is about to buy."""
    out = [record for record in BatchBook(ledger).unsettled() if record.may_run]
    for model in models:
        rows = sum(len(record.keys) for record in out if record.model == model.name)
        if rows:
            tell(
                Said(
                    f"Batches with {count(rows, 'request')} to {model.name} are still out: "
                    "run with --batch to take them up."
                )
            )


async def by_batch(
    models: Sequence[Model], providers: Mapping[str, Provider], *, seconds: float, tell: Listener
) -> frozenset[str]:
    """The names of the models that can be asked by batch; an address of the user's own is asked whether it can.

    seconds: per call.
    """
    names = set()
    for model in models:
        api = batch_api(model, providers[model.name], timeout=seconds)
        if api is not None:
            try:
                if known(model) or await _is_there(api):
                    names.add(model.name)
            finally:
                await api.close()
        if model.name not in names:
            tell(Said(f"{model.name} is not asked by batch: there is no batch API for it."))
    return frozenset(names)


async def _is_there(api: BatchApi) -> bool:
    """Whether an address says it has batches; `Refused` where it says nothing for about a quarter of a minute."""
    for attempt in range(PROBES):
        try:
            return await api.available()
        except Retryable as error:
            said = error
            await asyncio.sleep(0.1 * 2**attempt)
    raise Refused(f"{said} So it cannot be told whether there are batches. Run again later.")
