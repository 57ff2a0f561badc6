"""How many calls a model bears: fewer after a rate limit, more after successes, none during a pause."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from smart_llm.providers.pace import DECREASE, Pace


def pace(ceiling: int) -> Pace:
    """A pace with a random source of its own."""
    return Pace(ceiling, Random(0))


async def admitted(pace: Pace, tries: int) -> int:
    """How many of these many calls get a turn at once."""
    turns = [asyncio.ensure_future(pace.enter()) for _ in range(tries)]
    await asyncio.sleep(0.01)
    done = sum(turn.done() for turn in turns)
    for turn in turns:
        turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    return done


async def test_one_rate_limit_is_one_decrease() -> None:
    """A burst of rate limits for calls of the same moment counts once; a later one counts again."""
    both = pace(49)
    epochs = [await both.enter() for _ in range(49)]
    for epoch in epochs:
        both.throttled(epoch, 0.0)
        both.leave()
    await asyncio.sleep(0.001)
    assert await admitted(both, 60) == int(49 * DECREASE)
    both = pace(49)
    for _ in range(2):
        both.throttled(await both.enter(), 0.0)
        both.leave()
        await asyncio.sleep(0.001)
    assert await admitted(both, 60) == int(49 * DECREASE**2)


async def test_successes_raise_it_to_the_ceiling_and_no_further() -> None:
    """What was taken comes back with successes."""
    recovering = pace(8)
    recovering.throttled(await recovering.enter(), 0.0)
    recovering.leave()
    await asyncio.sleep(0.001)
    for _ in range(200):
        recovering.succeeded()
    assert await admitted(recovering, 20) == 8


async def test_it_never_falls_below_one() -> None:
    """However many rate limits, one call at a time goes on."""
    slow = pace(4)
    for _ in range(50):
        slow.throttled(await slow.enter(), 0.0)
        slow.leave()
    assert await admitted(slow, 5) == 1


@pytest.mark.parametrize("cancelled", [0, 2, 4])
async def test_cancelled_waiters_lose_no_turn(cancelled: int) -> None:
    """Whoever is cancelled, waiting or just admitted, blocks nobody else."""
    gate = pace(1)
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


async def test_the_longest_pause_holds() -> None:
    """A shorter Retry-After does not cut a longer one short."""
    gate = pace(2)
    loop = asyncio.get_running_loop()
    start = loop.time()
    gate.throttled(await gate.enter(), 0.05)
    gate.throttled(0, 0.001)
    gate.leave()
    await gate.enter()
    assert loop.time() - start >= 0.049
