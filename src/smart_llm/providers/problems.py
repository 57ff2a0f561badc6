"""What a reply other than 200 means for us, in whichever dialect it was said. No I/O.

Three questions decide: may it help to ask again (`Retryable`, and is it a limit of rates), does it concern this row
only, or is it all over until the user does something (`Refused`)? Codes are trusted before words. Words are quoted
briefly, on one line, and never with the key in them: some providers send it back.

What is known of the providers: OpenAI uses 429 both for "slow down" and for "no money left", told apart by the code;
Anthropic says the latter with 400, 402, or a 429 with an `error_code`; Gemini puts the time to wait into the body, and
a 429 whose quota counts days is no rate limit; 529 (Anthropic) and a 503 that speaks of overload ask everybody to slow
down.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from smart_llm.errors import ProviderError, Refused, Retryable

ROW_ONLY = re.compile(
    r"context.?(length|window|limit)|maximum context|too long|too large|too many tokens|maximum number of tokens"
    r"|content.?(filter|policy|management)|safety|string_above_max_length|invalid_prompt|moderation|flagged",
    re.IGNORECASE,
)
"""Refusals that concern this one prompt, by code or message."""

UNPAID_CODES = re.compile(
    r"billing|spend_limit_reached|insufficient.?(quota|balance|funds|credits)",
    re.IGNORECASE,
)
UNPAID_WORDS = re.compile(
    r"credit balance|out of credits|usage limits?\b|spend(ing)? limit|insufficient.?(balance|funds|credits?|quota)",
    re.IGNORECASE,
)
PER_DAY = re.compile(r"PerDay|per[ _]day\b", re.IGNORECASE)
OVERLOADED = re.compile(r"overloaded|high demand|at capacity", re.IGNORECASE)
BAD_KEY = re.compile(r"API_KEY_INVALID|invalid_api_key|authentication_error", re.IGNORECASE)
QUOTED = 160
"""Characters of a provider's words that are passed on."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error body says. codes: everything in it that is a code rather than prose; wait: seconds it names."""

    message: str = ""
    codes: tuple[str, ...] = ()
    param: str | None = None
    wait: float | None = None


def read(data: bytes) -> Problem:
    """What an error reply says, whatever shape the server gives it."""
    try:
        found = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Problem(data[:200].decode(errors="replace"))
    if isinstance(found, list) and found:
        found = found[0]
    found = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(found, dict):
        return Problem(str(found))
    message, param = found.get("message") or found.get("detail") or "", found.get("param")
    return Problem(str(message), tuple(_codes(found)), param if isinstance(param, str) else None, _wait(found))


def meaning(host: str, status: int, problem: Problem, headers: Mapping[str, str], secret: str | None) -> ProviderError:
    """What a reply with this status means. secret: the key, which no message may quote."""
    said = _quote(problem.message, secret)
    codes, after = " ".join(problem.codes), retry_after(headers, problem)
    if 300 <= status < 400:
        return Refused(f"{host} redirects to another address; not followed. Give the final address.")
    if _unpaid(status, codes, problem.message):
        return Refused(f"{host}: the quota or credit is used up{said}. Add to it, then run again to go on.")
    if status in (429, 529) or (status == 503 and OVERLOADED.search(problem.message)):
        return Retryable(f"{host} asks to slow down (status {status}){said}.", retry_after=after, throttled=True)
    if status in (408, 409, 425) or status >= 500:
        paid = status in (502, 504)
        return Retryable(f"{host} failed with status {status}{said}.", retry_after=after, paid=paid)
    if status == 401 or (status in (400, 403) and BAD_KEY.search(codes)):
        return Refused(f"{host} does not accept the key (status {status}). Check the environment variable.")
    row_only = status == 413 or bool(ROW_ONLY.search(f"{codes} {problem.message}"))
    if status == 403 and not row_only:
        return Refused(f"{host} does not let this key do that (status 403){said}. Check the key and its permissions.")
    if status == 404:
        return Refused(f"{host} does not know this model or address (status 404){said}.")
    return Refused(f"{host} refuses the request (status {status}){said}.", row_only=row_only)


def retry_after(headers: Mapping[str, str], problem: Problem | None = None) -> float | None:
    """Seconds to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date, else what the body names."""
    for name, scale in (("retry-after-ms", 1e-3), ("Retry-After", 1.0)):
        if (text := headers.get(name)) is not None:
            return _seconds(text, scale)
    return problem.wait if problem else None


def _unpaid(status: int, codes: str, message: str) -> bool:
    """Whether money or quota has to be added before anything works again."""
    if status == 402:
        return True
    if status == 429:  # the words of a rate limit speak of billing too
        return bool(UNPAID_CODES.search(codes) or PER_DAY.search(codes))
    return status in (400, 403) and bool(UNPAID_CODES.search(codes) or UNPAID_WORDS.search(message))


def _codes(found: Mapping[str, Any]) -> Iterator[str]:
    """Codes at the top, and in the details (Anthropic: one object; Google: a list of them)."""
    yield from (str(found[name]) for name in ("type", "code", "status") if found.get(name) is not None)
    for detail in _details(found):
        yield from (str(detail[name]) for name in ("error_code", "reason") if detail.get(name))
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            yield str(violation.get("quotaId", "")) if isinstance(violation, dict) else ""


def _wait(found: Mapping[str, Any]) -> float | None:
    for detail in _details(found):
        if isinstance(delay := detail.get("retryDelay"), str):
            return _seconds(delay.rstrip("s"), 1.0)
    return None


def _details(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    details = found.get("details")
    details = details if isinstance(details, list) else [details]
    return [detail for detail in details if isinstance(detail, dict)]


def _seconds(text: str, scale: float) -> float | None:
    try:
        seconds = float(text) * scale
    except ValueError:
        return _until(text)
    return max(0.0, seconds) if seconds < float("inf") else None


def _until(text: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _quote(message: str, secret: str | None) -> str:
    text = " ".join(message.split())
    if secret:
        text = text.replace(secret, "…")
    text = text[:QUOTED].rstrip(".")
    return f": {text}" if text else ""


_decode = msgspec.json.Decoder().decode
