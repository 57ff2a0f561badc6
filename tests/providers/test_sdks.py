"""Against the official SDKs: both send equal JSON to one server for the same request, and read the same in a reply."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from later import anthropic, openai

from smart_llm.mock.scripted import Scripted
from smart_llm.providers import messages, replies
from smart_llm.providers.anthropic import AnthropicProvider
from smart_llm.providers.openai import OpenAIProvider
from smart_llm.types import Model, Rate, Request

Given = dict[str, Any]

SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "number"}, "why": {"type": "string"}},
    "required": ["sum", "why"],
    "additionalProperties": False,
}
JSON = msgspec.json.encode(SCHEMA).decode()
LONG = "Read “carefully” \\ and\n\t𝕌nicode. " * 100
ODD = 'A "quoted" row \\ with\n\u2028 all of it: é 日本 𝕌 \x7f'

TOP: list[dict[str, Any]] = [
    {"token": "ye", "logprob": -0.25, "bytes": None},
    {"token": "n", "logprob": -1.5, "bytes": [110]},
]
CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5.2-2025-12-11",
    "service_tier": "default",
    "system_fingerprint": "fp",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "yes", "refusal": None, "annotations": []},
            "logprobs": {
                "content": [
                    {"token": "ye", "logprob": -0.25, "bytes": [121, 101], "top_logprobs": TOP},
                    {"token": "s", "logprob": -0.001, "bytes": None, "top_logprobs": []},
                ],
                "refusal": None,
            },
        }
    ],
    "usage": {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 80, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0, "accepted_prediction_tokens": 0},
    },
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "ye", "citations": None},
        {"type": "text", "text": "s"},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "stop_details": None,
    "usage": {
        "input_tokens": 6,
        "cache_creation_input_tokens": 80,
        "cache_read_input_tokens": 1920,
        "cache_creation": {"ephemeral_5m_input_tokens": 80, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 300,
        "output_tokens_details": {"thinking_tokens": 256},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": "eu",
    },
}


def listed_by(choice: Any) -> tuple[tuple[tuple[str, float], ...], ...]:
    """What the SDK holds of the alternatives to each token, without the token itself."""
    places = []
    for place in (choice.logprobs and choice.logprobs.content) or []:
        others = sorted([t for t in place.top_logprobs if t.token != place.token], key=lambda t: -t.logprob)
        places.append(tuple([(t.token, round(t.logprob, 5)) for t in others]))
    return tuple(places) if any(places) else ()


def chat(model: str, prompt: Any, **given: Any) -> dict[str, Any]:
    """Arguments of `chat.completions.create`."""
    system = given.pop("system", None)
    head = [{"role": "system", "content": system}] if system else []
    return {"model": model, "messages": [*head, {"role": "user", "content": prompt}], **given}


FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
BREAK = {"prompt_cache_breakpoint": {"mode": "explicit"}}
EXPLICIT = {"prompt_cache_options": {"mode": "explicit"}}
PARTS = [{"type": "text", "text": LONG, **BREAK}, {"type": "text", "text": ODD}]

CHATS = [
    ("gpt-4.1-mini", {}, {}, chat("gpt-4.1-mini", ODD, max_tokens=9, temperature=0.0)),
    (
        "gpt-4.1-mini",
        {},
        {"system": LONG, "logprobs": True, "temperature": 0.7, "labels": ("a", "b")},
        chat("gpt-4.1-mini", ODD, system=LONG, max_tokens=9, temperature=0.7, logprobs=True, top_logprobs=5),
    ),
    (
        "gpt-4.1-mini",
        {},
        {"schema": JSON},
        chat("gpt-4.1-mini", ODD, max_tokens=9, temperature=0.0, response_format=FORMAT),
    ),
    (
        "gpt-5.2",
        {"effort": "high", "thinking": 16384},
        {"logprobs": True, "schema": JSON},
        chat("gpt-5.2", ODD, max_completion_tokens=16393, reasoning_effort="high", response_format=FORMAT),
    ),
    (
        "gpt-5.2",
        {"effort": "none"},
        {"logprobs": True},
        chat("gpt-5.2", ODD, max_completion_tokens=9, reasoning_effort="none", temperature=0.0, logprobs=True),
    ),
    (
        "gpt-6.1-terra",
        {"prefix": LONG},
        {"prompt": LONG + ODD},
        chat("gpt-6.1-terra", PARTS, max_completion_tokens=9, **EXPLICIT),
    ),
    ("gpt-6.1-terra", {}, {}, chat("gpt-6.1-terra", ODD, max_completion_tokens=9, **EXPLICIT)),
]


@pytest.mark.parametrize(("model", "means", "fields", "arguments"), CHATS)
async def test_openai_sdk_and_we_send_the_same(
    model: str,
    means: dict[str, Any],
    fields: dict[str, Any],
    arguments: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For the same request, OpenAI's SDK and our encoder send equal JSON to the same address with the same key."""
    request = Request("m", **{"prompt": ODD, "max_tokens": 9, **fields})
    named = Model("m", "openai", model, Rate(), effort=means.get("effort"), thinking=means.get("thinking", 0))
    async with (server := Scripted((200, CHAT))) as url:
        monkeypatch.setattr(OpenAIProvider, "own", url.split("/")[2])  # known by name as at OpenAI's own address
        provider = OpenAIProvider(url, [named], key="k", prefix=means.get("prefix", ""))
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
            reply = await client.chat.completions.create(**arguments)
            answer = await provider.complete(request)
        await provider.close()
    theirs, ours = server.bodies
    assert ours == theirs
    assert [call.path for call in server.calls] == ["/v1/chat/completions"] * 2
    assert len({call.header("authorization") for call in server.calls}) == 1
    assert answer.text == reply.choices[0].message.content


