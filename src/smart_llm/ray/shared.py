"""One ledger, many workers: who may buy what, and one group commit for all.

A worker looks a request up here immediately before it buys. What has no answer is *claimed* by whoever asked first, so
that the same request, standing in two workers' rows, is paid for once; the others are told that it is busy, and wait.
A claim ends with its answer (durable by then), with `drop` (it finally failed), or with its worker: one that comes back
under the same name has died in between, and one that has been silent for long counts as dead.

Many keys and many writes come in one message, and all that come while a commit is on its way to the disk go into the
next: see `writer`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from smart_llm.ledger.keys import answer_json
from smart_llm.ledger.store import AnswerRow, Ledger

BUSY: Literal[False] = False
"""What is said of a key that another worker is buying."""
Found: TypeAlias = str | Literal[False] | None
"""The answer (canonical JSON); BUSY; None: nobody has it, it is yours to buy."""
Write: TypeAlias = tuple[Any, ...]
"""("put", row, run, attempt), ("send", key, model, bound, run) or
("attempt", key, model, outcome, cost, run, settles)."""
SILENCE = 60.0
"""Seconds without a word until a worker counts as dead."""


@dataclass(slots=True)
class Claim:
    """A request that is being bought. over: set when it is no longer."""

    owner: str
    over: asyncio.Event


class SharedLedger:
    """The ledger as its workers see it. `put`, `bought`: answers written, and what they cost, since the start."""

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._clock = ledger, clock
        self._claims: dict[str, Claim] = {}
        self._names: dict[str, str] = {}  # worker → its present life
        self._heard: dict[str, float] = {}
        self.put, self.bought = 0, 0.0

    def hello(self, worker: str, life: str) -> None:
        """A worker is there; whatever it claimed in an earlier life is free."""
        before = self._names.get(worker)
        self._names[worker] = life
        if before is not None and before != life:
            self.bury(before)

    def bury(self, owner: str) -> None:
        """This owner is gone: its claims are free."""
        self._heard.pop(owner, None)
        self.drop(owner, [key for key, claim in self._claims.items() if claim.owner == owner])

    def look(self, owner: str, keys: Sequence[str]) -> list[Found]:
        """What there is for these keys; those without an answer are claimed by the owner, where nobody else has."""
        self._hear(owner)
        said = self._ledger.said([key for key in keys if self._ledger.may_hold(key)])
        return [said.get(key) or self._claim(owner, key) for key in keys]

    def peek(self, owner: str, keys: Sequence[str]) -> list[int | None]:
        """The numbers of the answers there are for these keys; nothing is claimed."""
        self._hear(owner)
        return [self._ledger.number(key) for key in keys]

    async def wait(self, owner: str, key: str) -> Found:
        """`look` for one busy key, once whoever was buying it is done."""
        while (claim := self._claims.get(key)) is not None and claim.owner != owner:
            self._hear(owner)
            self._bury_silent()
            try:
                await asyncio.wait_for(claim.over.wait(), SILENCE / 4)
            except TimeoutError:
                continue
        return self.look(owner, [key])[0]

    def drop(self, owner: str, keys: Iterable[str]) -> None:
        """The owner will not buy these after all, or has."""
        self._hear(owner)
        for key in keys:
            claim = self._claims.get(key)
            if claim is not None and claim.owner == owner:
                del self._claims[key]
                claim.over.set()

    async def write(self, owner: str, writes: Sequence[Write]) -> list[Any]:
        """Write these in order; returns once all are durable. Of a `put`: None, or the answer that stands instead
        (canonical JSON); of a `send`: its number."""
        self._hear(owner)
        done = await asyncio.gather(*[asyncio.ensure_future(self._written(write)) for write in writes])
        self.drop(owner, [write[1][0] for write in writes if write[0] == "put"])
        return done

    async def _written(self, write: Write) -> Any:
        kind, *rest = write
        if kind == "send":
            key, model, bound, run = rest
            return await self._ledger.send(key, model, bound, run=run)
        if kind == "attempt":
            key, model, outcome, cost, run, settles = rest
            return await self._ledger.attempt(key, model, outcome, cost, run=run, settles=settles)
        return await self._put(*rest)

    async def _put(self, row: AnswerRow, run: str, attempt: int | None) -> str | None:
        standing = await self._ledger.put_row(row, run=run, attempt=attempt)
        self.put, self.bought = self.put + 1, self.bought + row[4]
        return None if standing is None else answer_json(standing).decode()

    def _claim(self, owner: str, key: str) -> Literal[False] | None:
        claim = self._claims.setdefault(key, Claim(owner, asyncio.Event()))
        return None if claim.owner == owner else BUSY

    def _hear(self, owner: str) -> None:
        self._heard[owner] = self._clock()

    def _bury_silent(self) -> None:
        now = self._clock()
        for owner in [owner for owner, at in self._heard.items() if now - at > SILENCE]:
            self.bury(owner)
