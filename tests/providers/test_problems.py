"""What error replies mean, in the shapes each provider gives them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.providers import problems

KEY = "AIza-a-very-secret-key"


def meant(status: int, body: Any, **headers: str) -> ProviderError:
    """The error a reply leads to."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return problems.meaning("host", status, problems.read(data), headers, KEY)


def google(status: str, message: str = "", *details: dict[str, Any]) -> list[dict[str, Any]]:
    """An error as Gemini's OpenAI-compatible endpoint writes it: a list of one."""
    return [{"error": {"code": 429, "message": message, "status": status, "details": list(details)}}]


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "23.5s"}


def quota(name: str) -> dict[str, Any]:
    """Which quota was exceeded."""
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


def test_gemini_puts_the_time_to_wait_into_the_body() -> None:
    """A rate limit of Gemini has no Retry-After header, and its words speak of billing all the same."""
    words = "You exceeded your current quota, please check your plan and billing details."
    error = meant(429, google("RESOURCE_EXHAUSTED", words, quota("GenerateRequestsPerMinutePerProject"), RETRY))
    assert isinstance(error, Retryable)
    assert (error.throttled, error.retry_after) == (True, 23.5)


def test_a_header_comes_before_the_body() -> None:
    """Where both name a time, the header's is taken."""
    error = meant(429, google("RESOURCE_EXHAUSTED", "", RETRY), **{"retry-after": "2"})
    assert isinstance(error, Retryable)
    assert error.retry_after == 2


def test_a_quota_that_counts_days_is_no_rate_limit() -> None:
    """Waiting a minute does not bring back what is counted by the day: the run stops and says so."""
    error = meant(429, google("RESOURCE_EXHAUSTED", "", quota("GenerateRequestsPerDayPerProject"), RETRY))
    assert isinstance(error, Refused)
    assert not error.row_only
    assert "used up" in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, google("INVALID_ARGUMENT", f"API key not valid: {KEY}", {"reason": "API_KEY_INVALID"})),
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
    ],
)
def test_a_bad_key_is_told_without_it(status: int, body: Any) -> None:
    """Whatever the status, a key that is not accepted is told as such and not quoted."""
    error = meant(status, body)
    assert isinstance(error, Refused)
    assert "does not accept the key" in str(error)
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}}),
        (402, {"error": {"message": "This request requires more credits", "code": 402}}),
        (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
        (429, {"error": {"message": "Not active", "code": "billing_not_active"}}),
        (400, {"error": {"message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"}}),
    ],
)
def test_money_has_to_be_added(status: int, body: Any) -> None:
    """Where money is what is missing, the run stops whatever the status, and no row is blamed."""
    error = meant(status, body)
    assert isinstance(error, Refused)
    assert "quota or credit is used up" in str(error)
    assert not error.row_only


@pytest.mark.parametrize(
    ("status", "message", "throttled"),
    [
        (429, "Rate limit reached for requests. Add a payment method at platform.example/account/billing", True),
        (503, "The model is overloaded. Please try again later.", True),
        (503, "upstream connect error", False),
        (529, "Overloaded", True),
        (500, "Internal error", False),
    ],
)
def test_slowing_down_is_told_from_failing(status: int, message: str, throttled: bool) -> None:
    """Limits and overload slow everybody down and cost no tries; failures cost one."""
    error = meant(status, {"error": {"message": message}})
    assert isinstance(error, Retryable)
    assert error.throttled is throttled


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"error": {"message": "The input was flagged", "code": 403, "metadata": {"reasons": ["violence"]}}}),
        (
            400,
            google("INVALID_ARGUMENT", "The input token count exceeds the maximum number of tokens allowed"),
        ),
        (400, {"error": {"message": "The response was filtered", "code": "content_filter", "innererror": {}}}),
    ],
)
def test_one_row_is_refused(status: int, body: Any) -> None:
    """Moderation and length concern one row."""
    error = meant(status, body)
    assert isinstance(error, Refused)
    assert error.row_only


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"[1]", b'"no"', b'{"error": null}', b'{"error": [1]}', b"<html>", b'{"message": 5}',
             b'{"error": {"message": null, "code": 1, "param": 7, "details": [null, {"violations": 3}]}}', b"\xff\xfe"]
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 429, 500])
def test_any_body_is_read(body: bytes, status: int) -> None:
    """Whatever an error reply contains, it leads to an error of ours."""
    assert isinstance(meant(status, body), ProviderError)


def test_words_are_quoted_briefly_on_one_line() -> None:
    """A long, broken, telling message becomes one short line without the key, even where the key is cut in two."""
    error = meant(400, {"error": {"message": "a\nb " + "x" * 150 + KEY + " more"}})
    assert "\n" not in str(error)
    assert len(str(error)) < 250
    assert KEY[:8] not in str(error)
