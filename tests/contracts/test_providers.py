"""What the client may rely on, whoever answers: a suite every provider inherits."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from making import make_provider

from smart_llm.errors import Refused, Retryable
from smart_llm.mock import Faults, MockServer
from smart_llm.providers.base import Provider
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Request

LABELS = ("positive", "negative")
Reaction = Callable[[Request], str | Answer | Exception]
Serving = AbstractAsyncContextManager[tuple[Provider, str]]


class ProviderContract(ABC):
    """Subclass it, say how to serve answers and failures, and get the contract checked."""

    @abstractmethod
    def answering(self, answer: Callable[[str], str]) -> Serving:
        """A provider (and the name of its model) whose model answers prompts with this function."""

    @abstractmethod
    def failing(self) -> Serving:
        """A provider with a passing failure at every call."""

    @abstractmethod
    def throttling(self, seconds: float) -> Serving:
        """A provider that asks to wait at every call."""

    @abstractmethod
    def refusing(self) -> Serving:
        """A provider that refuses all calls for good."""

    async def test_answers_the_prompt(self) -> None:
        """The text is the model's, to the byte, and it is not an error."""
        odd = 'quotes " and \\, newline\n, tab\t, \u2028, 𝕌nicode'
        async with self.answering(lambda prompt: prompt[::-1]) as (provider, model):
            answer = await provider.complete(Request(model, odd, 100))
        assert (answer.text, answer.error, answer.finish) == (odd[::-1], None, "stop")

    async def test_fills_in_usage_not_cost(self) -> None:
        """Usage is what was used; money is the client's business."""
        async with self.answering(lambda _: "yes") as (provider, model):
            short = await provider.complete(Request(model, "short", 9))
            long = await provider.complete(Request(model, "much longer " * 50, 9))
        assert 0 < short.usage.input_tokens < long.usage.input_tokens
        assert short.usage.output_tokens > 0
        assert short.cost == 0

    async def test_answers_many_at_once(self) -> None:
        """Concurrent calls do not mix up their answers."""
        async with self.answering(lambda prompt: f"<{prompt}>") as (provider, model):
            answers = await asyncio.gather(*(provider.complete(Request(model, str(i), 99)) for i in range(40)))
        assert [answer.text for answer in answers] == [f"<{i}>" for i in range(40)]

    async def test_failure_is_retryable(self) -> None:
        """A passing failure says that trying again may help, and is not a rate limit."""
        async with self.failing() as (provider, model):
            with pytest.raises(Retryable) as caught:
                await provider.complete(Request(model, "x", 9))
        assert not caught.value.throttled

    async def test_rate_limit_names_its_time(self) -> None:
        """A rate limit is told apart, with the time to wait."""
        async with self.throttling(0.25) as (provider, model):
            with pytest.raises(Retryable) as caught:
                await provider.complete(Request(model, "x", 9))
        assert caught.value.throttled
        assert caught.value.retry_after == 0.25

    async def test_refusal_stops(self) -> None:
        """A refusal of everything is not one of this row only."""
        async with self.refusing() as (provider, model):
            with pytest.raises(Refused) as caught:
                await provider.complete(Request(model, "x", 9))
        assert not caught.value.row_only

    async def test_closes_twice(self) -> None:
        """Closing twice does no harm."""
        async with self.answering(lambda _: "yes") as (provider, _):
            await provider.close()
            await provider.close()


class TestFakeProvider(ProviderContract):
    """The public fake."""

    @asynccontextmanager
    async def serving(
        self, answer: Callable[[Request], str | Answer | Exception]
    ) -> AsyncIterator[tuple[Provider, str]]:
        """The fake on top of a function."""
        yield FakeProvider(answer), "fake:x"

    def answering(self, answer: Callable[[str], str]) -> Serving:
        """From the function."""
        return self.serving(lambda request: answer(request.prompt))

    def failing(self) -> Serving:
        """By an exception the function returns."""
        return self.serving(lambda _: Retryable("down"))

    def throttling(self, seconds: float) -> Serving:
        """By an exception the function returns."""
        return self.serving(lambda _: Retryable("slow down", throttled=True, retry_after=seconds))

    def refusing(self) -> Serving:
        """By an exception the function returns."""
        return self.serving(lambda _: Refused("no"))


class TestOpenAIProvider(ProviderContract):
    """The OpenAI-compatible provider, over real sockets, against the mock server."""

    dialect = "openai"

    @asynccontextmanager
    async def serving(self, server: MockServer) -> AsyncIterator[tuple[Provider, str]]:
        """Server and provider, both closed at the end."""
        async with server as url:
            model = resolve(f"{self.dialect}:x@{url}?in=1&out=1")
            provider = make_provider(model)
            try:
                yield provider, model.name
            finally:
                await provider.close()

    def answering(self, answer: Callable[[str], str]) -> Serving:
        """The mock answers by the function."""
        return self.serving(MockServer(lambda _, prompt: answer(prompt)))

    def failing(self) -> Serving:
        """Status 500."""
        return self.serving(MockServer(faults=Faults(error=1)))

    def throttling(self, seconds: float) -> Serving:
        """Status 429."""
        return self.serving(MockServer(faults=Faults(throttle=1), pause=seconds))

    def refusing(self) -> Serving:
        """Status 401."""
        return self.serving(MockServer(key="a key we do not have"))


class TestAnthropicProvider(TestOpenAIProvider):
    """Anthropic's Messages API, over real sockets, against the mock server: the same in another dialect."""

    dialect = "anthropic"


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", ["drop", "hang", "broken", "truncated"])
async def test_lost_replies_may_have_been_paid(kind: str, dialect: str) -> None:
    """Whatever is lost on the way back is retryable and counts as possibly paid."""
    async with MockServer(faults=Faults(**{kind: 1}), hang=0.05) as url:
        model = resolve(f"{dialect}:x@{url}?in=1&out=1")
        provider = make_provider(model)
        with pytest.raises(Retryable) as caught:
            await provider.complete(Request(model.name, "x", 9))
        await provider.close()
    assert caught.value.paid
    assert not caught.value.throttled
