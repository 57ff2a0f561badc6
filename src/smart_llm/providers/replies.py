"""What comes back in the OpenAI chat-completions protocol, in the shapes that its many servers give it. No I/O.

Only the fields used here are decoded; unknown ones are skipped by msgspec without being built. Usage and
log-probabilities are read apart from the answer and leniently (`lenient`), so that they cannot spoil it.

Money hides in two places. Thoughts are billed as output, and some servers (Gemini, xAI) count them in the total but not
in `completion_tokens`: the larger figure is taken. And some gateways leave what was read from the cache out of
`prompt_tokens`: where more was cached than was sent, the two are added.

A reply without a message is an answer without a text, like one that was filtered: it was given, and it says nothing
(Azure leaves the message out, Gemini sends null or no choices). A reply with an `error` in place of an answer is that
error, whatever its status (`problems.inside`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from smart_llm.providers import lenient
from smart_llm.providers.base import PLACES, surest
from smart_llm.types import Answer, Usage

FILTERED = re.compile(
    r"content.?filter|safety|prohibited|recitation|blocklist|spii|sensitive|moderation|guardrail", re.IGNORECASE
)
"""Reasons to finish that mean that the answer was held back."""
CUT = re.compile(r"length|max_?(\w+_)?tokens|limit|incomplete|truncated", re.IGNORECASE)
"""Reasons to finish that mean that it was cut off."""
INTERRUPTED = re.compile(
    r"error|abort(ed)?|cancel+ed|time(d_)?out|network_error|insufficient_system_resource|load", re.IGNORECASE
)
"""Reasons to finish that mean that the server broke off, or had not begun (OpenRouter, vLLM, GLM, DeepSeek, Ollama)."""
SPOKEN = ("text", "output_text", None)
"""Types of parts of a message that are said aloud; others are thoughts."""
EMPTY = "empty"
"""The reason to finish of a reply that has no message in it and says nothing else about it."""

CACHED = ("cached_tokens", "num_cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")
WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
"""What servers call tokens read from the cache, and tokens written to it."""


class Reply(msgspec.Struct):
    """The body of a completion."""

    choices: list[Choice | None] | msgspec.UnsetType | None = msgspec.UNSET
    model: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"")
    error: Any = None
    base_resp: Any = None


class Choice(msgspec.Struct):
    """One completion."""

    message: ReplyMessage | str | None = None
    text: Any = None
    index: Any = 0
    finish_reason: Any = None
    logprobs: msgspec.Raw = msgspec.Raw(b"")
    error: Any = None
    content_filter_results: Any = None


class ReplyMessage(msgspec.Struct):
    """What the model said: a text, or parts of which only those with text were said aloud."""

    content: Any = None
    refusal: Any = None


class Logprobs(msgspec.Struct):
    """Log-probabilities of the answer's own tokens: OpenAI's shape, or two lists (Together)."""

    content: list[TokenLogprob] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None


class TokenLogprob(msgspec.Struct):
    """One token, its natural-log probability, and what else was probable in its place (itself among them)."""

    token: str
    logprob: float
    top_logprobs: list[Alternative] | None = None


class Alternative(msgspec.Struct):
    """A token and its natural-log probability."""

    token: str
    logprob: float


class Plain(msgspec.Struct):
    """A reply in the shape that nearly all have, read at once; whatever is not quite so is read as `Reply`."""

    choices: tuple[PlainChoice]
    usage: PlainUsage
    model: str
    error: None = None
    base_resp: None = None


class PlainChoice(msgspec.Struct):
    """One completion that ended by itself."""

    message: PlainMessage
    finish_reason: Literal["stop"]
    logprobs: Logprobs | None = None
    error: None = None
    content_filter_results: None = None


class PlainMessage(msgspec.Struct):
    """A text."""

    content: Annotated[str, msgspec.Meta(min_length=1)]
    refusal: None = None


class PlainUsage(msgspec.Struct):
    """Tokens as OpenAI counts them; under another name there are none."""

    prompt_tokens: PlainCount
    completion_tokens: PlainCount
    total_tokens: PlainCount
    prompt_tokens_details: PlainDetails | None = None
    completion_tokens_details: PlainDetails | None = None
    input_tokens_details: None = None
    output_tokens_details: None = None
    cached_tokens: None = None
    num_cached_tokens: None = None
    cache_read_input_tokens: None = None
    prompt_cache_hit_tokens: None = None
    cache_write_tokens: None = None
    cache_creation_input_tokens: None = None
    cache_creation_tokens: None = None


class PlainDetails(msgspec.Struct):
    """Of input or of output: nothing that was cached, and no thoughts."""

    cached_tokens: Literal[0] = 0
    reasoning_tokens: Literal[0] = 0
    num_cached_tokens: None = None
    cache_read_input_tokens: None = None
    prompt_cache_hit_tokens: None = None
    cache_write_tokens: None = None
    cache_creation_input_tokens: None = None
    cache_creation_tokens: None = None


class NoAnswer(ValueError):
    """The reply is no completion, or has an error in it where the answer should be."""


PlainCount: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=lenient.MOST_TOKENS)]
_plain = msgspec.json.Decoder(Plain).decode
_decode = msgspec.json.Decoder(Reply).decode
_logprobs = msgspec.json.Decoder(Logprobs | None).decode


def answer(data: bytes) -> Answer:
    """The answer in a reply. One that was refused or filtered has no text: it was given and paid, and says nothing.

    Raises one of `lenient.UNREADABLE` (`NoAnswer` among them) where there is none.
    """
    try:
        return _answer(_plain(data))
    except (*lenient.UNREADABLE, OverflowError):
        return read(data)


def _answer(reply: Plain) -> Answer:
    """The same as `read` says of it."""
    choice, used = reply.choices[0], reply.usage
    if used.total_tokens != used.prompt_tokens + used.completion_tokens:
        raise NoAnswer
    pairs, listed = _told(choice.logprobs)
    return Answer(
        choice.message.content,
        Usage(used.prompt_tokens, used.completion_tokens),
        logprobs=pairs,
        snapshot=reply.model,
        listed=listed,
    )


def read(data: bytes) -> Answer:
    """`answer` for a reply in any shape."""
    reply = lenient.decoded(data, _decode)
    choice = _choice(reply)
    message = _message(choice)
    text, finish = _text(message.content), _finish(choice, message)
    if choice.error and not text:
        raise NoAnswer
    pairs, listed = _scored(bytes(choice.logprobs))
    return Answer(
        None if finish in ("refusal", "content_filter", EMPTY) else text,
        usage(lenient.value_of(bytes(reply.usage))),
        logprobs=pairs,
        finish=finish,
        snapshot=reply.model if isinstance(reply.model, str) else "",
        listed=listed,
    )


def _choice(reply: Reply) -> Choice:
    """The completion, an empty one where there is none; `NoAnswer` where this is no completion at all."""
    if isinstance(reply.choices, msgspec.UnsetType) or (not reply.choices and reply.error):
        raise NoAnswer
    if not reply.choices and not (reply.model or bytes(reply.usage)):  # an empty shell, not even a model's name
        raise NoAnswer
    choice = _first(reply.choices) or Choice()
    if choice.message is None and (reply.error or lenient.part({"": reply.base_resp}, "").get("status_code")):
        raise NoAnswer
    return choice


def _first(choices: list[Choice | None] | None) -> Choice | None:
    """The first by its own number, where a gateway sends several."""
    if not choices or len(choices) == 1:
        return choices[0] if choices else None
    there = [each for each in choices if each is not None]
    return min(there, key=lambda each: each.index if isinstance(each.index, int) else 0, default=None)


def _message(choice: Choice) -> ReplyMessage:
    """What was said; some gateways write it as a text, or in the shape of older completions."""
    said = choice.message if choice.message is not None else choice.text
    return ReplyMessage(said) if isinstance(said, str) else said or ReplyMessage()


def _text(content: object) -> str:
    """What was said aloud: a text, parts of one, or a value that a gateway has already read out of JSON."""
    if isinstance(content, str) or content is None:
        return content or ""
    if isinstance(content, list):
        return "".join([part if isinstance(part, str) else _part(part) for part in content])
    if isinstance(content, dict) and "text" in content:
        return _part(content)
    return msgspec.json.encode(content).decode()


def _part(part: object) -> str:
    if not isinstance(part, dict) or part.get("type") not in SPOKEN:
        return ""
    text = part.get("text")
    text = text.get("value") if isinstance(text, dict) else text
    return text if isinstance(text, str) else ""


def _finish(choice: Choice, message: ReplyMessage) -> str:
    """Why it finished, in the words used for every provider."""
    said = choice.finish_reason if isinstance(choice.finish_reason, str) else "stop"
    if message.refusal:
        return "refusal"
    if FILTERED.search(said) or (not message.content and _filtered(choice.content_filter_results)):
        return "content_filter"
    if CUT.search(said):
        return "length"
    nothing = choice.message is None and choice.text is None
    return EMPTY if nothing and said.lower() == "stop" else said


def _filtered(results: object) -> bool:
    """Whether one of Azure's filters says that it held the answer back."""
    found = results.values() if isinstance(results, dict) else ()
    return any(isinstance(each, dict) and each.get("filtered") is True for each in found)


