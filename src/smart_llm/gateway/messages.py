"""Anthropic's Messages: a request read, a message written, in one piece or as a stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from smart_llm.gateway import spoken
from smart_llm.gateway.spoken import Asked, Denied, Given
from smart_llm.ledger import canonical
from smart_llm.types import Json, Usage

PATH = "/v1/messages"
PASSED = frozenset(("model", "messages", "system", "max_tokens", "temperature", "output_config", "stream"))
"""Fields that decide the answer and are passed on."""
DROPPED = frozenset(("metadata", "service_tier", "cache_control", "inference_geo"))
"""Fields that no answer should depend on: they are passed over."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "top_p": (1, 1.0),
    "top_k": (),
    "stop_sequences": ([],),
    "tools": ([],),
    "tool_choice": ({"type": "none"}, {"type": "auto"}),
    "thinking": ({"type": "disabled"},),
    "container": (),
    "mcp_servers": ([],),
    "context_management": (),
}
_ROLES = {"user": "user", "assistant": "assistant"}
_FINISH = {"length": "max_tokens", "refusal": "refusal", "content_filter": "refusal"}
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 408: "timeout_error"} | {
    413: "request_too_large",
    429: "rate_limit_error",
    502: "api_error",
    503: "overloaded_error",
}

_encode = msgspec.json.Encoder().encode


def read(body: bytes) -> Asked:
    """What is asked. `Denied` for what cannot be."""
    told = spoken.decoded(body)
    route = spoken.route_of(told)
    spoken.check_fields(told, passed=PASSED, dropped=DROPPED, neutral=NEUTRAL)
    given = told.get("system")
    system = spoken.text_of(given, "system") if given is not None else None
    system, before, prompt = spoken.conversation(told.get("messages"), _ROLES, system)
    schema = _format(told.get("output_config"))
    return Asked(
        route,
        prompt,
        system,
        before,
        spoken.tokens(told, "max_tokens"),
        spoken.number(told, "temperature", 0, 1) or 0.0,
        schema,
        schema is not None,
        spoken.truth(told, "stream"),
    )


def written(given: Given, number: str, now: int) -> bytes:
    """A whole message. number: its own id."""
    said = [{"type": "text", "text": given.answer.text}] if given.answer.text else []
    message = _message(given, number, said, _finish(given), _usage(given.answer.usage))
    return _encode({**message, "smart": given.smart})


def streamed(given: Given, number: str, now: int, *, usage: bool) -> bytes:
    """The same as a stream, whose text comes in one piece."""
    used = _usage(given.answer.usage)
    start = _message(given, number, [], None, {**used, "output_tokens": 0})
    events: list[Json] = [{"type": "message_start", "message": {**start, "smart": given.smart}}]
    if given.answer.text:
        delta = {"type": "text_delta", "text": given.answer.text}
        events += [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
        ]
    end = {"stop_reason": _finish(given), "stop_sequence": None}
    events += [{"type": "message_delta", "delta": end, "usage": used}, {"type": "message_stop"}]
    return b"".join([b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _encode(event)) for event in events])


def denied(error: Denied) -> bytes:
    """A refusal."""
    kind = _KINDS.get(error.status, "invalid_request_error")
    return _encode({"type": "error", "error": {"type": kind, "message": str(error)}})


def _message(given: Given, number: str, said: Json, finish: str | None, usage: Json) -> dict[str, Json]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": f"{spoken.PREFIX}{given.route}",
        "content": said,
        "stop_reason": finish,
        "stop_sequence": None,
        "usage": usage,
    }


def _finish(given: Given) -> str:
    return "refusal" if given.answer.text is None else _FINISH.get(given.answer.finish, "end_turn")


def _usage(usage: Usage) -> dict[str, Json]:
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.written_tokens),
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.written_tokens,
        "output_tokens": usage.output_tokens,
    }


def _format(told: Any) -> str | None:
    """The schema that a client gives."""
    if told is None:
        return None
    form = told.get("format") if isinstance(told, dict) and not set(told) - {"format"} else None
    schema = form.get("schema") if isinstance(form, dict) and form.get("type") == "json_schema" else None
    if not isinstance(schema, dict):
        raise Denied(400, "output_config: only a format of type json_schema is supported.", param="output_config")
    return canonical(schema).decode()
