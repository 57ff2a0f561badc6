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
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.providers.durations import seconds as after

TOO_LONG = (
    r"(context|prompt|input|request|content|message|text)\b.{0,60}\btoo (long|large|big)"
    r"|context.?(length|window|limit|size)|maximum context|too many (input )?tokens|maximum number of tokens"
    r"|string_above_max_length|longer than the (model|max)|\binputs?\b.{0,40}tokens.{0,40}\bmust be <"
)
ROW_ONLY = re.compile(
    rf"{TOO_LONG}|content.?(filter|policy|management)|safety|invalid_prompt|moderation|flagged|data.?inspection"
    r"|content blocks? must be non.?empty|DataInspectionFailed|sensitive content|inappropriate content",
    re.IGNORECASE,
)
"""Refusals that concern this one prompt, by code or message."""
TOO_LONG_AT_ALL = re.compile(rf"{TOO_LONG}|(prompt|input|context|sequence)\b.{{0,60}}\bexceed", re.IGNORECASE)
"""What old servers say with status 500."""

UNPAID_CODES = re.compile(
    r"billing|spend_limit_reached|insufficient.?(quota|balance|funds|credits)",
    re.IGNORECASE,
)
UNPAID_WORDS = re.compile(
    r"credit balance|out of credits|usage limits?\b|spend(ing)? limit|insufficient.?(balance|funds|credits?|quota)",
    re.IGNORECASE,
)
PER_DAY = re.compile(r"PerDay|per[ _]day\b", re.IGNORECASE)
OVERLOADED = re.compile(
    r"overloaded|high demand|at capacity|warming up|starting up|cold start"
    r"|\bloading\b.{0,20}\bmodel|\bmodel\b.{0,80}\bload(ing|s)\b",
    re.IGNORECASE,
)
"""Of a 503: everybody is to wait, also while the model is loaded."""
BAD_KEY = re.compile(r"API_KEY_INVALID|invalid_api_key|authentication_error", re.IGNORECASE)
KEY_WORDS = re.compile(
    r"\b(invalid|incorrect|missing|wrong|expired|no)\b.{0,20}\b(api.?key|credentials|access token)"
    r"|\b(api.?key|access token)\b.{0,30}\b(invalid|incorrect|not valid|missing|required|expired)"
    r"|unauthori[sz]ed|unauthenticated",
    re.IGNORECASE,
)
"""The same in words, where no status is given."""
WALL = re.compile(r"^\s*<(!doctype|html)", re.IGNORECASE)
"""A page where an error was expected: with 403, a firewall before the server, which looks at what is in the prompt."""
PAGE = re.compile(rb"\s*<")
RATES = re.compile(r"throttl|rate.?limit|too.?many.?requests|\b(qps|rpm|tpm)\b", re.IGNORECASE)
"""A limit of rates, in codes of any status (AWS: 400, Google: 403), and in words where no status is given."""
OUTSIZED = re.compile(r"request (is )?too large|tokens must be reduced", re.IGNORECASE)
LIMIT = re.compile(r"\blimit(?: of| is|ed to)?:?\s+([\d,]+)", re.IGNORECASE)
ASKED = re.compile(r"\brequest(?:ed|s)?(?: of)?:?\s+([\d,]+)", re.IGNORECASE)
"""What a 429 says of one request that is larger than the whole limit: waiting will not make it smaller."""
EPOCH = 1e9
"""More seconds than anybody is asked to wait; so many had passed since 1970 in 2001."""
QUOTED = 160
"""Characters of a provider's words that are passed on."""
MASKED = re.compile(r"\S*\*{2,}\S*")
"""A key as providers quote it, most of it hidden."""
STOPS = (401, 402)
"""Statuses that stop the run also where they are said inside a 200."""
PASSES = (408, 409, 425, 429, 529)
FINAL = (401, 402, 403, 404, 405, 407, 410)
"""Refusals of all requests, unless their words say otherwise; any other (a 424, a 451) may be of this one alone."""
NOT_MADE = 501
"""Of something in the request that the server does not do (vLLM, llama.cpp): it will not do it later either."""
CODES = ("type", "code", "status", "__type", "error_code", "status_code")
SAID = ("message", "detail", "error_msg", "status_msg", "msg", "title")
"""What the codes and the words of an error are called (OpenAI; FastAPI; Baidu; MiniMax; Zhipu; RFC 9457; AWS)."""
BY_TYPE = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529, "rate_limit_exceeded": 429, "resource_exhausted": 429, "too_many_requests": 429,
    "invalid_api_key": 401, "unauthenticated": 401, "insufficient_quota": 402, "payment_required": 402,
    "unavailable": 503, "internal": 500, "server_error": 500, "deadline_exceeded": 504, "overloaded": 529,
}  # fmt: skip
"""What the types of errors (Anthropic's, Google's, OpenAI's) would be as statuses, where none is given."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error body says. codes: everything in it that is a code rather than prose; wait: seconds it names;
    status: the one it gives itself."""

    message: str = ""
    codes: tuple[str, ...] = ()
    param: str | None = None
    wait: float | None = None
    status: int | None = None


