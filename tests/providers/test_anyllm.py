"""The long tail through any-llm: tested with a stand-in of its interface, and with the package where it is installed.

The package cannot be locked together with the SDK the contract tests need (it pins `anthropic<1`), so the stand-in is
what runs by default; both talk to one local server.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
from later import openai
from making import make_provider

from smart_llm.errors import InputError, ProviderError, Refused, Retryable
from smart_llm.mock.scripted import Scripted
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Request, Usage

KEY = "sk-a-very-secret-key"
REPLY: dict[str, Any] = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "command-a-03",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 40},
    },
}


class AnyLLMError(Exception):
    """The stand-in's errors bear what any-llm's bear."""

    def __init__(self, message: str, status_code: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.message, self.status_code, self.retry_after = message, status_code, retry_after


class UnsupportedParameterError(AnyLLMError):
    """An SDK without a count of retries."""


class UnsupportedProviderError(AnyLLMError):
    """A provider nobody knows."""


class AnyLLM:
    """As much of any-llm's class as is used, on top of OpenAI's SDK."""

    ENV_API_KEY_NAME = "OPENAI_API_KEY"

    def __init__(self, retries: int) -> None:
        self.client = openai.AsyncOpenAI(max_retries=retries)

    @classmethod
    def create(cls, provider: str, *, unified_exceptions: bool, max_retries: int | None = None) -> AnyLLM:
        """`noretry` has no count of retries to set."""
        assert unified_exceptions
        if provider not in ("openai", "noretry"):
            raise UnsupportedProviderError(f"'{provider}' is not a supported provider.")
        if provider == "noretry" and max_retries is not None:
            raise UnsupportedParameterError("no retries")
        return cls(max_retries or 0)

    async def acompletion(self, **given: Any) -> Any:
        """A call, its errors made any-llm's."""
        try:
            return await self.client.chat.completions.create(**given)
        except openai.APIStatusError as error:
            wait = error.response.headers.get("retry-after") if error.status_code == 429 else None
            raise AnyLLMError(str(error), error.status_code, wait) from error
        except openai.APIConnectionError as error:
            raise AnyLLMError(str(error)) from error


@pytest.fixture(params=["stand-in", "any_llm"], autouse=True)
def _package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in, or the package itself."""
    if request.param == "any_llm":
        if find_spec("any_llm") is None:
            pytest.skip("any-llm is not installed: it cannot be locked together with the SDKs tested against")
    else:
        module = ModuleType("any_llm")
        for each in (AnyLLM, AnyLLMError, UnsupportedParameterError):
            setattr(module, each.__name__, each)
        monkeypatch.setitem(sys.modules, "any_llm", module)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def ask(server: Scripted, *, query: str = "", **fields: Any) -> Answer:
    """One answer, by way of any-llm's `openai` provider."""
    async with server as url:
        os.environ["OPENAI_BASE_URL"] = url
        try:
            model = resolve(f"anyllm:openai/command-a?in=1&out=1{query}")
            provider = make_provider(model)
            try:
                return await provider.complete(Request(model.name, "hello", 7, **fields))
            finally:
                await provider.close()
        finally:
            os.environ.pop("OPENAI_BASE_URL")


async def test_an_answer_comes_through() -> None:
    """Text, usage and snapshot are mapped, and the request asks for what was asked."""
    server = Scripted((200, REPLY))
    answer = await ask(server, system="be brief", schema='{"type":"object","properties":{}}', logprobs=True)
    assert answer == Answer("yes", Usage(100, 50, 64, 40), finish="stop", snapshot="command-a-03")
    body = server.bodies[0]
    assert body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert (body["model"], body["temperature"]) == ("command-a", 0.0)
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 7
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object", "properties": {}}


async def test_effort_and_room_come_through() -> None:
    """How much to think is passed on, with room for it and no temperature."""
    server = Scripted((200, REPLY))
    await ask(server, query="&effort=low&thinking=100")
    body = server.bodies[0]
    assert body["reasoning_effort"] == "low"
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 107
    assert "temperature" not in body


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, Refused, "does not accept the key"),
        (402, Refused, "quota or credit"),
        (404, Refused, "does not know this model"),
        (400, Refused, "refuses the request"),
        (429, Retryable, "slow down"),
        (500, Retryable, "500"),
    ],
)
async def test_errors_mean_what_they_mean(status: int, kind: type[ProviderError], says: str) -> None:
    """any-llm's errors become ours after one single attempt, and the key any-llm used is not quoted."""
    body = {"error": {"message": f"no: {KEY}", "type": "x", "code": None, "param": None}}
    server = Scripted((status, body, {"Retry-After": "3"}))
    with pytest.raises(kind, match=says) as caught:
        await ask(server)
    assert KEY not in str(caught.value)
    assert len(server.calls) == 1  # its own retries are off: every paid attempt is ours to record
    if isinstance(caught.value, Retryable):
        assert caught.value.throttled is (status == 429)
        assert caught.value.retry_after == (3 if status == 429 else None)  # any-llm keeps it of rate limits only


def test_a_provider_it_does_not_know_is_told() -> None:
    """What any-llm says of a provider it cannot make is bad input, in one line."""
    with pytest.raises(InputError, match=r"any-llm says: .*nobody") as caught:
        make_provider(resolve("anyllm:nobody/m?in=1&out=1"))
    assert "\n" not in str(caught.value)


def test_an_sdk_without_a_count_of_retries_is_used(request: pytest.FixtureRequest) -> None:
    """Where the SDK beneath has no retries to turn off, it is used as it is."""
    if "any_llm" in request.node.name:
        pytest.skip("needs the stand-in")
    assert make_provider(resolve("anyllm:noretry/m?in=1&out=1"))


def test_without_the_package_two_lines_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed: what happened and the command that helps."""
    monkeypatch.setitem(sys.modules, "any_llm", None)
    with pytest.raises(InputError) as caught:
        make_provider(resolve("anyllm:cohere/command-a?in=1&out=1"))
    assert str(caught.value).splitlines() == [
        "Model anyllm:cohere/command-a: the any-llm package is not installed.",
        "Install it with what this provider needs: pip install 'any-llm-sdk[cohere]'",
    ]


def test_a_model_has_a_provider_in_it() -> None:
    """The name says whose model it is."""
    with pytest.raises(InputError, match="anyllm:PROVIDER/MODEL"):
        make_provider(resolve("anyllm:command-a?in=1&out=1"))
