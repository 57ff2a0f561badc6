"""Clients as they are: official SDKs, plain HTTP and a framework ask a route, and only the base URL and the name of the
model tell them from before."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from gateways import REVIEWS, Served, mocking, serving
from later import anthropic, openai

CHAT: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Good film?"}]
TALK: list[Any] = [
    {"role": "user", "content": [{"type": "text", "text": "Good "}, {"type": "text", "text": "film?"}]},
    {"role": "assistant", "content": "positive"},
    {"role": "user", "content": "And this one?"},
]
LABELS = ("positive", "negative")
NUMBERS = """
[route.stars]
answer = "number"
reference = "openai:big@{url}?in=10&out=10"
candidates = ["openai:small@{url}?in=1&out=1"]
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway for all clients."""
    folder = tmp_path_factory.mktemp("gateway")
    with mocking(errors={"small": 0.1}) as mock, serving(folder, (REVIEWS + NUMBERS).format(url=mock.url)) as served:
        yield served


@pytest.fixture
def base(served: Served) -> str:
    """What OpenAI's SDK is told."""
    return f"{served.url}/v1"


def test_openai_sdk(base: str) -> None:
    """OpenAI's SDK gets an answer that is one of the labels, with usage, and a field that says who answered."""
    with openai.OpenAI(api_key="any", base_url=base, max_retries=0) as client:
        reply = client.chat.completions.with_raw_response.create(model="smart/reviews", messages=CHAT, temperature=0)
        completion = reply.parse()
        assert completion.choices[0].message.content in LABELS
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage is not None
        assert completion.usage.prompt_tokens > 0
        smart = completion.model_extra["smart"]
        assert smart["answered_by"].startswith("openai:")
        assert reply.headers["x-smart-answered-by"] == smart["answered_by"]
        assert int(reply.headers["x-smart-window"]) == smart["window"] == 1
        assert [model.id for model in client.models.list()] == ["smart/reviews", "smart/stars"]


def test_openai_sdk_streams(base: str) -> None:
    """A stream brings the same text as a plain call, a reason to finish, and usage where it was asked for."""
    with openai.OpenAI(api_key="any", base_url=base, max_retries=0) as client:
        plain = client.chat.completions.create(model="smart/reviews", messages=TALK)
        chunks = list(
            client.chat.completions.create(
                model="smart/reviews", messages=TALK, stream=True, stream_options={"include_usage": True}
            )
        )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == plain.choices[0].message.content
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert chunks[-1].usage is not None


async def test_openai_sdk_async(base: str) -> None:
    """The asynchronous SDK as well, plain and streamed."""
    async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as client:
        plain = await client.chat.completions.create(model="smart/reviews", messages=CHAT)
        stream = await client.chat.completions.create(model="smart/reviews", messages=CHAT, stream=True)
        text = "".join([c.delta.content or "" async for chunk in stream for c in chunk.choices])
    assert text == plain.choices[0].message.content


def test_anthropic_sdk(served: Served) -> None:
    """Anthropic's SDK gets the same, plain and streamed."""
    with anthropic.Anthropic(api_key="any", base_url=served.url, max_retries=0) as client:
        ask: dict[str, Any] = {"model": "smart/reviews", "max_tokens": 50, "messages": TALK, "system": "Be brief."}
        message = client.messages.create(**ask)
        [block] = message.content
        assert block.type == "text"
        assert block.text in LABELS
        assert message.stop_reason == "end_turn"
        assert message.model_extra is not None
        assert message.model_extra["smart"]["route"] == "reviews"
        with client.messages.stream(**ask) as stream:
            assert "".join(stream.text_stream) == block.text
            assert stream.get_final_message().usage.output_tokens > 0


