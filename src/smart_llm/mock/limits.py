"""Rate limits as OpenAI keeps them: two buckets, requests and tokens, refilled continuously, told in every reply."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """requests, tokens: per minute, None for no limit. burst: seconds' worth a full bucket holds.

    headers: whether replies tell the state of the buckets. retry_after: whether refusals say how long to wait.
    """

    requests: int | None = None
    tokens: int | None = None
    burst: float = 60.0
    headers: bool = True
    retry_after: bool = True


class Bucket:
    """Holds up to `per_minute / 60 · burst` units, refilled all the time."""

    def __init__(self, per_minute: int, burst: float, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / 60
        self._size = self._rate * burst
        self._clock = clock
        self._level, self._at = self._size, clock()

    def wait(self, amount: float) -> float:
        """Seconds until this much is there (more than a full bucket holds: until it is full)."""
        now = self._clock()
        self._level, self._at = min(self._size, self._level + (now - self._at) * self._rate), now
        return max(0.0, (min(amount, self._size) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take it out."""
        self._level -= amount

    @property
    def remaining(self) -> int:
        """Whole units left."""
        return max(0, int(self._level))

    @property
    def reset(self) -> str:
        """Time until the bucket is full, as OpenAI writes it."""
        seconds = (self._size - self._level) / self._rate
        return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{int(seconds // 60)}m{seconds % 60:.3f}s"


class Limiter:
    """The buckets of one server."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        given = {"requests": limits.requests, "tokens": limits.tokens}
        self._buckets = {name: Bucket(n, limits.burst, clock) for name, n in given.items() if n is not None}
        self._told = limits.headers
        self._says_when = limits.retry_after

    def admit(self, tokens: int) -> float:
        """0 where the request goes through, else the seconds after which it would."""
        amounts = {"requests": 1, "tokens": tokens}
        wait = max((bucket.wait(amounts[name]) for name, bucket in self._buckets.items()), default=0.0)
        if wait <= 0:
            for name, bucket in self._buckets.items():
                bucket.take(amounts[name])
        return wait

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*`, where told."""
        if not self._told:
            return {}
        state: dict[str, str] = {}
        for name, bucket in self._buckets.items():
            state[f"x-ratelimit-limit-{name}"] = str(bucket.per_minute)
            state[f"x-ratelimit-remaining-{name}"] = str(bucket.remaining)
            state[f"x-ratelimit-reset-{name}"] = bucket.reset
        return state

    def refusal(self, seconds: float) -> dict[str, str]:
        """The headers of a refusal, where told: when to come again, and the state of the buckets."""
        return {**(retry_after(seconds) if self._says_when else {}), **self.headers()}


def retry_after(seconds: float) -> dict[str, str]:
    """Both headers a client may look at: milliseconds, and whole seconds rounded up."""
    return {"retry-after-ms": str(math.ceil(seconds * 1000)), "Retry-After": str(math.ceil(seconds))}
