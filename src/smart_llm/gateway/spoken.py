"""What is said in a dialect, in the gateway's own words: what a client asks, what it is given, what it is refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from smart_llm.types import Answer, Json

PREFIX = "smart/"
"""What the name of a route begins with, where it is asked for as a model."""
NESTED = 64
"""Objects and lists within one another in a request, at most; a schema may need some."""
MOST_TOKENS = 10**6
SHOWN = 80
"""Letters of a name that is not known, where it is said that it is not."""


class Denied(Exception):
    """A request that is not answered. status: of HTTP; kind: the type that SDKs know; param: the field meant;
    retry_after: seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.param, self.code, self.retry_after = status, kind, param, code, retry_after


class Asked(msgspec.Struct, frozen=True):
    """A request as it came, without what no provider is told. route: by name. schema: JSON, where the client gives one;
    as_json: it wants some JSON. usage: whether a stream should end with it."""

    route: str
    prompt: str
    system: str | None = None
    before: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = None
    temperature: float = 0.0
    schema: str | None = None
    as_json: bool = False
    stream: bool = False
    usage: bool = False


class Given(msgspec.Struct, frozen=True):
    """What goes back. answered_by: a model's name. window, request: their numbers, None where nothing is promised."""

    route: str
    answer: Answer
    answered_by: str
    window: int
    request: int
    audited: bool

    @property
    def smart(self) -> dict[str, Json]:
        """The field that says how it came about."""
        return {
            "route": self.route,
            "answered_by": self.answered_by,
            "window": self.window,
            "request": self.request,
            "audited": self.audited,
        }


def decoded(body: bytes) -> dict[str, Any]:
    """The object in a request. `Denied`: it is none, or nested beyond use."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition("(byte")[0]
        raise Denied(400, f"The body is not JSON that can be read: {why.strip()}.") from None
    if not isinstance(found, dict):
        raise Denied(400, "The body is not a JSON object.")
    if body.count(b"{") + body.count(b"[") > NESTED and _deep(found, NESTED):
        raise Denied(400, f"The body has more than {NESTED} objects and lists within one another.")
    return found


def _deep(value: object, left: int) -> bool:
    """Whether a value is nested more deeply than this number of levels."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return left <= 0 or any(_deep(each, left - 1) for each in value if isinstance(each, dict | list))


def check_fields(
    body: Mapping[str, Any], *, passed: Collection[str], dropped: Collection[str], neutral: Mapping[str, Sequence[Any]]
) -> None:
    """`Denied` for a field that would change the answer and cannot be passed on, or that is not known. neutral: by
    field, the values that say nothing; null is one everywhere."""
    for name, value in body.items():
        if name in passed or name in dropped or value is None:
            continue
        if name in neutral and any(value == each and type(value) is type(each) for each in neutral[name]):
            continue
        known = name in neutral
        what = "tools are not supported" if name in ("tools", "functions", "tool_choice") else "it is not supported"
        raise Denied(
            400,
            f"{name:.{SHOWN}}: {what if known else 'there is no such field here'}; leave it out.",
            param=name[:SHOWN],
            code="unsupported_parameter",
        )


def route_of(body: Mapping[str, Any]) -> str:
    """The route that is asked for."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Denied(400, "model: name a route, such as smart/reviews.", param="model")
    if not model.startswith(PREFIX):
        raise unknown(model)
    return model.removeprefix(PREFIX)


def unknown(model: str, near: str = "") -> Denied:
    """There is no such route, or not for whoever asks."""
    shown = model[:SHOWN]
    return Denied(
        404,
        f"There is no model {shown!r} here: ask for smart/ROUTE.{near}",
        kind="not_found_error",
        param="model",
        code="model_not_found",
    )


def conversation(messages: object, roles: Mapping[str, str], system: str | None) -> tuple[Any, ...]:
    """(system, before, prompt) of a list of messages. roles: by the dialect's own, ours."""
    if not isinstance(messages, list) or not messages:
        raise Denied(400, "messages: write at least one.", param="messages")
    turns = [_turn(number, each, roles) for number, each in enumerate(messages)]
    if turns[-1][0] != "user" or not turns[-1][1].strip():
        raise Denied(400, "messages: the last one must be the user's, and say something.", param="messages")
    if system is None and turns[0][0] == "system":
        system, turns = turns[0][1], turns[1:]
    return system, tuple(turns[:-1]), turns[-1][1]


def _turn(number: int, message: object, roles: Mapping[str, str]) -> tuple[str, str]:
    where = f"messages[{number}]"
    if not isinstance(message, dict) or not isinstance(role := message.get("role"), str) or role not in roles:
        raise Denied(400, f"{where}: its role must be one of {', '.join(roles)}; tools are not supported.", param=where)
    for name, value in message.items():
        if name not in ("role", "content") and value:
            raise Denied(400, f"{where}.{name:.{SHOWN}}: it is not supported; leave it out.", param=where)
    return roles[role], text_of(message.get("content"), f"{where}.content")


def text_of(content: object, where: str) -> str:
    """A text, or parts of one; a mark for a cache says nothing that a model hears."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Denied(400, f"{where}: write a text, or parts of type text.", param=where)
    return "".join([_part(part, where) for part in content])


def _part(part: object, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        kind = part.get("type") if isinstance(part, dict) else None
        what = f"parts of type {kind!r:.40} are not supported" if kind else "a part has no type"
        raise Denied(400, f"{where}: {what}; only text is.", param=where)
    return str(part["text"])


def number(body: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    """A number within limits, or None."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Denied(400, f"{name}: write a number from {least:g} to {most:g}.", param=name)
    return float(value) if math.isfinite(value) else None


def tokens(body: Mapping[str, Any], *names: str) -> int | None:
    """How long an answer may be."""
    for name in names:
        value = body.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_TOKENS:
                raise Denied(400, f"{name}: write a whole number from 1 to {MOST_TOKENS}.", param=name)
            return value
    return None


def truth(body: Mapping[str, Any], name: str) -> bool:
    """True or false."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Denied(400, f"{name}: write true or false.", param=name)
    return bool(value)