def said(model: str, prompt: Any, **given: Any) -> dict[str, Any]:
    """Arguments of `messages.create`."""
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 9, **given}


CACHE = {"cache_control": {"type": "ephemeral"}}
MESSAGES = [
    ("claude-opus-5-5", {}, {}, said("claude-opus-5-5", ODD)),
    ("claude-opus-5-5", {}, {"system": "be brief", "labels": ("a", "b"), "logprobs": True},
     said("claude-opus-5-5", ODD, system="be brief")),
    ("claude-opus-5-5", {}, {"schema": JSON},
     said("claude-opus-5-5", ODD, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})),
    ("claude-opus-5-5", {"effort": "low", "thinking": 100}, {},
     said("claude-opus-5-5", ODD, max_tokens=109, thinking={"type": "adaptive"}, output_config={"effort": "low"})),
    ("claude-sonnet-5-5", {"effort": "none"}, {}, said("claude-sonnet-5-5", ODD, thinking={"type": "between_tools"})),
    ("claude-haiku-4-5", {}, {}, said("claude-haiku-4-5", ODD, extra_body={"temperature": 0.0})),
    ("claude-opus-5-5", {}, {"system": LONG},
     said("claude-opus-5-5", ODD, system=[{"type": "text", "text": LONG, **CACHE}])),
    ("claude-opus-5-5", {"prefix": LONG}, {"prompt": LONG + ODD, "system": "s"},
     said("claude-opus-5-5", [{"type": "text", "text": LONG, **CACHE}, {"type": "text", "text": ODD}], system="s")),
]  # fmt: skip


