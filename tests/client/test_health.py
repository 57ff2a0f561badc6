"""Whether failures are a row's own, or those of a model that fails on many."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm.client.health import FINE, Health, Trials

TRIES = 8


def failures_until_own(health: Health) -> int:
    """After how many failures a row is given up, alone with a model that has answered others since it began to fail."""
    trials = Trials()
    trials.failed(0.0, health)
    health.reacted(1.0)
    for count in range(2, 200):
        trials.failed(float(count), health)
        if trials.own(health, TRIES):
            return count
    return 200


def seen(answered: list[bool]) -> Health:
    """A model some of whose requests were answered at the first try."""
    health = Health("m", 600.0)
    for each in answered:
        health.began(answered=each)
    health.reacted(0.5)
    return health


@pytest.mark.parametrize("requests", range(4, 16))
async def test_few_requests_say_little_of_a_flaky_model(requests: int) -> None:
    """Where a third of few requests has failed, half of all may: a row is not given up before 15 failures."""
    health = seen([place % 3 != 0 for place in range(requests)])
    assert failures_until_own(health) >= 15


@pytest.mark.parametrize("requests", [5, 20, 64, 500])
async def test_a_sound_model_is_believed(requests: int) -> None:
    """Where every request was answered, a row that fails is given up after the eight tries and little more."""
    assert failures_until_own(seen([True] * requests)) <= TRIES + 3


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), max_size=200))
async def test_no_row_is_tried_without_end(answered: list[bool]) -> None:
    """Whatever was seen: more than the tries, at most 34 failures; no more is believed than was seen."""
    health = seen(answered)
    assert 0.0 < health.believed <= max(0.25, health.share) <= FINE
    assert TRIES < failures_until_own(health) <= 34
