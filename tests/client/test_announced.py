"""What is announced is never less than what is in flight, by few notes, however calls come and go.

On a clock that jumps.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest
import virtual
from hypothesis import given
from hypothesis import strategies as st
from virtual import virtually

from smart_llm.client.budget import Announced


class Notes:
    """A ledger that takes a moment. durable: USD announced by notes that are written."""

    def __init__(self, fails: int = -1) -> None:
        self.durable, self.count, self._fails = 0.0, 0, fails

    async def send(self, more: float) -> int:
        """One note."""
        await asyncio.sleep(0.0001)
        self.count += 1
        if self.count == self._fails:
            raise OSError("disk full")
        self.durable += more
        return self.count


@given(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=60), st.integers(0, 2**32))
def test_nothing_leaves_that_is_not_covered(bounds: list[float], seed: int) -> None:
    """Calls of any price, in any number at once: whenever one leaves, the durable notes cover all that are out."""
    random, notes, announced = Random(seed), Notes(), Announced()
    out = 0.0

    async def call(bound: float) -> None:
        nonlocal out
        await asyncio.sleep(0.0001 * random.random())
        if random.random() < 0.7 and not announced.has_room(bound):
            await announced.make_room(bound, notes.send)
        announced.take(bound)
        try:
            if not announced.covers:
                await announced.cover(notes.send)
            out += bound
            assert out <= notes.durable * (1 + 1e-9)
            await asyncio.sleep(0.0001 * random.random())
            out -= bound
        finally:
            announced.give(bound)

    async def calls() -> None:
        await asyncio.gather(*map(call, bounds))

    virtual.run(calls())
    assert sorted(announced.settled()) == list(range(1, notes.count + 1))
    assert announced.settled() == []


@virtually
async def test_few_notes_cover_many_calls() -> None:
    """A thousand calls, sixty-four at a time, need a handful of notes; nothing much is announced beyond them."""
    notes, announced, turns = Notes(), Announced(), asyncio.Semaphore(64)

    async def call() -> None:
        if not announced.has_room(1.0):
            await announced.make_room(1.0, notes.send)
        async with turns:
            announced.take(1.0)
            if not announced.covers:
                await announced.cover(notes.send)
            await asyncio.sleep(0.001)
            announced.give(1.0)

    await asyncio.gather(*(call() for _ in range(1000)))
    assert notes.count <= 12
    assert notes.durable <= 1.25 * 64 + 2 * Announced.AHEAD


@virtually
async def test_a_note_that_cannot_be_written_covers_nothing() -> None:
    """The call does not leave; the next one tries again. Who is cancelled while a note is written leaves it counted."""
    notes, announced = Notes(fails=1), Announced()
    announced.take(1.0)
    with pytest.raises(OSError, match="disk full"):
        await announced.cover(notes.send)
    waiting = asyncio.ensure_future(announced.cover(notes.send))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0.01)
    assert announced.covers
    assert announced.settled() == [2]
