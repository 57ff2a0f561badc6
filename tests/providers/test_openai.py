"""The OpenAI dialect: what is sent, what replies mean, and where the key goes."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import msgspec
import pytest
from making import make_provider

from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.mock import MockServer
from smart_llm.mock.scripted import Scripted
from smart_llm.providers.openai import OpenAIProvider
from smart_llm.providers.specs import ENDPOINTS, resolve
from smart_llm.types import Answer, Model, Rate, Request, Usage

KEY = "sk-a-very-secret-key"
REPLY = {
    "id": "1",
    "model": "gpt-x-2026-01-01",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "yes", "annotations": []},
            "logprobs": {"content": [{"token": "yes", "logprob": -0.25, "bytes": None, "top_logprobs": []}]},
        }
    ],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 40},
    },
}


async def ask(server: Scripted, *, model: str = "gpt-x", url: str | None = None, **fields: Any) -> Answer:
    """One answer from a scripted server."""
    async with server as own:
        named = Model("m", "openai", model, Rate(), url or own)
        provider = OpenAIProvider(url or own, [named], key=KEY)
        try:
            return await provider.complete(Request("m", "hello", 7, **fields))
        finally:
            await provider.close()


def error(message: str = "", **fields: Any) -> dict[str, Any]:
    """An error body as OpenAI writes it."""
    return {"error": {"message": message, **fields}}


async def test_everything_in_a_reply_is_mapped() -> None:
    """Text, cached and reasoning tokens, log-probabilities and the snapshot that answered."""
    answer = await ask(Scripted((200, REPLY)), logprobs=True)
    assert answer == Answer(
        "yes", Usage(100, 50, 64, 40), logprobs=(("yes", -0.25),), finish="stop", snapshot="gpt-x-2026-01-01"
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 90}, Usage(20, 70, 0, 60)),
        (
            {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 80,
             "completion_tokens_details": {"reasoning_tokens": 60}},
            Usage(20, 60, 0, 60),
        ),
        ({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}, Usage(20, 10)),
        ({"prompt_tokens": 20, "completion_tokens": 10}, Usage(20, 10)),
        ({"prompt_tokens": 20, "completion_tokens": 10, "prompt_cache_hit_tokens": 16}, Usage(20, 10, 16)),
        (
            {"prompt_tokens": 20, "completion_tokens": 10, "prompt_tokens_details": {"cache_write_tokens": 8}},
            Usage(20, 10, written_tokens=8),
        ),
    ],
)  # fmt: skip
async def test_usage_in_every_dialect(usage: dict[str, Any], expected: Usage) -> None:
    """Thoughts counted in the total only (Gemini, xAI) are output; caches are read under each server's own names."""
    assert (await ask(Scripted((200, {**REPLY, "usage": usage})))).usage == expected


async def test_log_probabilities_as_two_lists() -> None:
    """Together's shape: tokens in one list, log-probabilities in another."""
    found = {"tokens": ["y", "es"], "token_logprobs": [-0.5, None], "token_ids": [1, 2]}
    choice = {**REPLY["choices"][0], "logprobs": found}
    assert (await ask(Scripted((200, {**REPLY, "choices": [choice]})), logprobs=True)).logprobs == (("y", -0.5),)


async def test_an_answer_in_parts() -> None:
    """Where thoughts and answer come as parts of one message (Mistral), the answer is what was said."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": parts}}
    assert (await ask(Scripted((200, {**REPLY, "choices": [choice]})))).text == "yes"


async def test_an_answer_that_broke_off_is_asked_for_again() -> None:
    """A router whose provider failed in the middle says so in the finish reason: paid perhaps, but no answer."""
    choice = {"finish_reason": "error", "message": {"content": "ye"}}
    with pytest.raises(Retryable, match="broke off") as caught:
        await ask(Scripted((200, {**REPLY, "choices": [choice]})))
    assert caught.value.paid


async def test_effort_is_never_left_out() -> None:
    """What the user asked for is sent, and its refusal is the user's to know."""
    message = "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model."
    server = Scripted((400, error(message, param="reasoning_effort")))
    async with server as url:
        provider = OpenAIProvider(url, [Model("m", "openai", "x", Rate(), effort="minimal")])
        with pytest.raises(Refused, match="minimal"):
            await provider.complete(Request("m", "hello", 7))
        await provider.close()
    assert [body["reasoning_effort"] for body in server.bodies] == ["minimal"]


@pytest.mark.parametrize(
    ("effort", "said"), [("none", {"thinking": {"type": "disabled"}}), ("low", {"reasoning_effort": "low"})]
)
async def test_deepseek_is_told_not_to_think_in_its_own_words(effort: str, said: dict[str, Any]) -> None:
    """DeepSeek turns thinking off by another parameter than the one that says how much."""
    model = resolve(f"deepseek:deepseek-v4-flash?in=1&out=1&effort={effort}")
    provider = make_provider(model, environ={"DEEPSEEK_API_KEY": "k"})
    assert isinstance(provider, OpenAIProvider)
    body = msgspec.json.decode(provider.body(Request(model.name, "hello", 7)))
    assert {name: body[name] for name in ("thinking", "reasoning_effort") if name in body} == said