def read(data: bytes) -> Problem:
    """What an error reply says, whatever shape the server gives it."""
    try:
        found = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Problem(data[:200].decode(errors="replace"))
    return _problem(found)


def _problem(found: Any) -> Problem:
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict) and isinstance(errors := found.get("errors"), list) and errors and "error" not in found:
        found = errors[0]
    outer = found if isinstance(found, dict) else {}
    found = outer.get("error") or outer.get("base_resp") or found
    while isinstance(found, dict) and isinstance(found.get("error"), dict) and not _said(found):
        found = found["error"]
    if found is True or (isinstance(found, str) and outer):  # TGI and others: the words alone, the rest beside them
        found = {**outer, "message": _said(outer) if found is True else found}
    if not isinstance(found, dict):
        return Problem(str(found))
    message, param = _said(found), found.get("param")
    status = _status(found) or _status(outer)
    problem = Problem(
        str(message), tuple(_codes(found)), param if isinstance(param, str) else None, _wait(found), status
    )
    return _behind(problem, found.get("metadata"))


def _said(found: Mapping[str, Any]) -> Any:
    """The words of an error, whatever its server calls them."""
    return next((found[name] for name in SAID if found.get(name)), "")


def _behind(problem: Problem, metadata: Any) -> Problem:
    """With what a router (OpenRouter) passes on from the provider behind it: "Provider returned error" says nothing."""
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not raw:
        return problem
    inner = read(raw.encode()) if isinstance(raw, str) else _problem(raw)
    if not inner.message:
        return problem
    return replace(
        problem,
        message=f"{problem.message.rstrip('.')}: {inner.message}",
        codes=(*problem.codes, *inner.codes),
        param=problem.param or inner.param,
        wait=inner.wait if problem.wait is None else problem.wait,
    )


def inside(host: str, data: bytes, secret: str | None) -> tuple[Problem, ProviderError] | None:
    """An error in the body of a 200, and what it means; None where there is none. It was not paid. Where it says
    nothing of rate limits, keys or credit, it is the row's, for the server is there and answers."""
    found = _error_in(data)
    if found is None:
        return None
    problem = _problem(found)
    status = problem.status or _by_words(problem)
    if status not in (*STOPS, *PASSES) and status < 500:
        status = 400
    error = meaning(host, status, problem, {}, secret)
    if isinstance(error, Retryable):
        error.paid = False
    return problem, error


def _by_words(problem: Problem) -> int:
    """The status that an error would have, where none is given."""
    said = f"{' '.join(problem.codes)} {problem.message}"
    if ROW_ONLY.search(said):
        return 400
    if RATES.search(said) or OVERLOADED.search(problem.message):
        return 429
    if UNPAID_WORDS.search(problem.message):
        return 402
    return 401 if BAD_KEY.search(said) or KEY_WORDS.search(problem.message) else 400


def _error_in(data: bytes) -> dict[str, Any] | None:
    """The part of a body that is an error."""
    try:
        found = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return None
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    for each in (found, choice):
        if isinstance(each, dict) and each.get("error"):
            return each
    is_error = "error" in (found.get("object"), found.get("type")) or found.get("errors") or found.get("base_resp")
    return found if is_error or _said(found) else None


