"""What providers tell of their limits in the headers of a reply, in any dialect: one small value.

OpenAI, Azure, Groq, vLLM gateways: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, times as `6m0s` or `12ms`.
Mistral and Cerebras name the minute: `…-req-minute`, `…-tokens-minute`. Anthropic:
`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`, times as dates (RFC 3339). Azure's `-1` means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_DIALECTS = {
    "requests": (
        "x-ratelimit-{}-requests",
        "anthropic-ratelimit-requests-{}",
        "x-ratelimit-{}-req-minute",
        "x-ratelimit-{}-requests-minute",
    ),
    "tokens": (
        "x-ratelimit-{}-tokens",
        "anthropic-ratelimit-tokens-{}",
        "anthropic-ratelimit-input-tokens-{}",
        "x-ratelimit-{}-tokens-minute",
    ),
}
_NAMES = {
    unit: [tuple(name.format(part) for part in ("limit", "remaining", "reset")) for name in names]
    for unit, names in _DIALECTS.items()
}
"""(limit, remaining, reset) of each dialect."""

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit. limit: units a minute; remaining: units left; reset: seconds until all of it is there again."""

    limit: float
    remaining: float
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reply told; None where it did not."""

    requests: Allowance | None = None
    tokens: Allowance | None = None


def limits_from(headers: Mapping[str, str], now: float) -> Limits | None:
    """The limits in a reply's headers, None where there are none. headers: names as they are asked for here, or in any
    case. now: seconds since 1970."""
    requests, tokens = _allowance(headers, "requests", now), _allowance(headers, "tokens", now)
    return None if requests is None and tokens is None else Limits(requests, tokens)


def _allowance(headers: Mapping[str, str], unit: str, now: float) -> Allowance | None:
    for limit, remaining, reset in _NAMES[unit]:
        if (told := headers.get(limit)) is not None and (left := headers.get(remaining)) is not None:
            try:
                most, here = float(told), float(left)
            except ValueError:
                return None
            return Allowance(most, here, seconds(headers.get(reset), now)) if most > 0 <= here else None
    return None


def seconds(text: str | None, now: float) -> float | None:
    """A time from now on: `17.5`, `250ms`, `1m30s`, a date, or seconds since 1970. None: nothing that is understood."""
    if text is None:
        return None
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        parts = _PARTS.findall(text)
        if parts and "".join(map("".join, parts)) == text:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
        return _until(text, now)
    return max(0.0, value - now if value > 1e9 else value)


def _until(text: str, now: float) -> float | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
