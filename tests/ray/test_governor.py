"""One governor, many workers: limits and money hold for all together, and the dead give back what they held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest
import virtual

from smart_llm.client.client import Client
from smart_llm.engine.pool import each
from smart_llm.errors import BudgetExhausted, Interrupted, Retryable
from smart_llm.events import Stop
from smart_llm.mock.limits import Limiter, Limits
from smart_llm.providers.base import Told
from smart_llm.providers.fake import FakeProvider
from smart_llm.ray import governor as governing
from smart_llm.ray.governor import Failure, Governor, Message, Reply
from smart_llm.ray.leases import Governed, LeasedBudget, LeasedPace, Line
from smart_llm.types import Answer, Model, Rate, Request, Usage

MODEL = Model("m", "openai", "m", Rate(1.0, 1.0))
WAY = 0.003
"""Seconds a message between a worker and the governor takes."""


def line(governor: Governor, owner: str, seconds: float = WAY) -> Governed:
    """A worker's line, over which messages take a while."""

    async def say(messages: list[Message]) -> list[Reply]:
        await asyncio.sleep(seconds)
        replies = await governor.say(owner, messages)
        await asyncio.sleep(seconds)
        return replies

    async def hear() -> list[Reply]:
        await asyncio.sleep(seconds)
        replies = await governor.hear(owner)
        await asyncio.sleep(seconds)
        return replies

    return Governed(say, hear)


class Memory:
    """A journal without a file: the clock of these tests jumps while a thread writes."""

    def get(self, key: str) -> Answer | None:
        """Nothing is known."""
        return None

    async def put(
        self, key: str, request: Request, answer: Answer, *, run: str = "", attempt: int | None = None
    ) -> Answer:
        """It stands."""
        return answer

    async def send(self, key: str, model: str, bound: float, *, run: str = "") -> int:
        """Any number."""
        return 1

    def attempt(
        self, key: str, model: str, outcome: str, cost: float, *, run: str = "", settles: int | None = None
    ) -> asyncio.Future[bool]:
        """Durable at once."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    def spent(self, run_id: str) -> float:
        """Nothing."""
        return 0.0


class Limited:
    """A provider with a rate limit for everybody who asks it, told in headers."""

    def __init__(self, limits: Limits) -> None:
        self.limiter = Limiter(limits, asyncio.get_running_loop().time)
        self.answered = self.refused = self.out = self.most = 0
        self._random = Random(1)

    async def call(self, request: Request, told: Told | None) -> Answer:
        """One call."""
        self.out += 1
        self.most = max(self.most, self.out)
        try:
            wait = self.limiter.admit(1)
            headers = self.limiter.headers() if wait <= 0 else self.limiter.refusal(wait)
            await asyncio.sleep(0.2 + 0.3 * self._random.random())
        finally:
            self.out -= 1
        if told is not None:
            told(request.model, headers)
        if wait > 0:
            self.refused += 1
            after = headers.get("retry-after-ms")
            raise Retryable("slow down", throttled=True, retry_after=float(after) / 1000 if after else None)
        self.answered += 1
        return Answer("yes", Usage(1, 1))


class Port:
    """One worker's way to it."""

    def __init__(self, server: Limited) -> None:
        self._server = server
        self.told: Told | None = None

    async def complete(self, request: Request) -> Answer:
        """A call."""
        return await self._server.call(request, self.told)

    async def close(self) -> None:
        """Nothing."""


def four_workers(limits: Limits, *, concurrency: int, seconds: float) -> tuple[float, float, int]:
    """Answers a minute, share refused, and most calls out at once, of four clients under one governor."""

    async def play() -> tuple[float, float, int]:
        server = Limited(limits)
        governor = Governor([MODEL], concurrency=concurrency, budget=None, spent=0.0)
        lines = [line(governor, f"w{k}") for k in range(4)]
        clients = [
            Client(Memory(), [MODEL], {"m": Port(server)}, gate=lambda model, to=to: LeasedPace(to, model.name))
            for to in lines
        ]
        number = iter(range(10**9))

        async def work(client: Client) -> None:
            while True:
                await client.ask(Request("m", str(next(number)), 1))

        tasks = [asyncio.ensure_future(work(client)) for client in clients for _ in range(32)]
        await asyncio.sleep(30)
        before, server.refused = server.answered, 0
        await asyncio.sleep(seconds)
        answered, refused = server.answered - before, server.refused
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for to in lines:
            await to.close()
        return answered / seconds * 60, refused / (answered + refused), server.most

    found: tuple[float, float, int] = virtual.run(play())
    return found