def meaning(host: str, status: int, problem: Problem, headers: Mapping[str, str], secret: str | None) -> ProviderError:
    """What a reply with this status means. secret: the key, which no message may quote."""
    said = _quote(problem.message, secret)
    codes, after = " ".join(problem.codes), retry_after(headers, problem)
    if 300 <= status < 400:
        return Refused(f"{host} {_elsewhere(status, headers)}", doubtful=True)
    if _unpaid(status, codes, problem.message):
        return Refused(f"{host}: the quota or credit is used up{said}. Add to it, then run again to go on.")
    if status == 429 and _outsized(problem.message):
        return Refused(f"{host}: this request is larger than the limit of rates{said}.", maybe_row=True)
    limited = status in (400, 403) and RATES.search(codes)
    if status in (429, 529) or limited or (status == 503 and OVERLOADED.search(problem.message)):
        return Retryable(f"{host} asks to slow down (status {status}){said}.", retry_after=after, throttled=True)
    if status >= 500 and TOO_LONG_AT_ALL.search(problem.message):
        return Refused(f"{host} refuses the request (status {status}){said}.", row_only=True)
    if status in (408, 409, 425) or (status >= 500 and status != NOT_MADE):
        paid = status in (502, 504, 524)
        return Retryable(f"{host} failed with status {status}{said}.", retry_after=after, paid=paid)
    if status == 401 or (status in (400, 403) and BAD_KEY.search(codes)):
        words = MASKED.sub("…", said)
        return Refused(f"{host} does not accept the key (status {status}){words}.", key=True)
    row_only = status == 413 or bool(ROW_ONLY.search(f"{codes} {problem.message}"))
    if status == 403 and not row_only and not WALL.search(problem.message):
        words = f"{host} does not let this key do that (status 403){said}. Check the key and its permissions."
        return Refused(words, doubtful=True)
    if status == 404:
        return Refused(f"{host} does not know this model or address (status 404){said}.", doubtful=True)
    return Refused(
        f"{host} refuses the request (status {status}){said}.",
        row_only=row_only,
        maybe_row=status == 403 or status not in FINAL,
        doubtful=status in (405, 410),
    )


def _elsewhere(status: int, headers: Mapping[str, str]) -> str:
    """What a status between 300 and 399 means."""
    if "location" in headers:
        return "redirects to another address; not followed. Give the final address."
    return f"answers with status {status}, which is no answer: is this the address of its API?"


def _outsized(message: str) -> bool:
    """Whether a request asks for more than the whole limit of a minute."""
    limit, asked = (_number(words.search(message)) for words in (LIMIT, ASKED))
    return asked > limit if asked and limit else bool(OUTSIZED.search(message))


def _number(found: re.Match[str] | None) -> int:
    digits = found[1].replace(",", "") if found else ""
    return int(digits) if 0 < len(digits) < 20 else 0


def retry_after(headers: Mapping[str, str], problem: Problem | None = None) -> float | None:
    """Seconds to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date, else what the body names. A server
    that says 0, or a time that is past, does not say how long."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0), ("ratelimit-reset", 1.0)):
        if (text := headers.get(name)) is not None and (named := _seconds(text, scale)) is not None:
            return named if named > 0 else None
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
    yield from (str(found[name]) for name in CODES if found.get(name) is not None)
    if isinstance(inner := found.get("innererror"), dict) and inner.get("code"):  # Azure
        yield str(inner["code"])
    for detail in _details(found):
        yield from (str(detail[name]) for name in ("error_code", "reason") if detail.get(name))
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            yield str(violation.get("quotaId", "")) if isinstance(violation, dict) else ""


def _status(found: Mapping[str, Any]) -> int | None:
    """The status that an error gives itself, by a number or by its type."""
    for name in ("code", "status", "status_code", "statusCode", "raw_status_code"):
        value = found.get(name)
        if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value):
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    kinds = [str(found.get(name)).lower() for name in ("code", "type", "status", "error_type")]
    return next((BY_TYPE[kind] for kind in kinds if kind in BY_TYPE), None)


def _wait(found: Mapping[str, Any]) -> float | None:
    if isinstance(seconds := found.get("estimated_time"), int | float) and 0 <= seconds < 86_400:
        return float(seconds)  # Hugging Face, while a model is loaded
    for detail in _details(found):
        if isinstance(delay := detail.get("retryDelay"), str):
            return _seconds(delay.rstrip("s"), 1.0)
    return None


def _details(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    details = found.get("details")
    details = details if isinstance(details, list) else [details]
    return [detail for detail in details if isinstance(detail, dict)]


def _seconds(text: str, scale: float) -> float | None:
    """A number, a number with its unit, a date, or seconds since 1970."""
    try:
        seconds = float(text) * scale
    except ValueError:
        return _until(text)
    if scale == 1.0 and EPOCH < seconds < 10 * EPOCH:
        seconds -= time.time()
    return max(0.0, seconds) if seconds < float("inf") else None


def _until(text: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return after(text, time.time())


def _quote(message: str, secret: str | None) -> str:
    text = " ".join(message.split())
    if secret:
        text = text.replace(secret, "…")
    text = text[:QUOTED].rstrip(".")
    return f": {text}" if text else ""


_decode = msgspec.json.Decoder().decode