# --------------------------------------------------------------------------- tokens


def usage(found: object) -> Usage:
    """Tokens as billed, 0 where they are not known. Names of OpenAI, DeepSeek, Mistral, Moonshot, Anthropic."""
    if not isinstance(found, dict):
        return Usage()
    details = lenient.part(found, "prompt_tokens_details") or lenient.part(found, "input_tokens_details")
    thought = lenient.part(found, "completion_tokens_details") or lenient.part(found, "output_tokens_details")
    total, said = lenient.tokens(found.get("total_tokens")), _said(found)
    prompt = lenient.first_of(found, "prompt_tokens", "input_tokens")
    if prompt is None:
        prompt = max(0, total - said) if total and said else 0
    cached = _either(details, found, CACHED) if prompt else 0
    written = _either(details, found, WRITTEN) if prompt else 0
    whole = prompt + (cached if cached > prompt else 0)
    whole += written if written > whole - cached else 0
    output = max(said, (total or 0) - whole) if prompt else said
    reasoning = max(lenient.first_of(thought, "reasoning_tokens") or 0, output - said)
    return Usage(whole, output, cached, min(reasoning, output), written_tokens=written)


def _said(found: Mapping[str, Any]) -> int:
    return lenient.first_of(found, "completion_tokens", "output_tokens") or 0


