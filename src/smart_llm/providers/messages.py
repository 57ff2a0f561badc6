"""Anthropic's Messages protocol as typed JSON: what is sent, what comes back. No I/O.

Structured output is `output_config.format`, sent where the schema keeps to the part of JSON Schema that is supported
there; elsewhere the prompt asks and the task checks, as with labels that are not enforced (`enforced`). There are no
log-probabilities, so scores fall back on what they can do without. The stable beginning (system prompt, and the
prompt's text before the first cell) is marked for the cache when it is long enough for that to pay.

API versions: 2026-10-21 knows no sampling parameters. Models that still take a temperature are asked in the version
before it, since a reference that answers the same way twice is worth more here than a new header.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import Any

import msgspec

from smart_llm.providers import enforced, lenient
from smart_llm.providers.replies import EMPTY, NoAnswer
from smart_llm.providers.wire import stable_end
from smart_llm.types import Answer, Model, Request, Usage

VERSION, SAMPLING_VERSION = "2026-10-21", "2023-06-01"

SAMPLED = re.compile(r"claude-(?:3-|(?:opus|sonnet)-4(?:-[0-6])?(?:-\d{8}|-latest)?$|haiku-4-5)")
"""Names of models that take a temperature."""

MANUAL = re.compile(r"claude-(?:3-|(?:opus|sonnet)-4(?:-[0-5])?(?:-\d{8}|-latest)?$|haiku-4-5)")
"""Names of models from before adaptive thinking."""

BETWEEN_TOOLS = re.compile(r"claude-sonnet-5-5")
"""Names of models that call not thinking first "between_tools"."""

UNSUPPORTED = re.compile(
    r"(exclusive)?(Min|Max)imum|multipleOf|(min|max)(Length|Contains|Properties)|maxItems|uniqueItems|contains"
    r"|prefixItems|patternProperties|propertyNames|not|if|then|else|oneOf|dependent\w+|unevaluated\w+",
    re.IGNORECASE,
)
"""Keywords of JSON Schema that structured output refuses."""

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}
"""Why it stopped, in the words used for every provider."""

EPHEMERAL = {"type": "ephemeral"}


class Text(msgspec.Struct, omit_defaults=True):
    """A piece of text; a mark says that everything up to its end is to be cached."""

    type: str
    text: str
    cache_control: dict[str, str] | None = None


class Message(msgspec.Struct):
    """One message."""

    role: str
    content: str | list[Text]


class Format(msgspec.Struct):
    """Structured output."""

    type: str
    schema: msgspec.Raw


class OutputConfig(msgspec.Struct, omit_defaults=True):
    """How the answer is to be given."""

    effort: str | None = None
    format: Format | None = None


class Body(msgspec.Struct, omit_defaults=True):
    """The body of POST /v1/messages."""

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | list[Text] | None = None
    temperature: float | None = None
    thinking: dict[str, str] | None = None
    output_config: OutputConfig | None = None


class Block(msgspec.Struct):
    """A piece of the answer; thoughts are pieces without `text`."""

    type: Any = None
    text: Any = None


class Reply(msgspec.Struct):
    """The body of a message. Unlike elsewhere, `input_tokens` leaves out what was read from the cache or written."""

    content: list[Block | None] | str | msgspec.UnsetType | None = msgspec.UNSET
    usage: msgspec.Raw = msgspec.Raw(b"")
    model: Any = None
    stop_reason: Any = None


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Reply).decode
_decode_json = msgspec.json.Decoder().decode


def body(request: Request, model: Model, quirks: frozenset[str] = frozenset(), prefix: str = "") -> bytes:
    """The request as sent. quirks: "temperature", "response_format" that this model refuses. prefix: what the prompt
    begins with in every row.
    """
    end = stable_end(request, prefix)
    said = [Message(role, text) for role, text in request.before if role != "system"]
    content = [*said, Message("user", _content(request.prompt, end))]
    wire = Body(model.model, request.max_tokens + model.thinking, content)
    if (system := _system(request)) is not None:
        wire.system = [_marked(system)] if end == 0 else system
    if takes_temperature(model, quirks):
        wire.temperature = request.temperature
    wire.thinking = _thinking(model)
    effort = None if model.effort == "none" else model.effort
    schema = None if enforced.SCHEMA in quirks else _wanted(request, model)
    if effort or schema:
        wire.output_config = OutputConfig(effort, schema)
    return encode(wire)


def takes_temperature(model: Model, quirks: frozenset[str]) -> bool:
    """Whether a temperature is sent (a model that thinks takes none)."""
    return bool(SAMPLED.match(model.model)) and "temperature" not in quirks and model.effort in (None, "none")


def answer(data: bytes) -> Answer:
    """The answer in a reply. A refusal, or a null in place of an answer, has no text: it was given and paid, and says
    nothing. Raises one of `lenient.UNREADABLE` where there is no message."""
    reply = lenient.decoded(data, _decode)
    if isinstance(reply.content, msgspec.UnsetType):
        raise NoAnswer
    said = reply.stop_reason if isinstance(reply.stop_reason, str) else "end_turn"
    finish = FINISH.get(said, said)
    if reply.content is None and finish == "stop":
        finish = EMPTY
    return Answer(
        None if finish in ("refusal", EMPTY) else _text(reply.content),
        _usage(lenient.value_of(bytes(reply.usage))),
        finish=finish,
        snapshot=reply.model if isinstance(reply.model, str) else "",
    )


def _text(content: list[Block | None] | str | None) -> str:
    if isinstance(content, str):  # as gateways write it
        return content
    blocks = [block.text for block in content or () if block is not None and block.type == "text"]
    return "".join([text for text in blocks if isinstance(text, str)])


def _usage(found: object) -> Usage:
    """Tokens as billed, 0 where they are not known."""
    if not isinstance(found, dict):
        return Usage()
    count = partial(lenient.first_of, found)
    fresh, read = count("input_tokens"), count("cache_read_input_tokens") or 0
    written, output = count("cache_creation_input_tokens") or 0, count("output_tokens") or 0
    if fresh is None:
        return Usage(0, output)
    thought = lenient.first_of(lenient.part(found, "output_tokens_details"), "thinking_tokens") or 0
    return Usage(fresh + read + written, output, read, min(thought, output), written_tokens=written)


def _wanted(request: Request, model: Model) -> Format | None:
    """The structured output that is asked for."""
    schema = enforced.wanted(request, model)
    return None if schema is None else _format(schema)


def _system(request: Request) -> str | None:
    """What the system says, wherever in the conversation: here it has one place."""
    said = [text for role, text in request.turns if role == "system"]
    return "\n\n".join(said) if said else None


def _content(prompt: str, end: int | None) -> str | list[Text]:
    return [_marked(prompt[:end]), Text("text", prompt[end:])] if end else prompt


def _marked(text: str) -> Text:
    return Text("text", text, EPHEMERAL)


def _thinking(model: Model) -> dict[str, str] | None:
    if model.effort is None or (MANUAL.match(model.model) and model.effort != "none"):
        return None  # the model's own way
    if model.effort == "none":
        return {"type": "between_tools" if BETWEEN_TOOLS.match(model.model) else "disabled"}
    return {"type": "adaptive"}


@lru_cache(maxsize=64)
def _format(schema: str) -> Format | None:
    return Format("json_schema", msgspec.Raw(schema.encode())) if _is_supported(_decode_json(schema)) else None


def _is_supported(schema: Any) -> bool:
    """Whether structured output takes this schema: every object closed, and none of the keywords it refuses."""
    if not isinstance(schema, dict):
        return not isinstance(schema, list) or all(map(_is_supported, schema))
    if any(map(UNSUPPORTED.fullmatch, schema)) or schema.get("minItems", 0) not in (0, 1):
        return False
    is_object = schema.get("type") == "object" or isinstance(schema.get("properties"), dict)
    if is_object and schema.get("additionalProperties") is not False:
        return False
    return all(map(_is_supported, _parts(schema)))


def _parts(schema: dict[str, Any]) -> list[Any]:
    """The schemas inside a schema."""
    named = [schema[name] for name in ("properties", "$defs", "definitions") if isinstance(schema.get(name), dict)]
    inside = [part for parts in named for part in parts.values()]
    return inside + [schema[name] for name in ("items", "anyOf", "allOf") if name in schema]
