"""How many calls a model bears: fewer after a rate limit, more after successes, none during a pause.

On a clock that jumps.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from virtual import virtually

from smart_llm.client.pace import DECREASE, FIRST_CALLS, Pace, Turn


async def pace(ceiling: int) -> Pace:
    """A pace with a random source of its own, which has had answers enough to be at its ceiling."""
    warm = Pace(ceiling, Random(0))
    for _ in range(ceiling):
        turn = await warm.enter()
        warm.leave()
        warm.succeeded(turn)
    return warm


@virtually
async def test_few_calls_leave_before_the_first_answer() -> None:
    """What is not known yet is not overrun; every answer lets one more through, up to the ceiling."""
    new = Pace(64, Random(0))
    assert await admitted(new, 100) == FIRST_CALLS
    assert await admitted(await pace(64), 100) == 64


async def admitted(pace: Pace, tries: int) -> int:
    """How many of these many calls get a turn at once; they are over when this returns."""
    turns = [asyncio.ensure_future(pace.enter()) for _ in range(tries)]
    await asyncio.sleep(0.01)
    done = sum(turn.done() for turn in turns)
    for turn in turns[done:]:
        turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    for _ in range(done):
        pace.leave()
    return done


async def refuse_all(pace: Pace, calls: int) -> None:
    """So many calls leave at once, and all of them meet a rate limit that asks for no wait."""
    turns = [await pace.enter() for _ in range(calls)]
    for turn in turns:
        pace.throttled(turn, 0.0)
        pace.leave()
    await asyncio.sleep(0.001)


@virtually
async def test_one_rate_limit_is_one_decrease() -> None:
    """A burst of rate limits for calls of the same moment counts once; a later one counts again, and for more where
    nearly all of the latest calls were refused."""
    both = await pace(49)
    await refuse_all(both, 49)
    first = await admitted(both, 60)
    assert 49 * DECREASE <= first < 49
    await refuse_all(both, first)
    assert await admitted(both, 60) == pytest.approx(first * DECREASE, abs=1)


@virtually
async def test_a_refusal_among_many_answers_takes_hardly_anything() -> None:
    """A single 429 after many answers neither stops other calls nor makes them fewer."""
    gate = await pace(64)
    gate.throttled(await gate.enter(), 100.0)
    gate.leave()
    assert await admitted(gate, 100) == 64


@virtually
async def test_successes_raise_it_to_the_ceiling_and_no_further() -> None:
    """What was taken comes back with successes."""
    recovering = await pace(8)
    recovering.throttled(await recovering.enter(), 0.0)
    recovering.leave()
    await asyncio.sleep(0.001)
    for _ in range(200):
        recovering.succeeded(Turn())
    assert await admitted(recovering, 20) == 8


@virtually
async def test_it_never_falls_below_one() -> None:
    """However many rate limits, one call at a time goes on."""
    slow = Pace(4, Random(0))  # without answers there is no rate to be found out
    for _ in range(50):
        slow.throttled(await slow.enter(), 0.0)
        slow.leave()
    assert await admitted(slow, 5) == 1


@pytest.mark.parametrize("cancelled", [0, 2, 4])
@virtually
async def test_cancelled_waiters_lose_no_turn(cancelled: int) -> None:
    """Whoever is cancelled, waiting or just admitted, blocks nobody else."""
    gate = await pace(1)
    await gate.enter()
    waiting = [asyncio.ensure_future(gate.enter()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[cancelled].cancel()
    gate.leave()
    waiting[(cancelled + 1) % 5 if cancelled == 0 else 0].cancel()  # admitted, but cancelled before it ran
    for number, turn in enumerate(waiting):
        if not turn.cancelling():
            await asyncio.wait_for(turn, 1)
            gate.leave()
        assert turn.done() or turn.cancelling(), number


@virtually
async def test_the_longest_pause_holds() -> None:
    """Where all calls are refused, a shorter Retry-After does not cut a longer one short."""
    gate = Pace(2, Random(0))
    loop = asyncio.get_running_loop()
    start = loop.time()
    gate.throttled(await gate.enter(), 0.05)
    gate.throttled(Turn(), 0.001)
    gate.leave()
    await gate.enter()
    assert loop.time() - start == pytest.approx(0.05, abs=0.001)
