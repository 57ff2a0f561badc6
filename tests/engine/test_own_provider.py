"""Providers that users bring: what they give back is looked at, and mistakes are said in a sentence."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.types import Answer, Request


class NotAsync:
    """A provider whose author forgot a word."""

    def complete(self, request: Request) -> Answer:
        """Too early."""
        return Answer("yes")

    async def close(self) -> None:
        """Nothing to close."""


class NoAnswer:
    """A provider that returns a text alone."""

    async def complete(self, request: Request) -> str:
        """Too little."""
        return "yes"

    async def close(self) -> None:
        """Nothing to close."""


class Passing:
    """A provider that passes on what another one will say, without a word of its own."""

    def __init__(self) -> None:
        self.inner = smart.FakeProvider(lambda _: "yes")

    def complete(self, request: Request) -> Awaitable[Answer]:
        """What the other one will say."""
        return self.inner.complete(request)

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        (NotAsync(), "NotAsync.*is not async.*async def complete"),
        (NoAnswer(), "gives a str.*smart.Answer"),
        (Passing(), ""),
    ],
    ids=["not async", "no answer", "passing on"],
)
def test_a_provider_of_ones_own_keeps_to_the_seam(provider: Any, words: str, tmp_path: Path) -> None:
    """What it gives back is looked at, and a sentence says what to write."""

    def go() -> object:
        return smart.run(
            [{"text": f"row {i}"} for i in range(30)],
            smart.Task("Yes or no? {text}", labels=["yes", "no"]),
            reference="fake:big?in=1&out=1",
            candidates=["fake:small?in=0.1&out=0.1"],
            providers={"fake:big": smart.FakeProvider(lambda _: "yes"), "fake:small": provider},
            ledger=tmp_path / "l.db",
        )

    if not words:
        go()
        return
    with pytest.raises(InputError, match=words):
        go()


INF, NAN = float("inf"), float("nan")
HALF = "\ud800"
SAID = smart.Usage(10, 2)
ODD: dict[str, dict[str, Any]] = {
    "minus infinity": {"logprobs": (("yes", -INF),)},
    "infinity": {"logprobs": (("yes", INF),)},
    "not a number": {"logprobs": (("yes", NAN),)},
    "too low to be added up": {"logprobs": (("y", -1e308), ("es", -1e308))},
    "numpy's": {"logprobs": (("y", np.float32(-0.1)), ("es", np.float64(-0.1)))},
    "text for a number": {"logprobs": (("yes", "-0.1"),)},
    "bytes for a token": {"logprobs": ((b"yes", -0.1),)},
    "half a character": {"logprobs": ((HALF, -0.1),), "text": f"yes{HALF}", "snapshot": HALF, "finish": HALF},
    "no pairs": {"logprobs": (("yes",), None)},
    "no log-probabilities": {"logprobs": None, "listed": None},
    "listed minus infinity": {"logprobs": (("yes", -0.1),), "listed": ((("no", -INF), ("maybe", -3.0)),)},
    "listed nothing": {"logprobs": (("yes", -0.1),), "listed": (None,)},
    "no snapshot, no end": {"snapshot": None, "finish": None},
    "half a token": {"usage": smart.Usage(1.5, 2.5)},  # type: ignore[arg-type]
    "no number of tokens": {"usage": smart.Usage(NAN, None)},  # type: ignore[arg-type]
    "numpy's tokens": {"usage": smart.Usage(np.int64(3), np.int64(1))},  # type: ignore[arg-type]
    "no end of seconds": {"usage": smart.Usage(1, 1, cpu_seconds=INF)},
}


def odd_run(path: Path, odd: dict[str, Any], which: str, kind: dict[str, Any]) -> smart.Run[Any]:
    """A run of which one model answers like that."""

    def answer(request: Request) -> Answer:
        return Answer(**{"text": "yes", "usage": SAID, **(odd if request.model == which else {})})

    return smart.run(
        [{"text": f"row {i}"} for i in range(40)],
        smart.Task("Yes or no? {text}", **kind),
        reference="fake:big?in=10&out=10",
        candidates=["fake:small?in=0.1&out=0.1"],
        agreement=0.6,
        confidence=0.6,
        providers={name: smart.FakeProvider(answer, keep=True) for name in ("fake:big", "fake:small")},
        ledger=path / "l.db",
    )


@pytest.mark.parametrize(
    ("which", "kind"),
    [("fake:small", {"labels": ["yes", "no"]}), ("fake:big", {"answer": "text"})],
    ids=["candidate, labels", "reference, text"],
)
@pytest.mark.parametrize("name", ODD)
def test_what_is_recorded_can_be_read_again(name: str, which: str, kind: dict[str, Any], tmp_path: Path) -> None:
    """Whatever stands beside an answer, the run verifies, and running it again takes it up: no answer that the ledger
    cannot give back, no score that does not come out as it was recorded (and so no second try in another order)."""
    done = odd_run(tmp_path, ODD[name], which, kind)
    assert smart.verify(done) == []
    again = odd_run(tmp_path, ODD[name], which, kind)
    assert (again.run_id, again.certificate) == (done.run_id, done.certificate)


@pytest.mark.parametrize("odd", [{"text": 1}, {"text": b"yes"}, {"usage": None}, {"error": 3, "text": None}], ids=str)
def test_what_is_no_answer_is_said_in_a_sentence(odd: dict[str, Any], tmp_path: Path) -> None:
    """It names the provider, the field, and what belongs there."""
    with pytest.raises(InputError, match=rf"FakeProvider, for fake:small, .*{next(iter(odd))} is .*must be a"):
        odd_run(tmp_path, odd, "fake:small", {"labels": ["yes", "no"]})
