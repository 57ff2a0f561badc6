"""Reading what servers say of tokens and probabilities, leniently. Pure.

An answer that was paid for is never thrown away because of what stands beside it. A number of tokens that cannot be
read (null, text, negative, hundreds of digits) is not known, and the client prices the call by its bytes; a
log-probability that cannot be read takes the score with it, and the answer stays.

Some servers write `NaN` and `-Infinity` into their JSON, which is none; some begin it with a byte order mark, end it
with half a character, or go on after it. Such a reply is read once more, by a slower reader that bears with that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from math import ceil, isfinite
from typing import Any, TypeVar

import msgspec

MOST_TOKENS = 10**12
"""More than that is no number of tokens."""
MOST_DIGITS = 18
"""Digits of a whole number that are read as one; what is longer counts nothing that there is."""
LEAST_LOGPROB, ROUNDING = -1e5, 0.01
"""No log-probability is lower; above zero they are only by rounding."""
HALF = re.compile(r"\\ud[89a-f]", re.IGNORECASE)
"""Half a character beyond the first 65,536, as JSON writes it; what a model was cut off in may have no other half."""
NUMBER = re.compile(r"\s*\+?\d{1,18}(?:\.\d{1,18})?\s*")

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError)
"""What readers raise for a body that they cannot read."""


def tokens(value: object) -> int | None:
    """A number of tokens; None where it is not known. Fractions are rounded up."""
    if value is None or type(value) is int:  # nearly always
        return value if value is not None and 0 <= value <= MOST_TOKENS else None
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not isfinite(value):
        return None
    return ceil(value) if 0 <= value <= MOST_TOKENS else None


def first_of(found: Mapping[str, Any], *names: str) -> int | None:
    """The first of these that is a number of tokens."""
    for name in names:
        if (count := tokens(found.get(name))) is not None:
            return count
    return None


def part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within an object; an empty one where there is none."""
    inside = found.get(name)
    return inside if isinstance(inside, dict) else {}


def logprob(value: object) -> float | None:
    """A natural-log probability; None where it is none (null, −∞, NaN, text)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return min(0.0, float(value)) if is_logprob(value) else None


def is_logprob(value: float) -> bool:
    """Whether a number is one."""
    return LEAST_LOGPROB <= value <= ROUNDING


def value_of(raw: bytes) -> Any:
    """The value of a piece of JSON; None where there is none that can be read."""
    try:
        return _decode(raw) if raw else None
    except UNREADABLE:
        pass
    try:
        return _slowly(raw)
    except UNREADABLE:
        return None


def decoded(data: bytes, decode: Callable[[bytes], T]) -> T:
    """A reply by its decoder, or by the slower reader where the JSON is none. Raises one of `UNREADABLE`."""
    try:
        return decode(data)
    except msgspec.ValidationError:  # it is JSON, of another kind
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return decode(msgspec.json.encode(_slowly(data)))


def _slowly(data: bytes) -> Any:
    """The first value in a text that is JSON or nearly so, in any Unicode; what is no character becomes a mark."""
    text = data.decode(json.detect_encoding(data), errors="replace").lstrip("\ufeff \t\r\n")
    found = json.JSONDecoder(parse_constant=lambda _: None, parse_int=_whole).raw_decode(text)[0]
    if HALF.search(text) is None:
        return found
    written = json.dumps(found, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
    return json.loads(written.decode("utf-16-le", "replace"))


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= MOST_DIGITS else None


_decode = msgspec.json.Decoder().decode