async def test_a_cache_mark_that_is_refused_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that does not know of cache marks gets the plain form from then on."""
    long = "Answer as the guidelines say. " * 100
    server = Scripted(
        (400, error("Unknown parameter", param="messages[0].content[0].prompt_cache_breakpoint")), (200, REPLY)
    )
    async with server as url:
        monkeypatch.setattr(OpenAIProvider, "own", url.split("/")[2])
        provider = OpenAIProvider(url, [Model("m", "openai", "gpt-6.1-terra", Rate())], prefix=long)
        await provider.complete(Request("m", f"{long}row", 7))
        await provider.close()
    assert "prompt_cache_options" in server.bodies[0]
    assert server.bodies[1]["messages"] == [{"role": "user", "content": f"{long}row"}]
    assert "prompt_cache_options" not in server.bodies[1]


async def test_plain_body() -> None:
    """A plain request is sent with nothing in it that was not asked for."""
    server = Scripted((200, REPLY))
    await ask(server, system="be brief", labels=("yes", "no"))
    assert server.bodies == [
        {
            "model": "gpt-x",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
            "max_tokens": 7,
            "temperature": 0.0,
        }
    ]


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
    ],
)
async def test_schema_is_sent_as_response_format(schema: dict[str, Any], strict: bool) -> None:
    """A schema goes out as structured output, strict only where strict mode would take it."""
    server = Scripted((200, REPLY))
    await ask(server, schema=msgspec.json.encode(schema).decode())
    assert server.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": strict},
    }


@pytest.mark.parametrize("model", ["o3-mini", "gpt-5.2", "gpt-5.2-mini"])
async def test_reasoning_models_are_known_by_name(model: str) -> None:
    """Models that think take other parameters at their own host: known before the first call."""
    provider = make_provider(resolve(f"openai:{model}?in=1&out=1"), environ={"OPENAI_API_KEY": KEY})
    assert isinstance(provider, OpenAIProvider)
    assert provider._quirks[f"openai:{model}"] >= {"max_tokens", "temperature", "logprobs"}


async def test_refused_parameters_are_learnt() -> None:
    """What an endpoint says it does not take is left out from then on, one 400 each."""
    server = Scripted(
        (400, error("Unsupported parameter: use another", param="max_tokens")),
        (400, error("logprobs are not supported by this model")),
        (400, error("Unsupported value", param="temperature")),
        (200, REPLY),
    )
    answer = await ask(server, logprobs=True)
    assert answer.text == "yes"
    last = {"model": "gpt-x", "messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 7}
    assert server.bodies[-1] == last


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, [{"error": {"code": 400, "message": 'Invalid JSON. Unknown name "logprobs": Cannot find field.'}}]),
        (400, [{"error": {"code": 400, "message": "Logprobs is not enabled for models/gemini-x"}}]),
        (422, {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "logprobs"]}]}}),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs"}]}),
        (400, {"error": {"message": "`logprobs` is not supported with this model", "type": "invalid_request_error"}}),
    ],
)  # fmt: skip
async def test_no_log_probabilities_in_any_words(status: int, body: Any) -> None:
    """However a server says that it has no log-probabilities (Gemini, Mistral, Groq), it is asked without them."""
    server = Scripted((status, body), (200, REPLY))
    await ask(server, logprobs=True)
    assert ["logprobs" in body for body in server.bodies] == [True, False]


@pytest.mark.parametrize("words", ["top_logprobs must be at most 3", "`top_logprobs` is not supported with logprobs"])
async def test_without_alternatives_the_tokens_own_log_probabilities_are_still_asked_for(words: str) -> None:
    """An endpoint that lists no other tokens keeps its log-probabilities; only labels ask for others at all."""
    server = Scripted((400, error(words)), (200, REPLY), (200, REPLY))
    answer = await ask(server, logprobs=True, labels=("yes", "no"))
    assert [(body["logprobs"], body.get("top_logprobs")) for body in server.bodies] == [(True, 5), (True, None)]
    assert (answer.logprobs, answer.listed) == ((("yes", -0.25),), ())
    await ask(text := Scripted((200, REPLY)), logprobs=True)
    assert "top_logprobs" not in text.bodies[-1]


@pytest.mark.parametrize("provider", ["gemini", "groq", "mistral"])
async def test_who_has_no_log_probabilities_is_known(provider: str) -> None:
    """Where the question is known to be refused it is not asked: a batch would fail as a whole."""
    model = resolve(f"{provider}:m?in=1&out=1")
    made = make_provider(model, environ={ENDPOINTS[provider].key_env: "k"})
    assert isinstance(made, OpenAIProvider)
    assert "logprobs" not in msgspec.json.decode(made.body(Request(model.name, "hello", 7, logprobs=True)))


async def test_a_parameter_refused_twice_is_an_error() -> None:
    """An endpoint that keeps complaining about what is no longer sent does not keep us in a loop."""
    server = Scripted((400, error("bad", param="logprobs")))
    with pytest.raises(Refused):
        await ask(server, logprobs=True)
    assert len(server.bodies) == 2


@pytest.mark.parametrize(("finish", "refusal"), [("stop", "I cannot help."), ("content_filter", None)])
async def test_a_refusal_is_an_answer_without_text(finish: str, refusal: str | None) -> None:
    """What the model declines was paid and stands; it has no text that could be delivered."""
    choice = {"finish_reason": finish, "message": {"content": None, "refusal": refusal}}
    answer = await ask(Scripted((200, {**REPLY, "choices": [choice]})))
    assert (answer.text, answer.error) == (None, None)
    assert answer.finish == ("refusal" if refusal else "content_filter")
    assert answer.usage.output_tokens == 50


REFUSALS = [
    (401, error("Incorrect API key provided: " + KEY), Refused, "key"),
    (403, error("Country not supported"), Refused, "key"),
    (404, error("The model gpt-x does not exist"), Refused, "does not exist"),
    (429, error("You exceeded your quota", code="insufficient_quota"), Refused, "quota"),
    (400, error("bad " + KEY), Refused, "bad …"),
    (302, b"", Refused, "redirects"),
    (307, b"", Refused, "redirects"),
    (500, b"<html>oops</html>", Retryable, "500"),
    (503, [error("overloaded")], Retryable, "overloaded"),
    (408, error(), Retryable, "408"),
    (200, b'{"choices": [', Retryable, "not a completion"),
    (200, b"\xff\xfe", Retryable, "not a completion"),
    (200, {"id": "1"}, Retryable, "not a completion"),
    (200, {"choices": []}, Retryable, "not a completion"),
    (200, error("says 200 and means 500", code=500), Retryable, "means 500"),
]


@pytest.mark.parametrize(("status", "body", "kind", "says"), REFUSALS)
async def test_replies_mean_what_they_mean(status: int, body: Any, kind: type[ProviderError], says: str) -> None:
    """Every kind of reply is mapped to what the caller can do about it, and no message quotes the key."""
    with pytest.raises(kind, match=says) as caught:
        await ask(Scripted((status, body, {"Location": "http://127.0.0.1:9/steal"})))
    assert KEY not in str(caught.value)
    assert not getattr(caught.value, "row_only", False)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("This model's maximum context length is 8192 tokens", code="context_length_exceeded")),
        (400, error("Filtered due to our content management policy", code="content_filter")),
        (413, error("Request too big")),
    ],
)
async def test_some_refusals_concern_one_row(status: int, body: Any) -> None:
    """A prompt too long or not allowed fails alone."""
    with pytest.raises(Refused) as caught:
        await ask(Scripted((status, body)))
    assert caught.value.row_only


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "3"}, 3, 3),
        ({"Retry-After": "1", "retry-after-ms": "250"}, 0.25, 0.25),
        ({"Retry-After": email.utils.formatdate(time.time() + 3600, usegmt=True)}, 3000, 3601),
    ],
)
async def test_retry_after_is_read(headers: dict[str, str], low: float, high: float) -> None:
    """Seconds, milliseconds or a date."""
    with pytest.raises(Retryable) as caught:
        await ask(Scripted((429, error(), headers)))
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize(
    "headers",
    [{}, {"Retry-After": "soon"}, {"Retry-After": "0"}, {"Retry-After": email.utils.formatdate(0, usegmt=True)}],
)
async def test_unreadable_retry_after_is_none(headers: dict[str, str]) -> None:
    """Where no time is named, none is made up."""
    with pytest.raises(Retryable) as caught:
        await ask(Scripted((429, error(), headers)))
    assert caught.value.retry_after is None


async def test_a_key_goes_to_its_own_host_only() -> None:
    """A redirect to another server is refused, and that server never hears of the call."""
    thief = Scripted((200, REPLY))
    async with thief as elsewhere:
        server = Scripted((307, b"", {"Location": f"{elsewhere}/chat/completions"}))
        with pytest.raises(Refused, match="redirects"):
            await ask(server)
    assert server.calls[0].header("authorization") == f"Bearer {KEY}"
    assert thief.calls == []


async def test_an_address_gets_the_key_it_names_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The well-known variable is never sent to an address of the user's own; the named one is."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_KEY", "mine")
    server = MockServer()
    async with server as url:
        for spec in (f"openai:x@{url}?in=1&out=1", f"openai:x@{url}?in=1&out=1&key_env=MY_KEY"):
            model = resolve(spec)
            provider = make_provider(model)
            await provider.complete(Request(model.name, "hello", 7))
            await provider.close()
    assert server.keys == {None, "mine"}


async def test_nobody_there_is_retryable_and_free() -> None:
    """A connection that was refused cost nothing."""
    with pytest.raises(Retryable, match="cannot be reached") as caught:
        await ask(Scripted((200, REPLY)), url="http://127.0.0.1:9/v1")
    assert not caught.value.paid
