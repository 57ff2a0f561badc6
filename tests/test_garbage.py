"""The garbage collector while a run lasts."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.garbage import RARELY, rarely


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """What was set before is set again afterwards."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_rounds_are_rare_and_then_as_before() -> None:
    """Inside the block, and inside one that begins in it and ends after it."""
    first, second = rarely(), rarely()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == RARELY
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("chosen", [(0, 10, 10), (100_000, 5, 5)])
def test_what_the_user_has_set_stays(chosen: tuple[int, int, int]) -> None:
    """A collector that is off, or rarer still, is left alone."""
    gc.set_threshold(*chosen)
    with rarely():
        assert gc.get_threshold() == chosen
    assert gc.get_threshold() == chosen


def test_a_run_leaves_the_collector_as_it_was(tmp_path: Path) -> None:
    """While a run asks, rounds are rare; when it has ended, all is as before."""
    seen = []

    def said(request: smart.Request) -> str:
        seen.append(gc.get_threshold())
        return "yes"

    fake = smart.FakeProvider(said)
    task = smart.Task("{text}?", labels=["yes", "no"])
    smart.run(
        [{"text": "a"}],
        task,
        reference="fake:a?in=1&out=1",
        candidates=[],
        procedure="reference-only",
        providers={"fake:a": fake},
        ledger=tmp_path / "l.db",
    )
    assert set(seen) == {RARELY}
    assert gc.get_threshold() == (700, 10, 10)
