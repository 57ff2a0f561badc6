"""Canonical JSON and tagged hashes: how a request, a plan or an answer is named by its content.

Canonical JSON: UTF-8, keys sorted, no spaces, shortest round-trip floats; of a request, fields at their default are
left out, so that a field added later leaves the keys of older ledgers as they are. The form is a contract: changing it
means paying again for every recorded answer. Hashes carry the name of their algorithm (`b2:` = BLAKE2b, 128 bits), so
that a later change is detectable.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec

from smart_llm.errors import InputError
from smart_llm.types import Answer, Json, Part, Request

TAG = "b2:"

_encode = msgspec.json.Encoder(order="sorted").encode


class _CanonicalRequest(msgspec.Struct, omit_defaults=True):
    """`Request` on the wire: the same fields and defaults (a test compares them), but for temperature 0, which is None
    here: msgspec leaves defaults out by identity, which floats do not have.
    """

    model: str
    prompt: str
    max_tokens: int
    system: str | None = None
    labels: tuple[str, ...] | None = None
    schema: str | None = None
    temperature: float | None = None
    logprobs: bool = False
    draw: int = 0
    thinking: int = 0
    at: str | None = None
    enforce: str = ""
    before: tuple[tuple[str, str], ...] = ()


def canonical(value: Json) -> bytes:
    """The canonical JSON of any value msgspec can encode."""
    return _encode(value)


def tagged(data: bytes) -> str:
    """`b2:` and the hash of these bytes in hex."""
    return TAG + blake2b(data, digest_size=16).hexdigest()


def request_json(request: Request) -> bytes:
    """The canonical JSON of a request; `InputError` for text that is no Unicode (a lone surrogate)."""
    r = request
    wire = _CanonicalRequest(
        r.model,
        r.prompt,
        r.max_tokens,
        r.system,
        r.labels,
        r.schema,
        float(r.temperature) or None,
        r.logprobs,
        r.draw,
        r.thinking,
        r.at,
        r.enforce,
        r.before,
    )
    try:
        return _encode(wire)
    except UnicodeEncodeError as error:
        raise InputError(f"A prompt holds text that is not valid Unicode: {error.reason}. Clean the table.") from error


def request_key(request: Request) -> str:
    """The key of a request in the ledger; of a row's part in one, its address (`parts`)."""
    if isinstance(request, Part):
        return _address(request)
    return tagged(request_json(request))


def _address(part: Part) -> str:
    """`KEY#NUMBER/COUNT`, and where the call may be made again in halves `|` and the same of the half."""
    own = f"{_call_key(part.call)}#{part.number}/{part.count}"
    return own if part.half is None else f"{own}|{_address(part.half)}"


@lru_cache(maxsize=256)
def _call_key(request: Request) -> str:
    """Of the calls just made: all their rows ask for it."""
    return tagged(request_json(request))


class _CanonicalUsage(msgspec.Struct, omit_defaults=True):
    """`Usage` in the ledger: the same fields; zeros are left out."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cpu_seconds: float | None = None
    written_tokens: int = 0


class _CanonicalAnswer(msgspec.Struct, omit_defaults=True):
    """`Answer` in the ledger: the same fields but `error`, for errors are not recorded."""

    text: str | None
    usage: _CanonicalUsage
    cost: float
    logprobs: tuple[tuple[str, float], ...] = ()
    finish: str = "stop"
    snapshot: str = ""
    listed: tuple[tuple[tuple[str, float], ...], ...] = ()


def answer_json(answer: Answer) -> bytes:
    """The canonical JSON of an answer."""
    a, u = answer, answer.usage
    usage = _CanonicalUsage(
        u.input_tokens,
        u.output_tokens,
        u.cached_tokens,
        u.reasoning_tokens,
        float(u.cpu_seconds) or None,
        u.written_tokens,
    )
    return _encode(_CanonicalAnswer(a.text, usage, float(a.cost), a.logprobs, a.finish, a.snapshot, a.listed))


def seal(key: str, answer: str) -> str:
    """The hash that binds an answer (canonical JSON) to the key of its request."""
    return tagged(f"{key} {answer}".encode())
