"""What runs in Ray's processes: two named actors that hold the shared state, and the class Ray Data makes workers of.

The ledger's actor is pinned to the driver's node, where the file is, and ends itself as soon as the driver is gone: a
driver that was killed can then be started again at once, and no worker can buy anything nobody writes down. Neither
named actor is ever restarted: with its memory its claims and leases are gone, so the run stops, and resumes.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import ray

from smart_llm.ledger import Ledger
from smart_llm.ray.governor import Failure, Governor, Message, Reply
from smart_llm.ray.parts import Delivered, Orders
from smart_llm.ray.shared import Found, SharedLedger, Write
from smart_llm.ray.worker import Worker
from smart_llm.types import Model

WATCH = 0.2
"""Seconds between looks at whether the driver is still there."""


class LedgerActor:
    """`SharedLedger` in a process of its own."""

    def __init__(self, path: str, store_text: bool, driver: int) -> None:
        self._ledger = Ledger.open(Path(path), store_text=store_text)
        self._shared = SharedLedger(self._ledger)
        threading.Thread(target=_end_with, args=(driver,), daemon=True).start()

    async def hello(self, worker: str, life: str) -> None:
        """See `SharedLedger`."""
        self._shared.hello(worker, life)

    async def bury(self, owner: str) -> None:
        """See `SharedLedger`."""
        self._shared.bury(owner)

    async def look(self, owner: str, keys: Sequence[str]) -> list[Found]:
        """See `SharedLedger`."""
        return self._shared.look(owner, keys)

    async def peek(self, owner: str, keys: Sequence[str]) -> list[int | None]:
        """See `SharedLedger`."""
        return self._shared.peek(owner, keys)

    async def wait(self, owner: str, key: str) -> Found:
        """See `SharedLedger`."""
        return await self._shared.wait(owner, key)

    async def drop(self, owner: str, keys: Sequence[str]) -> None:
        """See `SharedLedger`."""
        self._shared.drop(owner, keys)

    async def write(self, owner: str, writes: Sequence[Write]) -> list[Any]:
        """See `SharedLedger`."""
        return await self._shared.write(owner, writes)

    async def bought(self) -> float:
        """USD paid for answers since the start."""
        return self._shared.bought

    async def used(self) -> tuple[float, int]:
        """CPU-seconds and peak kilobytes of this process."""
        return usage()

    async def close(self) -> None:
        """Write what is queued and give the ledger up."""
        self._ledger.close()


class GovernorActor(Governor):
    """`Governor` in a process of its own. It also holds the orders, for workers to fetch."""

    def __init__(self, models: Sequence[Model], concurrency: int, budget: float | None, spent: float) -> None:
        super().__init__(models, concurrency=concurrency, budget=budget, spent=spent)
        self._orders: list[Any] = []

    async def brief(self, orders: list[Any]) -> None:
        """Keep a reference to the orders (in a list, so that it stays a reference)."""
        self._orders = orders

    async def orders(self) -> list[Any]:
        """That reference."""
        return self._orders

    async def greet(self, worker: str, life: str) -> None:
        """`hello`."""
        self.hello(worker, life)

    async def mourn(self, owner: str) -> None:
        """`bury`."""
        self.bury(owner)

    async def halt(self, reason: Failure) -> None:
        """`stop`."""
        self.stop(reason)

    async def state(self) -> tuple[int, int, Failure | None]:
        """Rows settled, rows without an answer, and what stopped the run."""
        return self.rows, self.errors, self.stopped

    async def used(self) -> tuple[float, int]:
        """CPU-seconds and peak kilobytes of this process."""
        return usage()


class RayDesk:
    """The shared state by messages to the named actors."""

    def __init__(self, ledger: Any, governor: Any) -> None:
        self._ledger, self._governor = ledger, governor

    async def hello(self, worker: str, life: str) -> None:
        """An owner begins."""
        await self._ledger.hello.remote(worker, life)
        await self._governor.greet.remote(worker, life)

    async def bye(self, owner: str) -> None:
        """An owner has ended."""
        await self._ledger.bury.remote(owner)
        await self._governor.mourn.remote(owner)

    def look(self, owner: str, keys: Sequence[str]) -> Awaitable[list[Found]]:
        """See `SharedLedger`."""
        return cast("Awaitable[list[Found]]", self._ledger.look.remote(owner, keys))

    def peek(self, owner: str, keys: Sequence[str]) -> Awaitable[list[int | None]]:
        """See `SharedLedger`."""
        return cast("Awaitable[list[int | None]]", self._ledger.peek.remote(owner, keys))

    def wait(self, owner: str, key: str) -> Awaitable[Found]:
        """See `SharedLedger`."""
        return cast("Awaitable[Found]", self._ledger.wait.remote(owner, key))

    def drop(self, owner: str, keys: Sequence[str]) -> Awaitable[None]:
        """See `SharedLedger`."""
        return cast("Awaitable[None]", self._ledger.drop.remote(owner, keys))

    def write(self, owner: str, writes: Sequence[Write]) -> Awaitable[list[Any]]:
        """See `SharedLedger`."""
        return cast("Awaitable[list[Any]]", self._ledger.write.remote(owner, writes))

    def say(self, owner: str, messages: Sequence[Message]) -> Awaitable[list[Reply]]:
        """See `Governor`."""
        return cast("Awaitable[list[Reply]]", self._governor.say.remote(owner, messages))

    def hear(self, owner: str) -> Awaitable[list[Reply]]:
        """See `Governor`."""
        return cast("Awaitable[list[Reply]]", self._governor.hear.remote(owner))


class Settle:
    """What Ray Data makes its actors of: partition numbers in, one line for each partition out."""

    def __init__(self, ledger: str, governor: str, namespace: str) -> None:
        self._names = ledger, governor, namespace
        self._worker: Worker | None = None

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """A block of one partition (of several, where Ray has put some together)."""
        numbers = batch["part"].to_pylist()
        try:
            worker = self._worker or await self._made()
            found = [await worker.settle(number) for number in numbers]
        except Exception as error:  # raised, it would be tried again for ever
            found = [Delivered(number, stopped=Failure.of(error)) for number in numbers]
        cpu, memory = usage()
        return pa.table(
            {
                "part": [each.number for each in found],
                "account": pa.array([each.account for each in found], pa.large_binary()),
                "hash": [each.hash for each in found],
                "kind": pa.array([each.stopped.kind if each.stopped else None for each in found], pa.string()),
                "text": pa.array([each.stopped.text if each.stopped else None for each in found], pa.string()),
                "process": [f"{os.getpid()}-{_BORN}"] * len(found),
                "cpu": [cpu] * len(found),
                "memory": [memory] * len(found),
            }
        )

    async def _made(self) -> Worker:
        """Made in the event loop it works in."""
        ledger, governor, namespace = self._names
        ledger_actor, governor_actor = ray.get_actor(ledger, namespace), ray.get_actor(governor, namespace)
        [reference] = await governor_actor.orders.remote()
        orders: Orders = await reference
        if self._worker is None:
            self._worker = Worker(orders, RayDesk(ledger_actor, governor_actor))
        return self._worker


_BORN = secrets.token_hex(4)


def usage() -> tuple[float, int]:
    """CPU-seconds and peak kilobytes of this process; 0 where the system does not tell, as Windows does not."""
    if sys.platform == "win32":
        return time.process_time(), 0
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss


def _end_with(driver: int) -> None:
    """End this process as soon as the driver's is gone. (On Windows no process can be asked whether it is there: Ray
    ends this one, some seconds later.)"""
    while sys.platform != "win32":
        time.sleep(WATCH)
        try:
            os.kill(driver, 0)
        except ProcessLookupError:
            os._exit(1)
        except PermissionError:
            pass
