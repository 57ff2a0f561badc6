"""One governor for many workers: turns and money are leased from here, so that limits hold for all of them together.

It holds what a client on one machine would hold, a `Pace` per model and one `Budget`, and hands out their turns and
reservations in slices: a worker gathers what it wants and what became of what it had, and sends it as one message; what
is granted at once comes back with the reply, the rest when its turn comes (`hear`). So a limit told or found out
anywhere is known everywhere, and spent + reserved never exceeds the budget.

A worker that comes back under the same name, or is silent for long, has died: its calls count as over, its money as
spent, for nobody knows.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from smart_llm.client.budget import Budget
from smart_llm.client.lane import ceiling
from smart_llm.client.pace import Pace, Turn
from smart_llm.errors import SmartError
from smart_llm.types import Model

Message: TypeAlias = tuple[Any, ...]
"""A kind and its arguments, see `Governor`; where an answer is wanted, a number to answer by comes second."""
Reply: TypeAlias = tuple[int, Any]
"""The number of a message and what came of it: a value, or `Failure`."""

HELD = 5.0
"""Seconds `hear` waits for something to tell."""
SILENCE = 60.0
"""Seconds without a word until a worker counts as dead."""
TURNS = 65_536
"""Turns of a worker remembered until it says what became of them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way to another process. kind: the name of its class."""

    kind: str
    text: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The error's; of one that is not ours the text tells where it was raised."""
        if isinstance(error, SmartError):
            return cls(type(error).__name__, str(error))
        last = traceback.extract_tb(error.__traceback__)[-1:]
        place = "".join(f" ({Path(each.filename).name}, line {each.lineno})" for each in last)
        return cls("SmartError", f"{type(error).__name__}: {error}{place}")

    def error(self) -> SmartError:
        """The error itself again."""
        from smart_llm import errors

        kind: type[SmartError] = getattr(errors, self.kind, SmartError)
        return kind(self.text)


@dataclass(eq=False)
class Holder:
    """What one worker holds. in_flight: turns by model; reserved: calls by the USD set aside for each."""

    in_flight: Counter[str] = field(default_factory=Counter)
    reserved: Counter[float] = field(default_factory=Counter)
    turns: dict[int, Turn] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    heard: float = 0.0

    def tell(self, number: int, outcome: Any) -> None:
        """Something to tell the worker."""
        self.replies.append((number, outcome))
        self.ready.set()

    def told(self) -> list[Reply]:
        """All there is to tell; then there is nothing."""
        replies, self.replies = self.replies, []
        self.ready.clear()
        return replies


