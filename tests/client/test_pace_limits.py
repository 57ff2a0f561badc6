"""Limits per minute, told or hidden: used nearly in full, seldom overstepped. On a clock that jumps."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
import virtual

from smart_llm.client.limits import Allowance, limits_from
from smart_llm.client.limits import Limits as Told
from smart_llm.client.pace import Pace
from smart_llm.mock.limits import Limiter, Limits

REQUESTS, TOKENS = 600, 90_000


class Server:
    """A mock provider's limits without the mock provider. counts: tokens it counts for one of ours."""

    def __init__(self, limits: Limits, counts: float = 1.0) -> None:
        self.limiter = Limiter(limits, asyncio.get_running_loop().time)
        self.counts, self.answered, self.refused = counts, 0, 0
        self._random = Random(1)

    async def call(self, pace: Pace, tokens: float) -> None:
        """One call, tried until it is answered."""
        while True:
            turn = await pace.enter(tokens)
            await asyncio.sleep(0.01 * self._random.random())
            wait = self.limiter.admit(int(tokens * self.counts))
            headers = self.limiter.headers() if wait <= 0 else self.limiter.refusal(wait)
            await asyncio.sleep(0.2 + 0.3 * self._random.random())
            limits = limits_from(headers, 0.0)
            if limits is not None:
                pace.told(turn, limits)
            if wait <= 0:
                pace.leave()
                pace.succeeded(turn)
                self.answered += 1
                return
            after = headers.get("retry-after-ms")
            pace.throttled(turn, float(after) / 1000 if after else None)
            pace.leave()
            self.refused += 1


async def use(limits: Limits, tokens: float, counts: float = 1.0, seconds: float = 240.0) -> tuple[float, float]:
    """Calls answered a minute, and the share of calls that was refused, after a warm-up of half a minute."""
    server, pace = Server(limits, counts), Pace(64, Random(0))

    async def work() -> None:
        while True:
            await server.call(pace, tokens)

    workers = [asyncio.ensure_future(work()) for _ in range(128)]
    await asyncio.sleep(30)
    before, server.refused = server.answered, 0
    await asyncio.sleep(seconds)
    rate = (server.answered - before) / seconds * 60
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return rate, server.refused / (server.answered - before + server.refused)


@pytest.mark.parametrize("burst", [2.0, 10.0, 60.0])
@pytest.mark.parametrize(("tokens", "counts"), [(20.0, 1.0), (600.0, 1.0), (600.0, 0.5), (600.0, 2.5)])
def test_told_limits_are_used_and_kept(burst: float, tokens: float, counts: float) -> None:
    """Requests or tokens, whatever the server counts as a token, however short the bursts it bears: at least 90 % of
    the limit, under 2 % refused."""
    limits = Limits(REQUESTS, TOKENS, burst)
    rate, refused = virtual.run(use(limits, tokens, counts))
    assert rate >= 0.9 * min(REQUESTS, TOKENS / (tokens * counts))
    assert refused < 0.02


@pytest.mark.parametrize("burst", [2.0, 60.0])
@pytest.mark.parametrize("tokens", [20.0, 600.0])
def test_hidden_limits_are_found_out(burst: float, tokens: float) -> None:
    """A server that says nothing but no: at least 75 % of its limit, and most calls are answered."""
    limits = Limits(REQUESTS, TOKENS, burst, headers=False, retry_after=False)
    rate, refused = virtual.run(use(limits, tokens))
    assert rate >= 0.75 * min(REQUESTS, TOKENS / tokens)
    assert refused < 0.1


def test_rate_limits_at_random_do_not_choke_it() -> None:
    """One call in twenty refused for a moment, without end: still as fast as the calls in flight allow."""

    async def play() -> float:
        pace, random, answered = Pace(16, Random(0)), Random(1), 0

        async def work() -> None:
            nonlocal answered
            while True:
                turn = await pace.enter()
                await asyncio.sleep(0.1)
                if random.random() < 0.05:
                    pace.throttled(turn, 0.01)
                else:
                    pace.succeeded(turn)
                    answered += 1
                pace.leave()

        await virtual.crowd(work, 32, 300)
        return answered / 300

    assert virtual.run(play()) >= 0.5 * 16 / 0.1


def test_a_limit_per_day_is_no_limit_per_minute() -> None:
    """Groq tells requests a day under the same name: a day's refill is seen from the time it takes to be full."""

    async def play() -> float:
        pace, loop = Pace(4, Random(0)), asyncio.get_running_loop()
        turn = await pace.enter()
        pace.told(turn, Told(Allowance(14400, 0, 86400.0)))
        pace.leave()
        start = loop.time()
        await pace.enter()
        return loop.time() - start

    assert virtual.run(play()) == pytest.approx(6.0, abs=0.1)


def test_a_call_larger_than_the_bucket_waits_until_it_is_full() -> None:
    """What can never fit is sent when there is most room, not held for ever."""

    async def play() -> float:
        pace, loop = Pace(4, Random(0)), asyncio.get_running_loop()
        turn = await pace.enter(10.0)
        pace.told(turn, Told(None, Allowance(600, 0, 60.0)))
        pace.leave()
        start = loop.time()
        await pace.enter(10_000.0)
        return loop.time() - start

    assert virtual.run(play()) == pytest.approx(60.0, abs=0.1)


@pytest.mark.parametrize("reset", ["9999h", "5h", "1e12s"])
def test_a_limit_that_is_told_for_hours_is_tried_every_minute(reset: str) -> None:
    """A server that answers, and says that nothing more may leave for hours or years: one call a minute asks it."""

    async def use() -> int:
        pace, answered = Pace(64, Random(0)), 0

        async def work() -> None:
            nonlocal answered
            while True:
                turn = await pace.enter(20.0)
                await asyncio.sleep(0.1)
                told = {"limit-requests": "1", "remaining-requests": "0", "reset-requests": reset}
                limits = limits_from({f"x-ratelimit-{name}": text for name, text in told.items()}, 0.0)
                if limits is not None:
                    pace.told(turn, limits)
                pace.leave()
                pace.succeeded(turn)
                answered += 1

        await virtual.crowd(work, 8, 20 * 60)
        return answered

    assert 19 <= virtual.run(use()) <= 26
