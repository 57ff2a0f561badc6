"""Every dialect in which providers tell of their limits is read to the same value."""

from __future__ import annotations

import pytest

from smart_llm.client.limits import Allowance, Limits, limits_from
from smart_llm.providers.durations import seconds

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        (
            {
                "x-ratelimit-limit-requests": "600",
                "x-ratelimit-remaining-requests": "599",
                "x-ratelimit-reset-requests": "100ms",
                "x-ratelimit-limit-tokens": "90000",
                "x-ratelimit-remaining-tokens": "88800",
                "x-ratelimit-reset-tokens": "1m0.8s",
            },
            Limits(Allowance(600, 599, 0.1), Allowance(90000, 88800, 60.8)),
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:01.5Z",
                "anthropic-ratelimit-tokens-limit": "1000",
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2027-01-15T08:01:00+00:00",
            },
            Limits(Allowance(50, 49, 1.5), Allowance(1000, 0, 60)),
        ),
        (
            {"x-ratelimit-limit-tokens-minute": "500", "x-ratelimit-remaining-tokens-minute": "20"},
            Limits(None, Allowance(500, 20, None)),
        ),
        ({"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1"}, None),
        ({"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "1"}, None),
        ({"x-ratelimit-remaining-requests": "1"}, None),
        ({"content-type": "application/json"}, None),
    ],
)
def test_every_dialect(headers: dict[str, str], limits: Limits | None) -> None:
    """What is told is read; what is not told, or makes no sense, is no limit."""
    assert limits_from(headers, NOW) == limits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("20ms", 0.02),
        ("1d", 86400.0),
        (str(NOW + 7), 7.0),
        ("2027-01-15T07:59:00Z", 0.0),
        ("soon", None),
        ("5 apples", None),
        (None, None),
    ],
)
def test_times(text: str | None, value: float | None) -> None:
    """Spans, dates and seconds since 1970 become seconds from now on, never negative; anything else is not known."""
    assert seconds(text, NOW) == (value if value is None else pytest.approx(value))