@pytest.mark.parametrize("burst", [2.0, 60.0])
def test_a_limit_told_anywhere_is_kept_everywhere(burst: float) -> None:
    """Four workers on one rate limit: at least 85 % of it is used, under 2 % of the calls are refused."""
    rate, refused, _ = four_workers(Limits(600, None, burst), concurrency=64, seconds=60)
    assert rate >= 0.85 * 600
    assert refused < 0.02


class Moody:
    """Refuses one call in twenty, and says to wait ten seconds."""

    def __init__(self) -> None:
        self._random, self.told = Random(3), None

    async def complete(self, request: Request) -> Answer:
        """A call."""
        await asyncio.sleep(0.3)
        if self._random.random() < 0.05:
            raise Retryable("slow down", throttled=True, retry_after=10.0)
        return Answer("yes", Usage(1, 1))

    async def close(self) -> None:
        """Nothing."""


def test_rows_that_rest_lend_their_places_also_where_the_governor_is_far_away() -> None:
    """Messages take a while, and refusals at random hold back their own rows: the others go on, as with one process."""

    async def play() -> float:
        governor = Governor([MODEL], concurrency=32, budget=None, spent=0.0)
        lines = [line(governor, f"w{k}", seconds=0.02) for k in range(2)]
        gates = [lambda model, to=to: LeasedPace(to, model.name) for to in lines]
        clients = [Client(Memory(), [MODEL], {"m": Moody()}, gate=gate) for gate in gates]
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def share(k: int) -> None:
            async def work(row: int) -> None:
                await clients[k].ask(Request("m", f"{k} {row}", 1))

            await each(range(1500), work, workers=16, stop=Stop())

        await asyncio.gather(*(share(k) for k in range(2)))
        for to in lines:
            await to.close()
        return loop.time() - begun

    alone = 1500 / 16 * (0.3 + 2 * 0.02) / 0.95  # nothing but calls and messages
    assert virtual.run(play()) < 1.2 * alone + 12


def test_calls_in_flight_are_counted_over_all_workers() -> None:
    """The ceiling on calls in flight is one for all, and it is used."""
    rate, _, most = four_workers(Limits(), concurrency=20, seconds=10)
    assert most == 20
    assert rate >= 0.9 * 20 / 0.35 * 60


def test_no_cent_more_than_the_budget_whoever_spends_it() -> None:
    """Calls of four workers at their upper bounds always fit; the run ends where not one more does."""
    bound = MODEL.rate.bound(64 + 1, 1)
    limit = 50.5 * bound

    async def play() -> tuple[Governor, int, list[BaseException | None]]:
        governor = Governor([MODEL], concurrency=64, budget=limit, spent=0.0)
        highest = 0.0

        def answer(_: Request) -> Answer:
            nonlocal highest
            highest = max(highest, governor.budget.spent + governor.budget._reserved[0])
            return Answer("yes", Usage(65, 1))

        provider = FakeProvider(answer, latency=0.1)
        lines = [line(governor, f"w{k}") for k in range(4)]
        clients = [
            Client(
                Memory(),
                [MODEL],
                {"m": provider},
                gate=lambda model, to=to: LeasedPace(to, model.name),
                purse=LeasedBudget(to, 0.0),
            )
            for to in lines
        ]

        async def work(k: int) -> None:
            for number in range(100):
                await clients[k % 4].ask(Request("m", chr(0x100 + 100 * k + number)[:1], 1))

        ends = await asyncio.gather(*[work(k) for k in range(8)], return_exceptions=True)
        for to in lines:
            await to.close()
        assert highest <= limit * (1 + 1e-9)
        return governor, provider.calls, [each if isinstance(each, BaseException) else None for each in ends]

    governor, calls, ends = virtual.run(play())
    assert all(isinstance(end, BudgetExhausted) for end in ends)
    assert calls >= 40
    assert governor.budget.spent <= limit


