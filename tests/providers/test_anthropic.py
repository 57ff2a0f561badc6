"""Anthropic's dialect: what is sent, what replies mean, what is cached, and in which API version it is all written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from making import make_provider

import smart_llm as smart
from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.mock import MockServer
from smart_llm.mock.scripted import Scripted
from smart_llm.providers.anthropic import AnthropicProvider
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Model, Rate, Request, Usage

KEY = "sk-ant-a-very-secret-key"
REPLY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [
        {"type": "thinking", "thinking": "Let me see.", "signature": "x"},
        {"type": "text", "text": "yes", "citations": None},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 70,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 40},
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    },
}
LONG = "Answer as the guidelines say. " * 100


async def ask(
    server: Scripted,
    *,
    model: str = "claude-haiku-4-5",
    effort: str | None = None,
    thinking: int = 0,
    prefix: str = "",
    prompt: str = "hello",
    **fields: Any,
) -> Answer:
    """One answer from a scripted server."""
    async with server as own:
        named = Model("m", "anthropic", model, Rate(), own, None, effort, thinking)
        provider = AnthropicProvider(own, [named], key=KEY, prefix=prefix)
        try:
            return await provider.complete(Request("m", prompt, 7, **fields))
        finally:
            await provider.close()


def stored(folder: Path) -> bytes:
    """Everything in the files of a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


def error(message: str = "", kind: str = "invalid_request_error", **details: Any) -> dict[str, Any]:
    """An error body as Anthropic writes it."""
    found: dict[str, Any] = {"type": kind, "message": message}
    return {"type": "error", "error": {**found, **({"details": details} if details else {})}, "request_id": "req_1"}


async def test_everything_in_a_reply_is_mapped() -> None:
    """Text without thoughts; input tokens are all of them, what was read and written of the cache among them."""
    answer = await ask(Scripted((200, REPLY)), logprobs=True)
    usage = Usage(100, 50, 70, 40, written_tokens=20)
    assert answer == Answer("yes", usage, finish="stop", snapshot="claude-haiku-4-5-20251001")


async def test_plain_request() -> None:
    """Address, key, version and body of a request with nothing in it that was not asked for; labels add nothing."""
    server = Scripted((200, REPLY))
    await ask(server, system="be brief", labels=("yes", "no"), logprobs=True)
    call = server.calls[0]
    assert (call.method, call.path) == ("POST", "/v1/messages")
    assert (call.header("x-api-key"), call.header("authorization")) == (KEY, None)
    assert call.header("anthropic-version") == "2023-06-01"
    assert server.bodies == [
        {
            "model": "claude-haiku-4-5",
            "max_tokens": 7,
            "messages": [{"role": "user", "content": "hello"}],
            "system": "be brief",
            "temperature": 0.0,
        }
    ]


@pytest.mark.parametrize(
    ("model", "sampled"),
    [
        ("claude-3-haiku-20240307", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-opus-4-6", True),
        ("claude-sonnet-4-6", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-opus-4-7", False),
        ("claude-sonnet-5", False),
        ("claude-haiku-5-5", False),
        ("claude-fable-5-1", False),
    ],
)
async def test_temperature_by_generation(model: str, sampled: bool) -> None:
    """Models that take a temperature get it, in the API version that knows it; newer ones neither."""
    server = Scripted((200, REPLY))
    await ask(server, model=model)
    assert ("temperature" in server.bodies[0]) is sampled
    assert server.calls[0].header("anthropic-version") == ("2023-06-01" if sampled else "2026-10-21")


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "config"),
    [
        ("claude-opus-5-5", None, None, None),
        ("claude-opus-5-5", "high", {"type": "adaptive"}, {"effort": "high"}),
        ("claude-haiku-5-5", "none", {"type": "disabled"}, None),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-opus-4-6", "low", {"type": "adaptive"}, {"effort": "low"}),
        ("claude-opus-4-5", "low", None, {"effort": "low"}),
    ],
)
async def test_effort(model: str, effort: str | None, thinking: Any, config: Any) -> None:
    """How much to think is said in each generation's own words, with room for it; a thinking model is not sampled."""
    server = Scripted((200, REPLY))
    await ask(server, model=model, effort=effort, thinking=100)
    body = server.bodies[0]
    assert (body.get("thinking"), body.get("output_config")) == (thinking, config)
    assert body["max_tokens"] == 107
    assert "temperature" not in body


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}, "additionalProperties": False},
            False,
        ),
        ({"type": "object", "properties": {"minimum": {"type": "string"}}, "additionalProperties": False}, True),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1}, True),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2}, False),
    ],
)
async def test_schema_is_sent_where_it_is_supported(schema: dict[str, Any], sent: bool) -> None:
    """A schema goes out as structured output unless it uses what structured output refuses."""
    server = Scripted((200, REPLY))
    await ask(server, schema=msgspec.json.encode(schema).decode())
    expected = {"format": {"type": "json_schema", "schema": schema}} if sent else None
    assert server.bodies[0].get("output_config") == expected


