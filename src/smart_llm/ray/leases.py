"""The worker's side of what is shared: lines to the governor and to the ledger, and what a client makes of them.

A `Line` carries messages to another process: those that come while one is on its way go together into the next, so the
cost of a message falls as load rises, and nothing waits for a timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from smart_llm.client.budget import Budget
from smart_llm.client.limits import Limits
from smart_llm.client.pace import Turn
from smart_llm.errors import Interrupted, SmartError
from smart_llm.ledger import request_key
from smart_llm.ledger.reader import read_answer
from smart_llm.ledger.store import answer_row
from smart_llm.ray.governor import Failure, Message, Reply
from smart_llm.ray.shared import BUSY, Found, Write
from smart_llm.types import Answer, Request

M = TypeVar("M")
R = TypeVar("R")
ON_ITS_WAY = 0.2
"""Seconds that a message to the governor and back may take, with room to spare."""
MOST = 2048
"""Messages that go together, at most."""

Send: TypeAlias = Callable[[list[M]], Awaitable[Sequence[R]]]


class Line(Generic[M, R]):
    """Messages that each have an answer, in the same order."""

    def __init__(self, send: Send[M, R]) -> None:
        self._send = send
        self._waiting: list[tuple[M, asyncio.Future[R]]] = []
        self._going: asyncio.Task[None] | None = None

    def post(self, message: M) -> asyncio.Future[R]:
        """Send it as soon as what is on its way has come back."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, done))
        if self._going is None:
            self._going = asyncio.ensure_future(self._go())
        return done

    async def _go(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                answers = await self._send([message for message, _ in batch])
            except Exception as error:
                for _, done in batch:
                    _fail(done, lost(error))
            else:
                for (_, done), answer in zip(batch, answers, strict=True):
                    if not done.done():
                        done.set_result(answer)
        self._going = None


class Governed:
    """The line to the governor. say, hear: its methods of these names, for this worker."""

    def __init__(
        self, say: Callable[[list[Message]], Awaitable[list[Reply]]], hear: Callable[[], Awaitable[list[Reply]]]
    ) -> None:
        self._say, self._hear = say, hear
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._outgoing: list[Message] = []
        self._going: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._broken: SmartError | None = None

    async def ask(self, kind: str, *rest: Any) -> Any:
        """A message that wants an answer; raises the failure where it is one."""
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._post((kind, number, *rest))
        outcome = await answer
        if isinstance(outcome, Failure):
            raise outcome.error()
        return outcome

    def tell(self, kind: str, *rest: Any) -> None:
        """A message that wants none."""
        self._post((kind, *rest))

    async def check(self) -> None:
        """Raises what stopped the run, if anything has."""
        await self.ask("check")

    async def close(self) -> None:
        """Say what is still to be said, and hang up."""
        while self._going is not None:
            await asyncio.wait([self._going])
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    def _post(self, message: Message) -> None:
        if self._broken is not None:
            self._break(self._broken)
            return
        self._outgoing.append(message)
        if self._going is None:
            self._going = asyncio.ensure_future(self._go())
        if self._listening is None:
            self._listening = asyncio.ensure_future(self._listen())

    async def _go(self) -> None:
        await asyncio.sleep(0)  # let others come along
        while self._outgoing:
            batch, self._outgoing = self._outgoing, []
            try:
                self._take(await self._say(batch))
            except Exception as error:
                self._break(lost(error))
        self._going = None

    async def _listen(self) -> None:
        while self._broken is None:
            try:
                self._take(await self._hear())
            except Exception as error:
                self._break(lost(error))

    def _take(self, replies: list[Reply]) -> None:
        for number, outcome in replies:
            waiting = self._waiting.pop(number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(outcome)

    def _break(self, error: SmartError) -> None:
        self._broken = error
        self._outgoing.clear()
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            _fail(each, error)


class LeasedPace:
    """A `Gate` that is the governor's; its turns are known by their number, which stands in `requests`."""

    def __init__(self, governed: Governed, model: str) -> None:
        self._governed, self._model = governed, model
        self.in_flight = 0
        self.resume_at = 0.0
        self._asked: dict[object, float] = {}  # when each turn was asked for that has not come, oldest first

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn. Where every turn comes as fast as a message goes to the governor and back,
        nobody waits."""
        oldest = next(iter(self._asked.values()), None)
        waits = oldest is not None and asyncio.get_running_loop().time() - oldest > ON_ITS_WAY
        return len(self._asked) if waits else 0

    async def enter(self, tokens: float = 0.0) -> Turn:
        """Wait for a turn."""
        mark = object()
        self._asked[mark] = asyncio.get_running_loop().time()
        try:
            number = await self._governed.ask("enter", self._model, tokens)
        finally:
            del self._asked[mark]
        self.in_flight += 1
        return Turn(requests=number, at=asyncio.get_running_loop().time())

    def leave(self) -> None:
        """A call is over."""
        self.in_flight -= 1
        self._governed.tell("leave", self._model)

    def succeeded(self, turn: Turn, *, slow: bool = False) -> None:
        """A call brought an answer."""
        self._governed.tell("succeeded", self._model, turn.requests, slow)

    def told(self, turn: Turn, limits: Limits) -> None:
        """A reply said how its limits stand. The call left when its turn had come here, not when it was granted."""
        age = asyncio.get_running_loop().time() - turn.at
        self._governed.tell("told", self._model, turn.requests, limits, age)

    def throttled(self, turn: Turn, retry_after: float | None) -> None:
        """A call met a rate limit."""
        self._governed.tell("throttled", self._model, turn.requests, retry_after)

    def queued(self, turn: Turn) -> None:
        """A call waited in the server's queue until its time was over."""
        self._governed.tell("queued", self._model, turn.requests)

    def dismiss(self, reason: Exception) -> None:
        """The governor dismisses everybody."""
        self._governed.tell("stop", Failure.of(reason))


class LeasedBudget(Budget):
    """A budget whose money is the governor's. limit: whether there is one, no more."""

    def __init__(self, governed: Governed, limit: float | None) -> None:
        super().__init__(limit)
        self._governed = governed

    async def reserve(self, bound: float) -> None:
        """Set aside `bound` USD of everybody's."""
        if self.limit is not None:
            await self._governed.ask("reserve", bound)

    def settle(self, bound: float, cost: float) -> None:
        """A call set aside at `bound` has cost `cost`."""
        if self.limit is not None:
            self._governed.tell("settle", bound, cost)


class LeasedLedger:
    """A `Journal` at the other end of a line. What a key has is found out by `Shared`, before a client asks."""

    def __init__(self, write: Send[Write, Any], *, store_text: bool) -> None:
        self._line: Line[Write, Any] = Line(write)
        self._store_text = store_text

    def get(self, key: str) -> Answer | None:
        """Nothing: whoever comes here was told to buy."""
        return None

    def spent(self, run_id: str) -> float:
        """The governor keeps the account."""
        return 0.0

    def number(self, key: str) -> int | None:
        """Nothing, likewise."""
        return None

    async def put(
        self, key: str, request: Request, answer: Answer, *, run: str = "", attempt: int | None = None
    ) -> Answer:
        """Record an answer; returns, once it is durable, the one that stands."""
        row = answer_row(key, request, answer, store_text=self._store_text)
        standing = await self._line.post(("put", row, run, attempt))
        return answer if standing is None else read_answer(standing)

    async def send(self, key: str, model: str, bound: float, *, run: str = "") -> int:
        """Announce a call; returns, once that is durable, the number to settle it by."""
        number: int = await self._line.post(("send", key, model, bound, run))
        return number

    def attempt(
        self, key: str, model: str, outcome: str, cost: float, *, run: str = "", settles: int | None = None
    ) -> asyncio.Future[bool]:
        """Record a call that brought no answer."""
        return self._line.post(("attempt", key, model, outcome, cost, run, settles))


class Buys(Protocol):
    """What an `Asker` needs of `Client`."""

    async def ask(self, request: Request) -> Answer:
        """See `Client`."""
        ...

    def knows(self, request: Request) -> None:
        """See `Client`."""
        ...

    def alive(self, model: str) -> bool:
        """See `Client`."""
        ...


class Asker:
    """`ask` of one worker among many: an answer that is there, or that another worker is just buying, or bought here.

    look, wait, drop, peek: of `SharedLedger`, for this worker (peek None: nothing is there beforehand). client: buys.
    """

    def __init__(
        self,
        client: Buys,
        look: Send[str, Found],
        wait: Callable[[str], Awaitable[Found]],
        drop: Callable[[str], None],
        *,
        peek: Send[str, int | None] | None = None,
    ) -> None:
        self._client, self._wait, self._drop = client, wait, drop
        self._line: Line[str, Found] = Line(look)
        self._peeks: Line[str, int | None] | None = None if peek is None else Line(peek)
        self._flights: dict[str, asyncio.Future[Answer | None]] = {}

    async def ask(self, request: Request) -> Answer:
        """The answer that stands for a request."""
        key, answer = request_key(request), None
        while answer is None:
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key, request)
            answer = await asyncio.shield(flight)
        return answer

    async def held(self, request: Request) -> int | None:
        """The number of the recorded answer in the ledger's order, if there is one."""
        return await self._peeks.post(request_key(request)) if self._peeks is not None else None

    def alive(self, model: str) -> bool:
        """Whether this model has reacted to anything yet, here or elsewhere."""
        return self._client.alive(model)

    async def _fly(self, key: str, request: Request) -> Answer:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        answer = None
        try:
            answer = await self._found(key)
            if answer is None:
                answer = await self._bought(key, request)
            else:
                self._client.knows(request)
            return answer
        finally:
            del self._flights[key]
            flight.set_result(answer)

    async def _found(self, key: str) -> Answer | None:
        found = await self._line.post(key)
        while found is BUSY:
            found = await self._wait(key)
        return None if not found else read_answer(found)

    async def _bought(self, key: str, request: Request) -> Answer:
        stands = False
        try:
            answer = await self._client.ask(request)
            stands = answer.error is None
            return answer
        finally:
            if not stands:
                self._drop(key)


def lost(error: Exception) -> SmartError:
    """What to say when a line is dead."""
    if isinstance(error, SmartError):
        return error
    return Interrupted(
        f"The line to the ledger or the governor is dead ({type(error).__name__}). What was bought is kept: run the "
        "same command again to go on."
    )


def _fail(waiting: asyncio.Future[Any], error: SmartError) -> None:
    if not waiting.done():
        waiting.set_exception(error)
        waiting.exception()  # whoever waits will see it; where nobody does, the run stops all the same
