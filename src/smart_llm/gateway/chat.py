"""OpenAI's chat completions: a request read, a completion written, in one piece or as a stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from smart_llm.gateway import spoken
from smart_llm.gateway.spoken import Asked, Denied, Given
from smart_llm.ledger import canonical
from smart_llm.types import Json, Usage

PATH = "/v1/chat/completions"
PASSED = frozenset(
    ("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "response_format", "stream")
)
"""Fields that decide the answer and are passed on."""
DROPPED = frozenset(
    (
        "stream_options",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "parallel_tool_calls",
        "seed",
    )
)
"""Fields that no answer should depend on: they are passed over."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "top_p": (1, 1.0),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "stop": ([], ""),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
    "moderation": (),
}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_FINISH = {"stop": "stop", "length": "length", "refusal": "content_filter", "content_filter": "content_filter"}

_encode = msgspec.json.Encoder().encode


def read(body: bytes) -> Asked:
    """What is asked. `Denied` for what cannot be."""
    told = spoken.decoded(body)
    route = spoken.route_of(told)
    spoken.check_fields(told, passed=PASSED, dropped=DROPPED, neutral=NEUTRAL)
    system, before, prompt = spoken.conversation(told.get("messages"), _ROLES, None)
    schema, as_json = _format(told.get("response_format"))
    options = told.get("stream_options")
    return Asked(
        route,
        prompt,
        system,
        before,
        spoken.tokens(told, "max_completion_tokens", "max_tokens"),
        spoken.number(told, "temperature", 0, 2) or 0.0,
        schema,
        as_json,
        spoken.truth(told, "stream"),
        isinstance(options, dict) and options.get("include_usage") is True,
    )


def written(given: Given, number: str, now: int) -> bytes:
    """A whole completion. number: its own id."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": given.answer.text, "refusal": None, "annotations": []},
        "logprobs": None,
        "finish_reason": _finish(given),
    }
    head = _head(given, number, now, "chat.completion")
    return _encode({**head, "choices": [choice], "usage": _usage(given.answer.usage), "smart": given.smart})


def streamed(given: Given, number: str, now: int, *, usage: bool) -> bytes:
    """The same as a stream, whose text comes in one piece."""
    head = _head(given, number, now, "chat.completion.chunk")
    said: Json = {"role": "assistant", "content": given.answer.text or "", "refusal": None}
    pieces: list[Json] = [
        {**head, "choices": [_choice(said, None)], "smart": given.smart},
        {**head, "choices": [_choice({}, _finish(given))]},
    ]
    if usage:
        pieces.append({**head, "choices": [], "usage": _usage(given.answer.usage)})
    return b"".join([b"data: %b\n\n" % _encode(piece) for piece in pieces]) + b"data: [DONE]\n\n"


def denied(error: Denied) -> bytes:
    """A refusal."""
    told = {"message": str(error), "type": error.kind, "param": error.param, "code": error.code}
    return _encode({"error": told})


def listed(routes: list[str]) -> bytes:
    """The models that may be asked for."""
    models = [{"id": f"{spoken.PREFIX}{name}", "object": "model", "created": 0, "owned_by": "smart"} for name in routes]
    return _encode({"object": "list", "data": models, "has_more": False})


def _head(given: Given, number: str, now: int, kind: str) -> dict[str, Json]:
    return {"id": f"chatcmpl-{number}", "object": kind, "created": now, "model": f"{spoken.PREFIX}{given.route}"}


def _choice(delta: Json, finish: str | None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _finish(given: Given) -> str:
    if given.answer.text is None:
        return "content_filter"
    return _FINISH.get(given.answer.finish, "stop")


def _usage(usage: Usage) -> dict[str, Json]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _format(told: Any) -> tuple[str | None, bool]:
    """The schema that a client gives, and whether it wants JSON."""
    if told is None:
        return None, False
    kind = told.get("type") if isinstance(told, dict) else None
    if kind == "text":
        return None, False
    if kind == "json_object":
        return None, True
    wanted = told.get("json_schema") if kind == "json_schema" else None
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise Denied(400, "response_format: write text, json_object, or json_schema with a schema.")
    return canonical(schema).decode(), True
