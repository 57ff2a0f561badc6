"""The OpenAI chat-completions protocol as typed JSON: what is sent, what comes back. No I/O.

Only the fields used here are decoded; unknown ones are skipped by msgspec without being built. Labels need no
structured output (the prompt names them and the task parses the answer); a `schema` is sent as
`response_format: json_schema`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from smart_llm.types import Answer, Request, Usage

REASONING = re.compile(r"(?:openai/)?(?:o\d|gpt-5(?!.*chat))")
"""Names of models that think first: `max_completion_tokens`, no temperature, no log-probabilities."""


class Message(msgspec.Struct):
    """One message of a chat."""

    role: str
    content: str


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
    response_format: ResponseFormat | None = None


class Reply(msgspec.Struct):
    """The body of a completion."""

    choices: list[Choice]
    model: str | None = None
    usage: ReplyUsage | None = None


class Choice(msgspec.Struct):
    """One completion."""

    message: ReplyMessage
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class ReplyMessage(msgspec.Struct):
    """What the model said."""

    content: str | None = None
    refusal: str | None = None


class Logprobs(msgspec.Struct):
    """Log-probabilities of the answer's own tokens."""

    content: list[TokenLogprob] | None = None


class TokenLogprob(msgspec.Struct):
    """One token and its natural-log probability."""

    token: str
    logprob: float


class PromptDetails(msgspec.Struct):
    """Part of the input tokens that came from the provider's cache."""

    cached_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    """Part of the output tokens that were thought, not said."""

    reasoning_tokens: int | None = None


class ReplyUsage(msgspec.Struct):
    """Tokens as billed."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class ErrorDetail(msgspec.Struct):
    """What went wrong, in the provider's words."""

    message: str = ""
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Reply).decode
_decode_json = msgspec.json.Decoder().decode


def body(request: Request, model: str, quirks: frozenset[str]) -> bytes:
    """The request as sent. model: the provider's own name for it. quirks: parameters this model does not take."""
    messages = [Message("user", request.prompt)]
    if request.system is not None:
        messages.insert(0, Message("system", request.system))
    wire = Body(model, messages)
    if "max_tokens" in quirks:
        wire.max_completion_tokens = request.max_tokens
    else:
        wire.max_tokens = request.max_tokens
    if "temperature" not in quirks:
        wire.temperature = request.temperature
    wire.logprobs = request.logprobs and "logprobs" not in quirks
    if request.schema is not None and "response_format" not in quirks:
        wire.response_format = ResponseFormat("json_schema", _json_schema(request.schema))
    return encode(wire)


def answer(reply: Reply) -> Answer:
    """The answer in a reply. A refusal or a filtered answer has no text: it was given and paid, and says nothing."""
    choice = reply.choices[0]
    finish, text = choice.finish_reason or "stop", choice.message.content or ""
    if choice.message.refusal:
        finish = "refusal"
    found = choice.logprobs.content if choice.logprobs else None
    return Answer(
        None if finish in ("refusal", "content_filter") else text,
        _usage(reply.usage),
        logprobs=tuple([(t.token, t.logprob) for t in found]) if found else (),
        finish=finish,
        snapshot=reply.model or "",
    )


def error_detail(data: bytes) -> ErrorDetail:
    """What an error reply says, whatever shape the server gives it."""
    try:
        found = _decode_json(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ErrorDetail(data[:200].decode(errors="replace"))
    if isinstance(found, list) and found:
        found = found[0]
    found = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(found, dict):
        return ErrorDetail(str(found))
    fields = {name: found.get(name) for name in ("type", "code", "param")}
    return ErrorDetail(str(found.get("message") or found.get("detail") or ""), **fields)


def _usage(usage: ReplyUsage | None) -> Usage:
    if usage is None:
        return Usage()
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens or 0,
        (prompt and prompt.cached_tokens) or 0,
        (completion and completion.reasoning_tokens) or 0,
    )


@lru_cache(maxsize=64)
def _json_schema(schema: str) -> JsonSchema:
    return JsonSchema("answer", msgspec.Raw(schema.encode()), _is_strict(_decode_json(schema)))


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
