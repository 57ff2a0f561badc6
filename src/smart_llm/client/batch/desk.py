"""What waits to be asked of one model by batch, and how much of it may go out at once.

Requests are put into batches in the order they came, as many as the API's limits allow. Where the provider's queue of
tokens turns out to be full, the desk grows cautious: one batch at a time is being validated, what does not fit waits
until a batch of ours has ended, and where none of ours is running, the next batch has half the size.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from smart_llm.client.lane import Lane
from smart_llm.providers.batch import BatchApi
from smart_llm.types import Answer, Request


@dataclass(slots=True, eq=False)
class Item:
    """A request somebody waits for. reserved: whether `bound` USD are set aside for it. tries: failures so far."""

    key: str
    request: Request
    done: asyncio.Future[Answer]
    bound: float = 0.0
    reserved: bool = False
    tries: int = 0

    def give(self, answer: Answer) -> None:
        """Tell everybody who waits."""
        if not self.done.done():
            self.done.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Tell everybody who waits that the run must stop."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # nobody may be waiting any more


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch put together: our id for it, its requests and their encoded form."""

    batch_id: str
    items: Sequence[Item]
    lines: Sequence[bytes]

    @property
    def keys(self) -> tuple[str, ...]:
        """The requests by key, in order."""
        return tuple(item.key for item in self.items)

    @property
    def bound(self) -> float:
        """USD it can cost at most."""
        return sum(item.bound for item in self.items)


@dataclass(slots=True, eq=False)
class Desk:
    """One model asked by batch. most: requests per batch. flights: batches on their way. answered: since the start.

    failures: batches in a row that did not run. blocked: nothing goes out until a batch has ended.
    """

    lane: Lane
    api: BatchApi
    most: int
    queue: list[Item] = field(default_factory=list)
    flights: int = 0
    validating: int = 0
    answered: int = 0
    hopeless: int = 0
    failures: int = 0
    cautious: bool = False
    blocked: bool = False

    @property
    def model(self) -> str:
        """The model's name."""
        return self.lane.model.name

    @property
    def may_send(self) -> bool:
        """Whether something waits that may go out now."""
        return bool(self.queue) and not self.blocked and not (self.cautious and self.validating)

    def take(self) -> Iterator[Parcel]:
        """Put what waits into batches, by rows and by bytes; a cautious desk gives out one."""
        while self.may_send:
            parcel = self._parcel()
            self.queue = self.queue[len(parcel.items) :]
            yield parcel

    def turned_away(self, requests: int, *, alone: bool) -> None:
        """The queue had no room for a batch of that size: be cautious, and smaller where it was alone there."""
        self.cautious = self.blocked = True
        if alone:
            self.most = max(1, requests // 2)

    def _parcel(self) -> Parcel:
        """At least one request; whether a single one is too large is for the provider to say."""
        batch_id, size = f"smart-{secrets.token_hex(8)}", 2
        lines: list[bytes] = []
        for item in self.queue[: min(self.most, self.api.limits.requests)]:
            line = self.api.line(f"{batch_id}-{len(lines)}", item.request)
            size += len(line) + 1
            if lines and size > self.api.limits.size - 4096:  # room for what stands around them
                break
            lines.append(line)
        return Parcel(batch_id, self.queue[: len(lines)], lines)
