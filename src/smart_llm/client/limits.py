"""What providers tell of their limits in the headers of a reply, in any dialect: one small value.

OpenAI, Azure, Groq, vLLM gateways: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, times as `6m0s` or `12ms`.
Mistral and Cerebras name the minute: `…-req-minute`, `…-tokens-minute`. Anthropic:
`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`, times as dates (RFC 3339). Azure's `-1` means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smart_llm.providers.durations import seconds

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
