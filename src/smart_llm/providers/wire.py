"""The OpenAI chat-completions protocol as typed JSON: what is sent (what comes back is read in `replies`). No I/O.

Labels need no structured output (the prompt names them and the task parses the answer) unless the user wants the server
to keep to them (`enforced`); a `schema` is sent as `response_format: json_schema`.

From GPT-5.6 on, OpenAI charges for writing its cache, and by itself writes the whole prompt, row and all, which no
other row will ever read: such models are told to cache the stable beginning only (`explicit`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from smart_llm.providers import enforced
from smart_llm.providers.base import ALTERNATIVES
from smart_llm.types import Model, Request

REASONING = re.compile(r"(?:openai/)?(?:o\d|gpt-(?:5(?!.*chat)|[6-9]|\d\d))")
"""Names of models that think first: `max_completion_tokens`, no temperature, no log-probabilities."""

CHARGED_WRITES = re.compile(r"gpt-(?:5\.(?:[6-9]|\d\d)|[6-9]|\d\d)")
"""Names of OpenAI's models that charge for what they write to the prompt cache."""

CACHEABLE = 2048
"""Bytes of stable text from which marking it for the cache may pay: no provider caches less than 512 tokens."""

EXPLICIT = {"mode": "explicit"}


class Part(msgspec.Struct, omit_defaults=True):
    """A piece of a message; a mark says that everything up to its end is to be cached."""

    type: str
    text: str | None = None
    prompt_cache_breakpoint: dict[str, str] | None = None


class Message(msgspec.Struct):
    """One message of a chat."""

    role: str
    content: str | list[Part]


class JsonSchema(msgspec.Struct):
    """A named schema; `strict` only where the schema keeps the rules strict mode asks for."""

    name: str
    schema: msgspec.Raw
    strict: bool


class ResponseFormat(msgspec.Struct):
    """Structured output."""

    type: str
    json_schema: JsonSchema


class Body(msgspec.Struct, omit_defaults=True):
    """The body of POST /chat/completions."""

    model: str
    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    thinking: dict[str, str] | None = None
    structured_outputs: dict[str, tuple[str, ...]] | None = None
    guided_choice: tuple[str, ...] | None = None
    regex: str | None = None
    prompt_cache_options: dict[str, str] | None = None


encode = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


def body(request: Request, model: Model, quirks: frozenset[str] = frozenset(), prefix: str = "") -> bytes:
    """The request as sent. quirks: parameters this model does not take ("prompt_cache_options": no marks for a cache
    that does not charge for writes; "effort=none": not thinking at all is said in DeepSeek's words). prefix: what the
    prompt begins with in every row.
    """
    marked = "prompt_cache_options" not in quirks
    wire = Body(model.model, _messages(request, prefix) if marked else _plain(request))
    if model.effort == "none" and "effort=none" in quirks:
        wire.thinking = {"type": "disabled"}
    else:
        wire.reasoning_effort = model.effort
    if "max_tokens" in quirks:
        wire.max_completion_tokens = request.max_tokens + model.thinking
    else:
        wire.max_tokens = request.max_tokens + model.thinking
    if "temperature" not in quirks:
        wire.temperature = request.temperature
    wire.logprobs = request.logprobs and "logprobs" not in quirks
    if wire.logprobs and request.labels and "top_logprobs" not in quirks:
        wire.top_logprobs = ALTERNATIVES
    if request.labels:
        _enforce(wire, request.labels, model.enforce, quirks)
    elif "response_format" not in quirks and (schema := enforced.wanted(request, model)) is not None:
        wire.response_format = response_format(schema)
    wire.prompt_cache_options = EXPLICIT if marked else None
    return encode(wire)


def _enforce(wire: Body, labels: tuple[str, ...], way: str, quirks: frozenset[str]) -> None:
    """Tell the server to keep to the labels."""
    if way == "schema" and enforced.SCHEMA not in quirks:
        wire.response_format = response_format(enforced.schema(labels, bare=enforced.BARE not in quirks))
    if way == "choice":
        wire.structured_outputs = {"choice": labels} if "structured_outputs" not in quirks else None
        wire.guided_choice = labels if "guided_choice" not in quirks else None
        wire.regex = enforced.regex(labels) if "regex" not in quirks else None


def stable_end(request: Request, prefix: str) -> int | None:
    """Where what all rows' requests begin with ends, if it is long enough to be worth a mark; else None.

    In characters of the prompt; 0: at the end of the system prompt. No piece is left blank: providers refuse those.
    """
    if not request.prompt.startswith(prefix):
        prefix = ""
    if len((request.system or "").encode()) + len(prefix.encode()) < CACHEABLE:
        return None
    if prefix.strip() and request.prompt[len(prefix) :].strip():
        return len(prefix)
    return 0 if request.system else None


def _plain(request: Request) -> list[Message]:
    return [Message(role, text) for role, text in request.turns]


def _messages(request: Request, prefix: str) -> list[Message]:
    """The messages, with a mark where what is the same in all rows ends."""
    messages, end = _plain(request), stable_end(request, prefix)
    if end:
        messages[-1].content = [_marked(request.prompt[:end]), Part("text", request.prompt[end:])]
    elif end == 0 and request.system:
        messages[0].content = [_marked(request.system)]
    return messages


def _marked(text: str) -> Part:
    return Part("text", text, prompt_cache_breakpoint=EXPLICIT)


@lru_cache(maxsize=64)
def response_format(schema: str) -> ResponseFormat:
    """Structured output by this schema (JSON)."""
    json_schema = JsonSchema("answer", msgspec.Raw(schema.encode()), _is_strict(_decode_json(schema)))
    return ResponseFormat("json_schema", json_schema)


def _is_strict(schema: Any) -> bool:
    """Strict mode wants every object closed and every property required."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        closed = schema.get("additionalProperties") is False
        if not closed or set(properties or {}) != set(schema.get("required", [])):
            return False
    return all(map(_is_strict, schema.values()))