def test_the_dead_give_back_their_turns_and_their_money_counts_as_spent() -> None:
    """A worker that comes back under its name has died: its calls are over; what they may have cost is gone."""

    async def play() -> tuple[int, float, int]:
        governor = Governor([MODEL], concurrency=2, budget=10.0, spent=1.0)
        governor.hello("w", "w/1")
        dead, other = line(governor, "w/1"), line(governor, "x/1")
        for _ in range(2):
            await dead.ask("enter", "m", 1.0)
            await dead.ask("reserve", 2.0)
        waiting = asyncio.ensure_future(other.ask("enter", "m", 1.0))
        await asyncio.sleep(1)
        assert not waiting.done()
        governor.hello("w", "w/2")
        turn = await waiting
        dead.tell("leave", "m")  # it was not dead after all: too late
        dead.tell("settle", 2.0, 0.1)
        await asyncio.sleep(1)
        in_flight, spent = governor.paces["m"].in_flight, governor.budget.spent
        await dead.close()
        await other.close()
        return in_flight, spent, turn

    in_flight, spent, turn = virtual.run(play())
    assert (in_flight, spent) == (1, 5.0)
    assert turn > 0


def test_a_worker_that_is_silent_for_long_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turns are given to those who wait, though it never came back."""
    monkeypatch.setattr(governing, "SILENCE", 20.0)

    async def play() -> float:
        governor = Governor([MODEL], concurrency=1, budget=None, spent=0.0)
        await governor.say("dead", [("enter", 0, "m", 1.0)])
        other, loop = line(governor, "other"), asyncio.get_running_loop()
        start = loop.time()
        await other.ask("enter", "m", 1.0)
        waited = loop.time() - start
        await other.close()
        return waited

    assert 20.0 <= virtual.run(play()) <= 30.0


@pytest.mark.parametrize("stop", ["by a worker", "by the user"])
def test_a_stop_reaches_everybody_who_waits(stop: str) -> None:
    """Whoever waits for a turn is told why it will not come, by its own kind of error; so is whoever asks later."""

    async def play() -> list[BaseException]:
        governor = Governor([MODEL], concurrency=1, budget=None, spent=0.0)
        one, two = line(governor, "a"), line(governor, "b")
        await one.ask("enter", "m", 1.0)
        waiting = [asyncio.ensure_future(each.ask("enter", "m", 1.0)) for each in (one, two)]
        await asyncio.sleep(1)
        reason = Failure.of(Interrupted("Stopped."))
        if stop == "by a worker":
            one.tell("stop", reason)
        else:
            governor.stop(reason)
        told = await asyncio.gather(*waiting, return_exceptions=True)
        for late in (two.ask("enter", "m", 1.0), two.check()):
            told += await asyncio.gather(late, return_exceptions=True)
        await one.close()
        await two.close()
        return [each for each in told if isinstance(each, BaseException)]

    told = virtual.run(play())
    assert [(type(each), str(each)) for each in told] == [(Interrupted, "Stopped.")] * 4


def test_messages_that_come_while_one_is_on_its_way_go_together() -> None:
    """The more is said, the fewer messages it takes a piece; answers belong to their questions."""
    sent: list[list[int]] = []

    async def send(numbers: list[int]) -> list[int]:
        sent.append(numbers)
        await asyncio.sleep(1)
        return [10 * number for number in numbers]

    async def play() -> list[int]:
        wire: Line[int, int] = Line(send)
        first = wire.post(0)
        await asyncio.sleep(0.5)
        rest = [wire.post(number) for number in range(1, 100)]
        return await asyncio.gather(first, *rest)

    assert virtual.run(play()) == [10 * number for number in range(100)]
    assert [len(each) for each in sent] == [1, 99]


@pytest.mark.parametrize("make", [lambda: Line(_gone), lambda: Governed(_gone, lambda: _gone([]))])
def test_a_dead_line_is_told_to_everybody(make: Callable[[], Line[int, int] | Governed]) -> None:
    """Whoever waits for the ledger or the governor, now or later, learns that it is gone and that nothing is lost."""

    async def play() -> list[BaseException]:
        wire = make()
        told: list[BaseException] = []
        for _ in range(2):
            asks = [wire.ask("check") if isinstance(wire, Governed) else wire.post(1) for _ in range(3)]
            told += await asyncio.wait_for(asyncio.gather(*asks, return_exceptions=True), 60)
        return told

    told = virtual.run(play())
    assert len(told) == 6
    assert all(isinstance(each, Interrupted) and "run the same command again" in str(each) for each in told)


async def _gone(_: object) -> list[Reply]:
    raise ConnectionError("actor died")
