"""What a call is reserved at covers all it may cost: thoughts, cache writes, and prompts long enough to cost more."""

from __future__ import annotations

from random import Random

import pytest

from smart_llm.client.lane import Lane
from smart_llm.client.pace import Pace
from smart_llm.providers.fake import stand_in
from smart_llm.types import LongPrices, Model, Rate, Request, Usage


@pytest.mark.parametrize("thinking", [0, 1000])
def test_room_to_think_is_reserved(thinking: int) -> None:
    """The dearest call there can be: every byte a token written to the cache, every token of room thought."""
    rate = Rate(1, 10, 0.1, written=1.25, long=(LongPrices(50, 2, 20, 0.2, 2.5),))
    lane = Lane(Model("m", "openai", "m", rate, thinking=thinking), stand_in("m"), Pace(1, Random(0)))
    request = Request("m", "é" * 200, 7)
    dearest = rate.cost(Usage(400, 7 + thinking, written_tokens=400))
    assert dearest == pytest.approx(2 * (400 * 1.25 + 10 * (7 + thinking)) / 1e6)
    assert lane.bound(request, 120.0) >= dearest