@pytest.mark.parametrize(("model", "means", "fields", "arguments"), MESSAGES)
async def test_anthropic_sdk_and_we_send_the_same(model: str, means: Given, fields: Given, arguments: Given) -> None:
    """For the same request, Anthropic's SDK and our encoder send equal JSON to one address, in the same version."""
    request = Request("m", **{"prompt": ODD, "max_tokens": 9, **fields})
    named = Model("m", "anthropic", model, Rate(), effort=means.get("effort"), thinking=means.get("thinking", 0))
    async with (server := Scripted((200, MESSAGE))) as url:
        provider = AnthropicProvider(url, [named], key="k", prefix=means.get("prefix", ""))
        async with anthropic.AsyncAnthropic(api_key="k", base_url=url.removesuffix("/v1"), max_retries=0) as client:
            reply = await client.messages.create(**arguments)
            answer = await provider.complete(request)
        await provider.close()
    theirs, ours = server.bodies
    assert ours == theirs
    assert [call.path for call in server.calls] == ["/v1/messages"] * 2
    versions = [call.header("anthropic-version") for call in server.calls]
    assert versions[0] == versions[1] or "temperature" in ours  # which the SDK's version no longer knows
    assert answer.text == "".join(block.text for block in reply.content if block.type == "text")


def test_chat_completions_read_alike() -> None:
    """What OpenAI's own types hold after reading a reply, our decoder reads of it, before and after a round trip."""
    theirs = openai.types.chat.ChatCompletion.model_validate(CHAT)
    for data in (msgspec.json.encode(CHAT), theirs.model_dump_json().encode(), theirs.to_json().encode()):
        ours = replies.answer(data)
        choice, usage = theirs.choices[0], theirs.usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        assert usage.completion_tokens_details is not None
        assert choice.logprobs is not None
        assert (ours.text, ours.finish, ours.snapshot) == (choice.message.content, choice.finish_reason, theirs.model)
        assert ours.logprobs == tuple((each.token, each.logprob) for each in choice.logprobs.content or ())
        assert ours.listed == listed_by(choice) == ((("n", -1.5),), ())
        assert (ours.usage.input_tokens, ours.usage.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
        assert ours.usage.cached_tokens == usage.prompt_tokens_details.cached_tokens
        assert ours.usage.written_tokens == usage.prompt_tokens_details.cache_write_tokens
        assert ours.usage.reasoning_tokens == usage.completion_tokens_details.reasoning_tokens


def test_messages_read_alike() -> None:
    """What Anthropic's own types hold after reading a reply, our decoder reads of it, before and after a round trip."""
    theirs = anthropic.types.Message.model_validate(MESSAGE)
    for data in (msgspec.json.encode(MESSAGE), theirs.model_dump_json().encode(), theirs.to_json().encode()):
        ours = messages.answer(data)
        usage = theirs.usage
        assert usage.output_tokens_details is not None
        assert ours.text == "".join(block.text for block in theirs.content if block.type == "text")
        assert (ours.finish, ours.snapshot) == ("stop", theirs.model)
        assert ours.usage.cached_tokens == usage.cache_read_input_tokens
        assert ours.usage.written_tokens == usage.cache_creation_input_tokens
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        assert ours.usage.input_tokens == usage.input_tokens + read + written
        assert ours.usage.output_tokens == usage.output_tokens
        assert ours.usage.reasoning_tokens == usage.output_tokens_details.thinking_tokens


@pytest.mark.parametrize("field", ["usage", "service_tier", "system_fingerprint"])
def test_what_servers_leave_out(field: str) -> None:
    """A completion without one of the fields that compatible servers leave out is still read."""
    answer = replies.answer(msgspec.json.encode({name: CHAT[name] for name in CHAT if name != field}))
    assert answer.text == "yes"


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"])
def test_every_stop_reason_of_the_sdk_is_read(reason: str) -> None:
    """Each stop reason the SDK's types accept gives an answer; only a refusal has no text."""
    theirs = anthropic.types.Message.model_validate({**MESSAGE, "stop_reason": reason})
    ours = messages.answer(theirs.model_dump_json().encode())
    assert (ours.text is None) == (reason == "refusal")


texts = st.none() | st.text(max_size=20)
counts = st.integers(0, 10**6)
details = st.fixed_dictionaries(
    {}, optional={"cached_tokens": counts, "cache_write_tokens": counts, "audio_tokens": counts}
)
thoughts = st.fixed_dictionaries({}, optional={"reasoning_tokens": counts, "audio_tokens": counts})
token = {"token": st.text(max_size=5), "logprob": st.floats(-50, 0), "bytes": st.none()}
logprobs = st.lists(
    st.fixed_dictionaries({**token, "top_logprobs": st.lists(st.fixed_dictionaries(token), max_size=5)}), max_size=3
)
chats = st.fixed_dictionaries(
    {
        **{name: st.just(CHAT[name]) for name in ("id", "object", "created", "model")},
        "choices": st.tuples(
            st.fixed_dictionaries(
                {
                    "index": st.just(0),
                    "finish_reason": st.sampled_from(["stop", "length", "content_filter", "tool_calls"]),
                    "message": st.fixed_dictionaries(
                        {"role": st.just("assistant"), "content": texts}, optional={"refusal": texts}
                    ),
                },
                optional={"logprobs": st.none() | st.fixed_dictionaries({"content": st.none() | logprobs})},
            )
        ),
    },
    optional={
        "usage": st.none()
        | st.fixed_dictionaries(
            {"prompt_tokens": counts, "completion_tokens": counts, "total_tokens": st.just(0)},
            optional={"prompt_tokens_details": st.none() | details, "completion_tokens_details": st.none() | thoughts},
        ),
        "unheard_of": st.just({"a": [1, None]}),
    },
)
blocks = st.lists(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=20))
    | st.just({"type": "thinking", "thinking": "hm", "signature": "s"})
    | st.just({"type": "redacted_thinking", "data": "x"}),
    max_size=4,
)
said_messages = st.fixed_dictionaries(
    {
        **{name: st.just(MESSAGE[name]) for name in ("id", "type", "role", "model", "stop_sequence")},
        "content": blocks,
        "stop_reason": st.sampled_from(["end_turn", "max_tokens", "refusal", "pause_turn"]),
        "usage": st.fixed_dictionaries(
            {"input_tokens": counts, "output_tokens": counts},
            optional={
                "cache_read_input_tokens": st.none() | counts,
                "cache_creation_input_tokens": st.none() | counts,
                "output_tokens_details": st.none() | st.builds(lambda n: {"thinking_tokens": n}, counts),
            },
        ),
    },
    optional={"unheard_of": st.just({"a": [1, None]})},
)


