"""Labels that a server is made to keep to (`?enforce=choice|schema`): what is sent. Pure.

Without this the prompt names the labels, and a small model says something else in many rows. A server that can keep a
model to them while it writes has one of two ways to be told:

choice   vLLM: `structured_outputs: {"choice": […]}`; before its version 0.12: `guided_choice`; SGLang: `regex`. All
         three are sent, since each of these servers passes over what it does not know.
schema   `response_format: json_schema` (llama.cpp makes a grammar of it; OpenAI, vLLM, SGLang, Ollama), Anthropic's
         `output_config.format`. OpenAI wants an object at the root, so its answer is {"label": "…"}; a server of one's
         own is asked for a bare string, which is fewer tokens and leaves a small model no blanks to get lost in, and
         for the object if it refuses that.

An answer to a request that was enforced and one to a request that was not are answers of two models, in effect. So the
setting is part of a model's name, or of its settings where it was learned by asking (`engine.learning`), and what a
server refuses is learnt before it has given any answer, or not at all (`http`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from smart_llm.types import Model, Request

WAYS = ("choice", "schema", "none", "auto")
AUTO, NONE = "auto", "none"
TOLD = ("schema", "choice")
"""The ways to tell a server, in the order in which they are tried: an answer in JSON shows that a schema was kept to,
while a label may also be what the model would have said anyhow."""
CHOICE = ("regex", "guided_choice", "structured_outputs")
"""The parameters of `choice`, in the order in which they are left out where a server names several of them."""
SCHEMA = "response_format"
BARE = "bare string"
"""The quirk of who wants an object at the root of a schema."""
ALL = frozenset({*CHOICE, SCHEMA, BARE})

_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]()|]")


@lru_cache(maxsize=64)
def schema(labels: tuple[str, ...], *, bare: bool = False) -> str:
    """The JSON schema of an answer that is one of these labels: an object with one field, or a bare string."""
    one = {"type": "string", "enum": labels}
    whole = {"type": "object", "properties": {"label": one}, "required": ["label"], "additionalProperties": False}
    return msgspec.json.encode(one if bare else whole).decode()


def wanted(request: Request, model: Model) -> str | None:
    """The schema that goes with a request, if any: of its labels an object, where the model is kept to them by it."""
    if request.labels:
        return schema(request.labels) if model.enforce == "schema" else None
    return None if model.enforce == NONE else request.schema


def shows_schema(text: str) -> bool:
    """Whether a reply is JSON of the schema of labels, as hardly any model writes unless its server makes it."""
    try:
        found = msgspec.json.decode(text.rpartition("</think>")[2])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(found, str) or (isinstance(found, dict) and "label" in found)


def shows_choice(text: str, labels: Sequence[str]) -> bool:
    """Whether a reply is one of the labels and not a sign more, as under `choice` it must be."""
    return text.rpartition("</think>")[2].strip() in labels


@lru_cache(maxsize=64)
def regex(labels: tuple[str, ...]) -> str:
    """A regular expression that is one of these labels, with nothing escaped that need not be: engines differ."""
    return f"({'|'.join(_SPECIAL.sub(lambda sign: chr(92) + sign[0], label) for label in labels)})"


def gone(way: str, quirks: frozenset[str]) -> bool:
    """Whether nothing is left by which a server could be told."""
    return way in TOLD and quirks.issuperset(CHOICE if way == "choice" else (SCHEMA,))


def first_named(named: Sequence[str] | frozenset[str]) -> str | None:
    """Which of the parameters of `choice` to leave out: "guided_choice was removed, use structured_outputs" names two
    and means the older."""
    return next((name for name in CHOICE if name in named), None)
