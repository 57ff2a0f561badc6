"""Providers that users bring: what they give back is looked at, and mistakes are said in a sentence."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

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