async def test_anthropic_sdk_async(served: Served) -> None:
    """The asynchronous SDK as well."""
    async with anthropic.AsyncAnthropic(api_key="any", base_url=served.url, max_retries=0) as client:
        ask: dict[str, Any] = {"model": "smart/reviews", "max_tokens": 50, "messages": TALK[-1:]}
        message = await client.messages.create(**ask)
        async with client.messages.stream(**ask) as stream:
            text = "".join([piece async for piece in stream.text_stream])
    assert [getattr(block, "text", None) for block in message.content] == [text]


async def test_a_framework(base: str) -> None:
    """pydantic-ai asks a route as any model, plain and streamed."""
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with openai.AsyncOpenAI(api_key="any", base_url=base) as client:
        agent = Agent(
            OpenAIChatModel("smart/reviews", provider=OpenAIProvider(openai_client=client)), instructions="Be brief."
        )
        assert (await agent.run("Good film?")).output in LABELS
        async with agent.run_stream("Good film?") as stream:
            assert await stream.get_output() in LABELS


async def test_langchain(base: str) -> None:
    """LangChain asks a route as any model: plain, streamed, in a chain, several at a time, and asynchronously."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="smart/reviews", base_url=base, api_key="any", max_retries=0)  # type: ignore[arg-type]
    reply = await asyncio.to_thread(model.invoke, [("system", "Be brief."), ("user", "Good film?")])
    assert reply.content in LABELS
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] > 0
    chain = ChatPromptTemplate.from_messages([("user", "Positive or negative? {text}")]) | model | StrOutputParser()
    assert {*await asyncio.to_thread(chain.batch, [{"text": f"Film {i}."} for i in range(6)])} <= {*LABELS}
    assert "".join(await asyncio.to_thread(lambda: list(chain.stream({"text": "A joy."})))) in LABELS
    assert await chain.ainvoke({"text": "A bore."}) in LABELS
    assert "".join([piece async for piece in chain.astream({"text": "Neither."})]) in LABELS
    model.root_client.close()
    await model.root_async_client.close()


def test_plain_http(served: Served) -> None:
    """A plain client gets headers that say who answered; the same question again is answered alike."""
    first, again = served.chat("A film, 1"), served.chat("A film, 1")
    assert first.status == again.status == 200
    assert first.json["choices"] == again.json["choices"]
    assert first.headers["x-smart-route"] == "reviews"
    assert first.headers["x-smart-audited"] in ("true", "false")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_curl(served: Served) -> None:
    """The command line of the manual is answered, plain and streamed, in both dialects; and it is said to be well."""

    def curl(path: str, **fields: Any) -> str:
        body = ("-d", json.dumps({"model": "smart/reviews", "messages": CHAT[1:], **fields})) if fields else ()
        done = subprocess.run(["curl", "-sS", served.url + path, *body], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(curl("/v1/chat/completions", max_tokens=8))["choices"][0]["message"]["content"] in LABELS
    assert curl("/v1/chat/completions", stream=True).endswith("data: [DONE]\n\n")
    assert json.loads(curl("/v1/messages", max_tokens=8))["content"][0]["text"] in LABELS
    assert "event: message_stop" in curl("/v1/messages", max_tokens=8, stream=True)
    assert json.loads(curl("/healthz")) == {"status": "ok"}


def test_errors_are_the_sdks_own(served: Served, base: str) -> None:
    """What is refused reaches a program as the SDK's own exception, in a sentence that says what to do."""
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}
    image: Any = [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://a/b.png"}}]}]
    with openai.OpenAI(api_key="any", base_url=base, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="Did you mean reviews"):
            client.chat.completions.create(model="smart/review", messages=CHAT)
        with pytest.raises(openai.BadRequestError, match="tools are not supported"):
            client.chat.completions.create(model="smart/reviews", messages=CHAT, tools=[tool])
    with (
        anthropic.Anthropic(api_key="any", base_url=served.url, max_retries=0) as other,
        pytest.raises(anthropic.BadRequestError, match="only text is"),
    ):
        other.messages.create(model="smart/reviews", max_tokens=9, messages=image)