async def test_refused_parameters_are_learnt() -> None:
    """A temperature or a format refused all the same is left out from then on, and the version follows."""
    server = Scripted(
        (400, error("temperature: Extra inputs are not permitted")),
        (400, error("output_config.format: this model does not support structured outputs")),
        (200, REPLY),
    )
    answer = await ask(server, schema='{"type":"string"}')
    assert answer.text == "yes"
    assert server.bodies[-1] == {
        "model": "claude-haiku-4-5",
        "max_tokens": 7,
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert [call.header("anthropic-version") for call in server.calls] == ["2023-06-01", "2026-10-21", "2026-10-21"]


async def test_long_stable_beginning_is_marked() -> None:
    """The end of what all rows share is marked: in the prompt, else at the system prompt; nothing short is."""
    mark = {"type": "ephemeral"}
    server = Scripted((200, REPLY))
    await ask(server, system="be brief", prefix=LONG, prompt=f"{LONG}row 1")
    assert server.bodies[0]["system"] == "be brief"
    assert server.bodies[0]["messages"][0]["content"] == [
        {"type": "text", "text": LONG, "cache_control": mark},
        {"type": "text", "text": "row 1"},
    ]
    server = Scripted((200, REPLY))
    await ask(server, system=LONG, prefix="", prompt="row 1")
    assert server.bodies[0]["system"] == [{"type": "text", "text": LONG, "cache_control": mark}]
    assert server.bodies[0]["messages"][0]["content"] == "row 1"
    server = Scripted((200, REPLY))
    await ask(server, system="short", prefix="Row: ", prompt="Row: 1")
    assert "cache_control" not in server.calls[0].body.decode()


@pytest.mark.parametrize(("prefix", "prompt"), [(LONG, LONG), (LONG, f"{LONG} \n"), ("\n", "\nrow")])
async def test_no_piece_is_blank(prefix: str, prompt: str) -> None:
    """Blank pieces are refused by the API: an empty cell, or a blank beginning, is not cut off."""
    server = Scripted((200, REPLY))
    await ask(server, system=LONG, prefix=prefix, prompt=prompt)
    assert server.bodies[0]["messages"][0]["content"] == prompt
    assert isinstance(server.bodies[0]["system"], list)


@pytest.mark.parametrize(
    ("reason", "finish", "text"),
    [
        ("end_turn", "stop", "yes"),
        ("stop_sequence", "stop", "yes"),
        ("max_tokens", "length", "yes"),
        ("model_context_window_exceeded", "length", "yes"),
        ("refusal", "refusal", None),
        ("pause_turn", "pause_turn", "yes"),
    ],
)
async def test_stop_reasons(reason: str, finish: str, text: str | None) -> None:
    """Why it stopped is told in the same words as for every provider; a refusal is paid and has no text."""
    answer = await ask(Scripted((200, {**REPLY, "stop_reason": reason})))
    assert (answer.finish, answer.text, answer.usage.output_tokens) == (finish, text, 50)


PROBLEMS = [
    (401, error("invalid x-api-key " + KEY, "authentication_error"), Refused, "does not accept the key"),
    (403, error("no access to this model", "permission_error"), Refused, "permissions"),
    (402, error("check your payment", "billing_error"), Refused, "quota or credit is used up"),
    (400, error("Your credit balance is too low to access the API."), Refused, "quota or credit is used up"),
    (400, error("You have reached your specified API usage limits."), Refused, "quota or credit is used up"),
    (
        429,
        error("limit", "rate_limit_error", error_code="enforced_spend_limit_reached"),
        Refused,
        "quota or credit is used up",
    ),
    (404, error("model: claude-none", "not_found_error"), Refused, "claude-none"),
    (400, error("thinking.type.disabled is not supported " + KEY), Refused, "not supported …"),
    (307, b"", Refused, "redirects"),
    (500, error("internal", "api_error"), Retryable, "500"),
    (504, error("timeout", "timeout_error"), Retryable, "504"),
    (200, b'{"content": [', Retryable, "not a completion"),
    (200, error("says 200 and means 500", "api_error"), Retryable, "means 500"),
]


@pytest.mark.parametrize(("status", "body", "kind", "says"), PROBLEMS)
async def test_errors_mean_what_they_mean(status: int, body: Any, kind: type[ProviderError], says: str) -> None:
    """Every kind of error is mapped to what the caller can do about it, and no message quotes the key."""
    with pytest.raises(kind, match=says) as caught:
        await ask(Scripted((status, body, {"Location": "http://127.0.0.1:9/steal"})))
    assert KEY not in str(caught.value)
    assert not getattr(caught.value, "row_only", False)
    assert not getattr(caught.value, "throttled", False)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("prompt is too long: 250000 tokens > 200000 maximum")),
        (400, error("input length and `max_tokens` exceed context limit: 199990 + 4096 > 200000")),
        (413, error("Request exceeds the maximum size", "request_too_large")),
        (400, error("Output blocked by content filtering policy")),
    ],
)
async def test_some_refusals_concern_one_row(status: int, body: Any) -> None:
    """A prompt too long or not allowed fails alone."""
    with pytest.raises(Refused) as caught:
        await ask(Scripted((status, body)))
    assert caught.value.row_only


