"""Calls refused at random, over real sockets: they hold back themselves and nobody else."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random

import pytest
import virtual
from attempts import in_one_of_four

from smart_llm.client.client import Client
from smart_llm.client.pace import Pace
from smart_llm.engine.pool import each
from smart_llm.errors import Refused
from smart_llm.events import Stop
from smart_llm.ledger import Ledger
from smart_llm.mock import Faults, MockServer
from smart_llm.mock.http import Call, Reply, reply
from smart_llm.mock.scripted import Scripted
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Request

DONE = {"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


async def seconds(ledger: Ledger, url: str, rows: int, **options: float) -> float:
    """How long so many rows take; all of them are answered."""
    model = resolve(f"openai:m@{url}?in=1&out=1")
    client = Client(ledger, [model], make_providers([model]), **options)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    start = loop.time()
    answers = await asyncio.gather(*(client.ask(Request(model.name, str(row), 8)) for row in range(rows)))
    await client.close()
    assert [answer.error for answer in answers if answer.error] == []
    return loop.time() - start


async def undisturbed(ledger: Ledger, rows: int) -> float:
    """The same by a server that refuses nothing: a measure of how busy this machine is."""
    async with MockServer(latency=0.02) as url:
        return await seconds(ledger, url, rows)


@pytest.mark.parametrize("share", [0.05, 0.2])
async def test_random_refusals_hold_back_their_own_calls(tmp_path: Path, share: float) -> None:
    """Refused now and then with a time to wait, a fleet takes little longer than the unlucky rows have to wait."""

    async def attempt(ledger: Ledger) -> bool:
        plain = await undisturbed(ledger, 600)
        server = MockServer(faults=Faults(throttle=share), latency=0.02, pause=0.5, seed=3)
        async with server as url:
            took = await seconds(ledger, url, 600)
        assert server.stats()["faults"]["throttle"] > 20
        return took < 2 * plain + 3.0

    assert await in_one_of_four(attempt, tmp_path)


async def test_rows_that_wait_leave_their_place_to_others(tmp_path: Path) -> None:
    """Where a few rows are asked at a time, those that have to wait for long do not keep others from being asked."""
    assert await in_one_of_four(_few_at_a_time, tmp_path)


async def _few_at_a_time(ledger: Ledger) -> bool:
    plain = await undisturbed(ledger, 400)
    server = MockServer(faults=Faults(throttle=0.1), latency=0.02, pause=2.0, seed=3)
    async with server as url:
        model = resolve(f"openai:m@{url}?in=1&out=1")
        client = Client(ledger, [model], make_providers([model]))
        answered: list[Answer] = []

        async def work(row: int) -> None:
            answered.append(await client.ask(Request(model.name, str(row), 8)))

        start = asyncio.get_running_loop().time()
        await each(range(400), work, workers=8, stop=Stop())
        took = asyncio.get_running_loop().time() - start
        await client.close()
    assert [answer.text is None for answer in answered] == [False] * 400
    return took < 2 * plain + 5.0  # 400 · .1 · 2 s / 8 = 10 s of waiting if they kept their places


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_a_long_wait_is_the_refused_calls_own(share: float) -> None:
    """Calls refused at random that are told to wait ten seconds: all others leave as if nothing had been."""
    random, answered = Random(1), 0

    async def work(pace: Pace) -> None:
        nonlocal answered
        while True:
            turn = await pace.enter()
            refused = random.random() < share
            await asyncio.sleep(0.002 if refused else 0.3)
            pace.leave()
            if refused:
                pace.throttled(turn, 10.0)
                await asyncio.sleep(10.0)
            else:
                pace.succeeded(turn)
                answered += 1

    async def play() -> float:
        pace = Pace(64, Random(0))
        await virtual.crowd(partial(work, pace), 1000, 60)
        return answered / 60

    assert virtual.run(play()) >= 0.85 * 64 / 0.3


class Bad(Scripted):
    """Refuses one call in eight, and says nothing of when to come again."""

    def __init__(self) -> None:
        super().__init__((200, DONE))
        self.random = Random(0)

    def handle(self, call: Call) -> Reply:
        """A completion, or a bare 429."""
        whole = super().handle(call)
        return whole if self.random.random() > 1 / 8 else Reply(reply(429, b"{}"))


async def test_random_refusals_without_a_time(tmp_path: Path) -> None:
    """The same where a 429 does not say for how long."""

    async def attempt(ledger: Ledger) -> bool:
        plain = await undisturbed(ledger, 600)
        async with Bad() as url:
            return await seconds(ledger, url, 600) < 2 * plain + 5.0

    assert await in_one_of_four(attempt, tmp_path)


@pytest.mark.parametrize("named", ["1e300", "inf", "9" * 400, "nan", "-5", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_no_time_to_wait_is_too_long_to_try_again(
    ledger: Ledger, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a server says to wait, it is asked again after a while, and the rows are answered."""
    from smart_llm.client import pace
    from smart_llm.providers import base

    monkeypatch.setattr(base, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(pace, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(pace, "FIRST_PAUSE", 0.05)
    async with Scripted((429, {}, {"Retry-After": named}), (503, {}, {"Retry-After": named}), (200, DONE)) as url:
        assert await asyncio.wait_for(seconds(ledger, url, 3, patience=0.5), 60) < 30.0


@pytest.mark.parametrize("named", ["60", "1e300", None])
async def test_patience_is_not_longer_than_it_was_said_to_be(ledger: Ledger, named: str | None) -> None:
    """A server that does nothing but refuse, and names a minute: after `--patience` seconds the run stops."""
    async with Scripted((429, {}, {"Retry-After": named} if named else {})) as url:
        with pytest.raises(Refused, match="nothing but rate limits for 1 s"):
            await asyncio.wait_for(seconds(ledger, url, 3, patience=1.0), 50)


class Small(Scripted):
    """Refuses requests that are larger than its whole limit, in words that nobody knows, and asks to wait a minute."""

    def __init__(self) -> None:
        super().__init__((200, DONE))

    def handle(self, call: Call) -> Reply:
        """A completion, or a 429."""
        whole = super().handle(call)
        return whole if len(call.body) < 4000 else Reply(reply(429, b'{"error": "no"}', {"Retry-After": "60"}))


@pytest.mark.parametrize("others", [300, 0])
async def test_a_request_far_larger_than_all_others_is_not_waited_for(ledger: Ledger, others: int) -> None:
    """Where all others are answered, it gets a tenth of the patience, and is an error of its own row; also when it is
    the only one left."""
    async with Small() as url:
        model = resolve(f"openai:m@{url}?in=1&out=1")
        client = Client(ledger, [model], make_providers([model]), patience=20.0)
        first = await client.ask(Request(model.name, "first", 8))
        huge = asyncio.create_task(client.ask(Request(model.name, "far too long " * 1000, 8)))
        answers = await asyncio.gather(*(client.ask(Request(model.name, str(row), 8)) for row in range(others)))
        odd = await asyncio.wait_for(huge, 18)  # before its patience is over
        later = await client.ask(Request(model.name, "one more", 8))
        await client.close()
    assert [each.error for each in (first, *answers, later)] == [None] * (others + 2)
    assert str(odd.error).startswith("rate-limited for 2 s")
