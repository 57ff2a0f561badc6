"""A provider that answers from a function: for users' tests and ours, and as `fake:NAME` where no model is needed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

from smart_llm.errors import InputError, named
from smart_llm.types import Answer, Request, Usage

OF_A_PROCESS = "process "
_THIS = f"{OF_A_PROCESS}{secrets.token_hex(8)}"


class FakeProvider:
    """Answers from your function, without a network or a key.

    answer: takes a `Request`, returns the text, a whole `Answer`, or an exception to raise (`Retryable`, `Refused`).
    latency: seconds per call. keep: whether its answers in a ledger are good for later processes too, so that a run can
    be resumed by another one; otherwise a function that has changed meanwhile would be given answers of the old one.
    `calls` counts them. Where you return text or an answer without usage, usage is made up: a token per four bytes.
    """

    @named
    def __init__(
        self, answer: Callable[[Request], str | Answer | Exception], *, latency: float = 0.0, keep: bool = False
    ) -> None:
        if not callable(answer):
            raise InputError(f"FakeProvider: give a function that takes a request, not {type(answer).__name__}.")
        self._answer = answer
        self._latency = latency
        self.keep = keep
        self.calls = 0

    @property
    def at(self) -> str | None:
        """What the keys of its answers say besides the request: this process, unless they are kept."""
        return None if self.keep else _THIS

    async def complete(self, request: Request) -> Answer:
        """Ask your function."""
        self.calls += 1
        if self._latency:
            await asyncio.sleep(self._latency)
        result = self._answer(request)
        if isinstance(result, Exception):
            raise result
        answer = Answer(result) if isinstance(result, str) else result
        if not isinstance(answer, Answer):
            raise InputError(
                f"FakeProvider: the function returned {type(result).__name__}; return a text, a smart.Answer, or an "
                "exception to raise."
            )
        return answer if answer.usage != Usage() else replace(answer, usage=_usage(request, answer.text or ""))

    async def close(self) -> None:
        """Nothing to give up."""


def stand_in(name: str) -> FakeProvider:
    """`fake:NAME`: an instant stand-in whose answer follows from the prompt alone, the same for every name."""
    return FakeProvider(_any_answer, keep=True)


def _any_answer(request: Request) -> str:
    said = "\n".join([*(text for _, text in request.before), request.prompt])
    digest = blake2b(said.encode(), digest_size=8).digest()
    choices = request.labels or ("0", "1")
    return choices[int.from_bytes(digest, "big") % len(choices)]


def _usage(request: Request, text: str) -> Usage:
    sent = sum(len(text.encode()) for _, text in request.turns)
    return Usage(input_tokens=1 + sent // 4, output_tokens=1 + len(text.encode()) // 4)
