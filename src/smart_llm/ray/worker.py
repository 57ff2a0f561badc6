"""A worker: settles partitions with the engine that settles whole tables on one machine.

`Live` and `Client` are the same; what differs is at the other end of their seams: turns and money are leased, answers
are looked up and written through lines to the ledger. Each attempt at a partition is an owner of its own there, so that
what a dead one held is given up when the partition is begun again.

A run that must stop does not raise here: what is in flight is finished and recorded, and the partition is handed back
with the reason. (Ray Data would end the calls of all other workers.)
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from smart_llm.client.client import Client
from smart_llm.engine.delivering import deliver
from smart_llm.engine.live import Live
from smart_llm.engine.opening import brought
from smart_llm.events import Delivering, Event, Stop
from smart_llm.learned.model import kept_model
from smart_llm.providers.base import Provider
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import LEARNED
from smart_llm.providers.taught import Taught
from smart_llm.ray.governor import Failure, Message, Reply
from smart_llm.ray.leases import Asker, Governed, LeasedBudget, LeasedLedger, LeasedPace
from smart_llm.ray.parts import Delivered, Orders, Part, account, added
from smart_llm.ray.shared import Found, Write
from smart_llm.ray.sources import in_memory
from smart_llm.tables import Table
from smart_llm.tables.cells import hash_of
from smart_llm.tables.output_folder import to_bytes
from smart_llm.tables.writing import with_added
from smart_llm.types import Model

BEAT = 15.0
"""Seconds between signs of life to the ledger."""
TOLD = 100
"""Rows settled between two words to the governor about it."""


class Desk(Protocol):
    """The shared state as a worker reaches it: methods of `SharedLedger` and `Governor`, each one message."""

    def hello(self, worker: str, life: str) -> Awaitable[None]:
        """An owner begins."""
        ...

    def bye(self, owner: str) -> Awaitable[None]:
        """An owner has ended: whatever it still holds is given up."""
        ...

    def look(self, owner: str, keys: Sequence[str]) -> Awaitable[list[Found]]:
        """See `SharedLedger`."""
        ...

    def peek(self, owner: str, keys: Sequence[str]) -> Awaitable[list[int | None]]:
        """See `SharedLedger`."""
        ...

    def wait(self, owner: str, key: str) -> Awaitable[Found]:
        """See `SharedLedger`."""
        ...

    def drop(self, owner: str, keys: Sequence[str]) -> Awaitable[None]:
        """See `SharedLedger`."""
        ...

    def write(self, owner: str, writes: Sequence[Write]) -> Awaitable[list[Any]]:
        """See `SharedLedger`."""
        ...

    def say(self, owner: str, messages: Sequence[Message]) -> Awaitable[list[Reply]]:
        """See `Governor`."""
        ...

    def hear(self, owner: str) -> Awaitable[list[Reply]]:
        """See `Governor`."""
        ...


class Worker:
    """Settles partitions, several at once if asked to. Makes its providers from its own environment."""

    def __init__(self, orders: Orders, desk: Desk) -> None:
        self._orders, self._desk = orders, desk
        self._providers: Mapping[str, Provider] | None = None
        self._taught: Taught | None = None
        self._texts: Table | None = None
        self._reading = asyncio.Lock()

    async def settle(self, number: int) -> Delivered:
        """One partition, to its end or to where the run must stop."""
        part = self._orders.parts[number]
        async with self._session(part) as (governed, client):
            try:
                return await self._settled(part, governed, client)
            except Exception as reason:  # also a fault of the user's functions: Ray would try again for ever
                failure = Failure.of(reason)
                governed.tell("stop", failure)
                return Delivered(number, stopped=failure)

    async def _whole(self) -> Table:
        """The rows of the whole table, as far as prompts show them, read once."""
        async with self._reading:
            if self._texts is None:
                assert self._orders.texts is not None
                self._texts = await self._orders.texts.read()
        return self._texts

    async def close(self) -> None:
        """Close the providers."""
        for provider in {id(each): each for each in (self._providers or {}).values()}.values():
            await provider.close()

    async def _settled(self, part: Part, governed: Governed, client: Asker) -> Delivered:
        orders = self._orders
        await governed.check()
        table = await part.source.read()
        ways = orders.ways(part, await self._whole()) if orders.layouts else {}
        live = Live(table, orders.task, orders.models, client, stop=Stop(), ways=ways)
        live.client.hold(orders.failed)
        if self._taught is not None and self._taught.fitted is not None:
            live.questions.settle_learned(_number(orders.models, LEARNED), self._taught.fitted.name)
        live.rows.proven, live.covered, live.before = True, dict(orders.covered), orders.before
        live.elsewhere = orders.elsewhere
        for row in range(part.rows):
            if (known := orders.settled.get(part.first + row)) is not None:
                live.rows.settle(row, *known)
        await deliver(live, orders.routing(part), orders.concurrency, _teller(governed, live))
        new = added(live, orders.added)
        if orders.output is not None:
            await asyncio.to_thread(orders.output.put, part.name, with_added(in_memory(table), new))
        found = account(live, answers=orders.answers(part), known=orders.failed.keys())
        return Delivered(part.number, to_bytes(found), hash_of(new))

    @asynccontextmanager
    async def _session(self, part: Part) -> AsyncIterator[tuple[Governed, Asker]]:
        """Lines to the shared state, for one attempt at one partition."""
        desk, life = self._desk, secrets.token_hex(4)
        owner = f"{part.name}/{life}"
        await desk.hello(part.name, owner)
        governed = Governed(lambda messages: desk.say(owner, messages), lambda: desk.hear(owner))
        background: set[Any] = set()

        def drop(key: str) -> None:
            task = asyncio.ensure_future(desk.drop(owner, [key]))
            background.add(task)
            task.add_done_callback(background.discard)

        client = self._client(governed, owner)
        asker = Asker(
            client,
            lambda keys: desk.look(owner, keys),
            lambda key: desk.wait(owner, key),
            drop,
            peek=(lambda keys: desk.peek(owner, keys)) if self._orders.elsewhere else None,
        )
        beat = asyncio.ensure_future(self._beat(owner))
        try:
            yield governed, asker
        finally:
            beat.cancel()
            with contextlib.suppress(Exception):
                await client.settle()
            await governed.close()
            with contextlib.suppress(Exception):  # the line may be dead, which was said where it mattered
                await asyncio.gather(*background)
                await desk.bye(owner)

    def _client(self, governed: Governed, owner: str) -> Client:
        orders, desk = self._orders, self._desk
        client = Client(
            LeasedLedger(lambda writes: desk.write(owner, writes), store_text=orders.store_text),
            orders.models,
            self._made(),
            timeout=orders.timeout,
            patience=orders.patience,
            run=orders.run_id,
            gate=lambda model: LeasedPace(governed, model.name),
            purse=LeasedBudget(governed, 0.0 if orders.limited else None),
        )
        for request in orders.known.values():
            client.knows(request)
        client.expect({orders.models[m].name: names for m, names in orders.covered.items()})
        return client

    def _made(self) -> Mapping[str, Provider]:
        if self._providers is None:
            orders = self._orders
            given = brought(orders.models, orders.providers)
            wanted = [model for model in orders.models if model.name not in given]
            self._providers = {**make_providers(wanted, prefix=orders.task.prefix(orders.columns)), **given}
            taught = self._providers.get(LEARNED)
            if isinstance(taught, Taught) and orders.learned is not None:
                self._taught, taught.fitted = taught, kept_model(orders.learned)
                taught.around = orders.learned["around"][0], orders.learned["around"][1]
        return self._providers

    async def _beat(self, owner: str) -> None:
        while True:
            await asyncio.sleep(BEAT)
            with contextlib.suppress(Exception):
                await self._desk.drop(owner, [])


def _number(models: Sequence[Model], name: str) -> int:
    return next(k for k, model in enumerate(models) if model.name == name)


def _teller(governed: Governed, live: Live) -> Any:
    """A listener that passes on how many rows are settled, now and then."""
    told = [live.rows.done, len(live.rows.errors)]

    def tell(event: Event) -> None:
        if isinstance(event, Delivering) and (event.done - told[0] >= TOLD or event.done == event.rows):
            governed.tell("settled", event.done - told[0], event.errors - told[1])
            told[:] = event.done, event.errors

    return tell