@pytest.mark.parametrize(("status", "after"), [(429, 3.0), (529, None)])
async def test_limits_ask_to_wait(status: int, after: float | None) -> None:
    """A rate limit names its time; an overload is a limit for everybody, without one. Neither uses up the tries."""
    headers = {"retry-after": "3"} if after else {}
    with pytest.raises(Retryable) as caught:
        await ask(Scripted((status, error("slow", "overloaded_error"), headers)))
    assert caught.value.throttled
    assert caught.value.retry_after == after
    assert not caught.value.paid


async def test_cache_is_billed_and_its_savings_computed() -> None:
    """Through the mock: the first call writes the beginning, the others read it, and the rate knows what that saved."""
    prompts = [f"{LONG * 2}row {i}" for i in range(5)]
    async with MockServer(lambda _, prompt: prompt[-5:]) as url:
        model = resolve(f"anthropic:x@{url}?in=1&out=5&cached=0.1&written=1.25")
        provider = make_provider(model, prefix=LONG * 2)
        answers = [await provider.complete(Request(model.name, prompt, 9)) for prompt in prompts]
        await provider.close()
    first, *others = [answer.usage for answer in answers]
    assert (first.cached_tokens, first.written_tokens) == (0, len(LONG * 2) // 4)
    assert {(usage.cached_tokens, usage.written_tokens) for usage in others} == {(len(LONG * 2) // 4, 0)}
    tokens = len(LONG * 2) // 4
    assert model.rate.saved(first) == pytest.approx(-0.25 * tokens / 1e6)
    assert model.rate.saved(others[0]) == pytest.approx(0.9 * tokens / 1e6)
    plain = (first.input_tokens - tokens) + 1.25 * tokens + 5 * first.output_tokens
    assert model.rate.cost(first) == pytest.approx(plain / 1e6)


async def test_a_whole_run_in_this_dialect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with no other provider: certified, verified, told that scores lack log-probabilities, the key nowhere."""
    monkeypatch.setenv("MY_KEY", KEY)
    rows = [{"text": f"review number {i}"} for i in range(1500)]
    task = smart.Task(f"{LONG * 2}Yes or no?\n{{text}}", labels=["yes", "no"])
    async with (server := MockServer(rule="label:yes,no", errors={"small": 0.02}, key=KEY)) as url:
        run = await smart.arun(
            rows,
            task,
            reference=f"anthropic:big@{url}?in=10&out=50&cached=1&written=12.5&key_env=MY_KEY",
            candidates=[f"anthropic:small@{url}?in=1&out=5&cached=0.1&written=1.25&key_env=MY_KEY"],
            agreement="0.95",
            seed=3,
            ledger=tmp_path / "ledger.db",
        )
    assert server.keys == {KEY}
    assert {row["status"] for row in run.table} == {"ok"}
    assert run.certificate.granted
    assert any("no log-probabilities" in note for note in run.certificate.notes)
    certificate = run.certificate.to_json()
    assert smart.verify(json.loads(certificate), run.ledger) == []
    assert run.cost < 0.5 * sum(10 * len(task.render(row)) / 4 for row in rows) / 1e6  # the cache halves the reference
    assert KEY.encode() not in stored(tmp_path)
    assert KEY not in certificate