@given(chats)
def test_any_completion_the_sdk_accepts_is_read(reply: dict[str, Any]) -> None:
    """Whatever optional parts are there or not, what the SDK holds of a completion is what we read of it."""
    theirs = openai.types.chat.ChatCompletion.model_validate(reply)
    choice, usage = theirs.choices[0], theirs.usage
    for data in (msgspec.json.encode(reply), theirs.model_dump_json().encode()):
        ours = replies.answer(data)
        silent = bool(choice.message.refusal) or choice.finish_reason == "content_filter"
        assert ours.text == (None if silent else choice.message.content or "")
        assert ours.usage.input_tokens == (usage.prompt_tokens if usage else 0)
        assert ours.usage.output_tokens == (usage.completion_tokens if usage else 0)
        found = choice.logprobs.content if choice.logprobs else None
        assert ours.logprobs == tuple((each.token, each.logprob) for each in found or ())
        assert ours.listed == listed_by(choice)


@given(said_messages)
def test_any_message_the_sdk_accepts_is_read(reply: dict[str, Any]) -> None:
    """Whatever optional parts are there or not, what the SDK holds of a message is what we read of it."""
    theirs = anthropic.types.Message.model_validate(reply)
    for data in (msgspec.json.encode(reply), theirs.model_dump_json().encode()):
        ours = messages.answer(data)
        text = "".join(block.text for block in theirs.content if block.type == "text")
        assert ours.text == (None if theirs.stop_reason == "refusal" else text)
        read, written = theirs.usage.cache_read_input_tokens or 0, theirs.usage.cache_creation_input_tokens or 0
        assert ours.usage.input_tokens == theirs.usage.input_tokens + read + written
        assert (ours.usage.cached_tokens, ours.usage.written_tokens) == (read, written)
        assert ours.usage.output_tokens == theirs.usage.output_tokens