def _either(details: Mapping[str, Any], found: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return lenient.first_of(details, *names) or lenient.first_of(found, *names) or 0


# --------------------------------------------------------------------------- log-probabilities

Pairs = tuple[tuple[str, float], ...]


def _scored(raw: bytes) -> tuple[Pairs, tuple[Pairs, ...]]:
    """The answer's own tokens, and what else was probable in their places; nothing where that cannot be read."""
    if not raw or raw == b"null":
        return (), ()
    try:
        found = _logprobs(raw)
    except lenient.UNREADABLE:
        found = _mended(lenient.value_of(raw))
    return _told(found)


def _told(found: Logprobs | None) -> tuple[Pairs, tuple[Pairs, ...]]:
    if found is None:
        return (), ()
    pairs = _pairs(found)
    if not all(lenient.is_logprob(logprob) for _, logprob in pairs):
        return (), ()
    return pairs, _listed(found)


def _mended(found: object) -> Logprobs | None:
    """Log-probabilities of which some are unreadable. None where one of the answer's own tokens has none: without it
    there is no score. Other tokens without one are left out."""
    content = found.get("content") if isinstance(found, dict) else None
    if not isinstance(content, list):
        return None
    own = [_alternative(place) for place in content]
    tokens = [
        TokenLogprob(token.token, token.logprob, _alternatives(place.get("top_logprobs")))
        for token, place in zip(own, content, strict=True)
        if token is not None
    ]
    return Logprobs(tokens) if len(tokens) == len(content) else None


def _alternatives(listed: object) -> list[Alternative]:
    found = map(_alternative, listed if isinstance(listed, list) else ())
    return [each for each in found if each is not None]


def _alternative(place: object) -> Alternative | None:
    if not isinstance(place, dict) or not isinstance(place.get("token"), str):
        return None
    logprob = lenient.logprob(place.get("logprob"))
    return None if logprob is None else Alternative(place["token"], logprob)


def _pairs(found: Logprobs) -> Pairs:
    if found.content:
        return tuple([(t.token, t.logprob) for t in found.content])
    pairs = zip(found.tokens or (), found.token_logprobs or (), strict=False)
    return tuple([(token, logprob) for token, logprob in pairs if logprob is not None])


def _listed(found: Logprobs) -> tuple[Pairs, ...]:
    """Empty where nothing is listed at all."""
    places = [
        surest([(t.token, t.logprob) for t in place.top_logprobs or () if lenient.is_logprob(t.logprob)], place.token)
        for place in (found.content or ())[:PLACES]
    ]
    return tuple(places) if any(places) else ()