class Governor:
    """Paces and budget of one run. rows, errors: rows the workers have settled, and those without an answer.

    Messages that want an answer: ("enter", number, model, tokens), ("reserve", number, USD), ("check", number).
    Others: ("leave", model), ("succeeded", model, turn, slow), ("queued", model, turn),
    ("throttled", model, turn, retry_after),
    ("told", model, turn, limits, age), ("settle", USD set aside, USD cost), ("settled", rows, errors),
    ("stop", failure).
    """

    def __init__(
        self, models: Sequence[Model], *, concurrency: int, budget: float | None, spent: float, seed: int = 0
    ) -> None:
        random = Random(seed)
        self.paces: Mapping[str, Pace] = {m.name: Pace(ceiling(m, concurrency), random) for m in models}
        self.budget = Budget(budget, spent)
        self.rows = self.errors = 0
        self.stopped: Failure | None = None
        self._holders: dict[str, Holder] = {}
        self._lives: dict[str, str] = {}
        self._turns = 0

    def hello(self, worker: str, life: str) -> None:
        """A worker is there; what it held in an earlier life is given up."""
        before = self._lives.get(worker)
        self._lives[worker] = life
        if before is not None and before != life:
            self.bury(before)

    def bury(self, owner: str) -> None:
        """This owner is gone: its calls are over, its money counts as spent."""
        holder = self._holders.pop(owner, None)
        if holder is None:
            return
        for task in holder.tasks:
            task.cancel()
        for model, calls in holder.in_flight.items():
            for _ in range(calls):
                self.paces[model].leave()
        for bound, calls in holder.reserved.items():
            for _ in range(calls):
                self.budget.settle(bound, bound)

    def stop(self, reason: Failure) -> None:
        """Nobody gets a turn any more; the first reason counts."""
        if self.stopped is None:
            self.stopped = reason
            for pace in self.paces.values():
                pace.dismiss(reason.error())

    async def say(self, owner: str, messages: Sequence[Message]) -> list[Reply]:
        """What a worker has to say; returns what can be told it by now."""
        holder = self._holder(owner)
        for kind, *rest in messages:
            getattr(self, f"_{kind}")(holder, *rest)
        return holder.told()

    async def hear(self, owner: str) -> list[Reply]:
        """What there is to tell a worker, as soon as there is something."""
        holder = self._holder(owner)
        try:
            await asyncio.wait_for(holder.ready.wait(), HELD)
        except TimeoutError:
            self._bury_silent()
        return holder.told()

    # ------------------------------------------------------------------ messages

    def _enter(self, holder: Holder, number: int, model: str, tokens: float) -> None:
        pace = self.paces[model]

        def granted(turn: Turn) -> int:
            self._turns += 1
            holder.in_flight[model] += 1
            holder.turns[self._turns] = turn
            if len(holder.turns) > TURNS:
                del holder.turns[next(iter(holder.turns))]
            return self._turns

        try:
            turn = pace.at_once(tokens)
        except SmartError as error:
            holder.tell(number, Failure.of(error))
            return
        if turn is not None:
            holder.tell(number, granted(turn))
        else:
            self._later(holder, number, pace.enter(tokens), granted)

    def _reserve(self, holder: Holder, number: int, bound: float) -> None:
        def granted(_: None) -> None:
            holder.reserved[bound] += 1

        self._later(holder, number, self.budget.reserve(bound), granted)

    def _check(self, holder: Holder, number: int) -> None:
        holder.tell(number, self.stopped)

    def _leave(self, holder: Holder, model: str) -> None:
        if holder.in_flight[model]:  # else it was taken for dead
            holder.in_flight[model] -= 1
            self.paces[model].leave()

    def _succeeded(self, holder: Holder, model: str, turn: int, slow: bool) -> None:
        known = holder.turns.pop(turn, None)
        if known is not None:
            self.paces[model].succeeded(known, slow=slow)

    def _queued(self, holder: Holder, model: str, turn: int) -> None:
        known = holder.turns.pop(turn, None)
        if known is not None:
            self.paces[model].queued(known)

    def _throttled(self, holder: Holder, model: str, turn: int, retry_after: float | None) -> None:
        known = holder.turns.pop(turn, None)
        if known is not None:
            self.paces[model].throttled(known, retry_after)

    def _told(self, holder: Holder, model: str, turn: int, limits: Any, age: float) -> None:
        known = holder.turns.get(turn)
        if known is not None:
            self.paces[model].told(known, limits, age)

    def _settle(self, holder: Holder, bound: float, cost: float) -> None:
        if holder.reserved[bound]:
            holder.reserved[bound] -= 1
            self.budget.settle(bound, cost)

    def _settled(self, holder: Holder, rows: int, errors: int) -> None:
        self.rows, self.errors = self.rows + rows, self.errors + errors

    def _stop(self, holder: Holder, reason: Failure) -> None:
        self.stop(reason)

    # ------------------------------------------------------------------ holders

    def _later(
        self, holder: Holder, number: int, wanted: Coroutine[Any, Any, Any], granted: Callable[[Any], Any]
    ) -> None:
        async def wait() -> None:
            try:
                outcome = granted(await wanted)
            except SmartError as error:
                outcome = Failure.of(error)
            holder.tell(number, outcome)

        task = asyncio.ensure_future(wait())
        holder.tasks.add(task)
        task.add_done_callback(holder.tasks.discard)

    def _holder(self, owner: str) -> Holder:
        holder = self._holders.setdefault(owner, Holder())
        holder.heard = asyncio.get_running_loop().time()
        return holder

    def _bury_silent(self) -> None:
        now = asyncio.get_running_loop().time()
        for owner in [owner for owner, holder in self._holders.items() if now - holder.heard > SILENCE]:
            self.bury(owner)
