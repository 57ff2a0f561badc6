"""The mock's second dialect: Anthropic's POST /v1/messages, with the same answers, limits and faults as the first.

Prompt caching is imitated as billed: text up to the last `cache_control` mark, when it has at least `CACHED` tokens, is
written once and read from then on. Tokens are four bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from smart_llm.mock.answers import Said
from smart_llm.mock.http import Call, Reply, reply

PATH = "/v1/messages"
CACHED = 1024
"""Tokens a cached beginning has at least."""

STATUS_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Block(msgspec.Struct):
    """A piece of text, marked or not."""

    text: str = ""
    cache_control: dict[str, str] | None = None


class Message(msgspec.Struct):
    """One message."""

    role: str
    content: str | list[Block] = ""


class Body(msgspec.Struct):
    """As much of a request as matters here."""

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | list[Block] | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says, in any dialect. stable: its beginning up to the last mark ("" without one). warm: it names a
    temperature above 0."""

    model: str
    prompt: str
    most: int
    stable: str = ""
    warm: bool = False


class Cache(Protocol):
    """Remembers what was cached: `add` is a set's."""

    def add(self, text: str, /) -> None:
        """Remember."""

    def __contains__(self, text: object, /) -> bool: ...


def key(call: Call) -> str | None:
    """The key that was sent, in either of the two headers Anthropic reads."""
    if (own := call.header("x-api-key")) is not None:
        return own
    sent = call.header("authorization")
    return sent.removeprefix("Bearer ") if sent else None


def read(call: Call) -> Asked:
    """The request. Raises `MsgspecError` for one that is none, `ValueError` for one this API version refuses."""
    version = call.header("anthropic-version")
    if version is None:
        raise ValueError("anthropic-version: header is required")
    body = _decode(call.body)
    if body.temperature is not None and version >= "2026-10-21":
        raise ValueError("temperature: Extra inputs are not permitted")
    blocks = _blocks(body.system) + [block for message in body.messages for block in _blocks(message.content)]
    marked = max((i + 1 for i, block in enumerate(blocks) if block.cache_control), default=0)
    prompt = "\n".join(_text(part) for part in (body.system, *(m.content for m in body.messages)) if part)
    stable = "".join(block.text for block in blocks[:marked])
    return Asked(body.model, prompt, body.max_tokens, stable, warm=bool(body.temperature))


def completion(asked: Asked, said: Said, tokens: int, cache: Cache) -> dict[str, Any]:
    """The reply to a request that goes well; what passes the limit of tokens is cut off."""
    pieces = [said.text[i : i + 4] for i in range(0, len(said.text), 4)] or [""]
    cut = len(pieces) > asked.most
    usage = {**_cached(asked.stable, tokens, cache), "output_tokens": min(len(pieces), asked.most)}
    return {
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [{"type": "text", "text": "".join(pieces[: asked.most])}],
        "stop_reason": "max_tokens" if cut else "end_turn",
        "stop_sequence": None,
        "usage": {**usage, "service_tier": "standard"},
    }


def problem(
    status: int,
    message: str,
    code: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    delay: float = 0.0,
) -> Reply:
    """An error as Anthropic writes it. code: OpenAI's, which has no place here."""
    error = {"type": STATUS_TYPES.get(status, "api_error"), "message": message}
    body = {"type": "error", "error": error, "request_id": "req_mock"}
    return Reply(reply(status, msgspec.json.encode(body), limit_headers(headers or {})), delay)


def limit_headers(state: Mapping[str, str]) -> dict[str, str]:
    """`x-ratelimit-limit-requests` as Anthropic names it: `anthropic-ratelimit-requests-limit`; times are dates."""
    named = {}
    for name, value in state.items():
        if name.startswith("x-ratelimit-"):
            what, unit = name.removeprefix("x-ratelimit-").split("-", 1)
            named[f"anthropic-ratelimit-{unit}-{what}"] = _date(value) if what == "reset" else value
        else:
            named[name] = value
    return named


def _date(duration: str) -> str:
    """`1m2.5s` or `12ms` from now, as RFC 3339."""
    units = {"ms": 1e-3, "s": 1.0, "m": 60.0}
    seconds = sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(ms|s|m)", duration))
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cached(stable: str, tokens: int, cache: Cache) -> dict[str, int]:
    size = len(stable.encode()) // 4
    if size < CACHED:
        return {"input_tokens": tokens, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    found = stable in cache
    cache.add(stable)
    read, written = (size, 0) if found else (0, size)
    return {
        "input_tokens": tokens - size,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
    }


def _blocks(content: str | list[Block] | None) -> list[Block]:
    return [Block(content)] if isinstance(content, str) else content or []


def _text(content: str | list[Block] | None) -> str:
    return "".join(block.text for block in _blocks(content))


_decode = msgspec.json.Decoder(Body).decode
