"""Further shapes of replies, as documentation and public reports of other providers, gateways and proxies show them:
what holds an answer all the same, what was broken off, what refuses one row, asks to wait, or stops a run."""

from __future__ import annotations

import gzip
import json
from typing import Any

from shapes import Body, Said, completion, error

WHOLE = json.dumps(completion("yes")).encode()


def choice(**fields: Any) -> Body:
    """A completion whose one choice is written like this."""
    return {"model": "m-1", "choices": [fields], "usage": {"prompt_tokens": 20, "completion_tokens": 2}}


READ: dict[str, Said] = {
    "parts, of which one is a thought": (200, completion([{"type": "reasoning", "text": "hm, no"},
        {"type": "text", "text": "yes"}])),
    "Mistral, its thoughts": (200, completion([{"type": "thinking", "thinking": [{"type": "text", "text": "no"}]},
        {"type": "text", "text": "yes"}])),
    "parts as the Responses API has them": (200, completion([{"type": "output_text", "text": "yes"}])),
    "parts that are texts": (200, completion(["y", "es"])),
    "a part with a value": (200, completion([{"type": "text", "text": {"value": "yes", "annotations": []}}])),
    "one part, not in a list": (200, completion({"type": "text", "text": "yes"})),
    "a message that is a text": (200, choice(index=0, message="yes", finish_reason="stop")),
    "an older completion": (200, choice(index=0, text="yes", finish_reason="stop")),
    "two choices in the wrong order": (200, {**choice(), "choices": [
        {"index": 1, "message": {"content": "no"}}, {"index": 0, "message": {"content": "yes"}}]}),
    "the same choice twice": (200, {**choice(), "choices": [{"index": 0, "message": {"content": "yes"}}] * 2}),
    "a refusal without words": (200, completion("yes", refusal="")),
    "no reason to finish": (200, completion("yes", finish=None)),
    "Together, its end": (200, completion("yes", finish="eos")),
    "a byte order mark": (200, b"\xef\xbb\xbf" + WHOLE),
    "blank lines that keep the line open": (200, b"\n\n \n" + WHOLE),
    "a proxy that unpacked it and says packed": (200, WHOLE, {"Content-Encoding": "gzip"}),
    "a proxy that packed it and does not say so": (200, gzip.compress(WHOLE)),
    "packed in two pieces": (200, gzip.compress(WHOLE[:40]) + gzip.compress(WHOLE[40:]), {"Content-Encoding": "gzip"}),
    "a stream's last line after it": (200, WHOLE + b"\n\ndata: [DONE]\n\n"),
    "created": (201, WHOLE),
    "of another kind": (200, WHOLE, {"Content-Type": "text/html; charset=utf-16"}),
}  # fmt: skip
"""Replies that say "yes", and are paid once."""

CUT_SHORT: dict[str, Said] = {
    "DeepSeek, out of machines": (200, completion("y", finish="insufficient_system_resource")),
    "vLLM, aborted": (200, completion("y", finish="abort")),
    "GLM, its network": (200, completion("", finish="network_error")),
    "TGI, its time": (200, completion("y", finish="timeout")),
    "Ollama, loaded and no more": (200, completion("", finish="load")),
    "half a body": (200, WHOLE[: len(WHOLE) // 2]),
    "half a packed body": (200, gzip.compress(WHOLE)[:-20], {"Content-Encoding": "gzip"}),
    "nothing": (204, b""),
    "accepted": (202, {"status": "queued"}),
    "a page": (200, b"<!DOCTYPE html><title>Sign in</title>", {"Content-Type": "text/html"}),
    "Cloudflare, too late": (524, b"<html>A timeout occurred</html>"),
}  # fmt: skip
"""Another try may bring the answer."""

ODD_ROW: dict[str, Said] = {
    "TGI, while it writes": (424, {"error": "Request failed during generation", "error_type": "generation"}),
    "legal reasons": (451, error("Unavailable for legal reasons")),
    "not acceptable": (406, error("cannot write that")),
    "a proxy that gave up": (499, b""),
    "MiniMax, sensitive": (200, {"choices": None, "model": "m", "usage": {"total_tokens": 0},
        "base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}),
    "a code and words": (200, {"code": 1261, "msg": "Prompt too long"}),
    "true, and words beside it": (200, {"error": True, "message": "odd row"}),
    "Cloudflare's list": (200, {"success": False, "errors": [{"code": 5006, "message": "Error: bad input"}],
        "result": None}),
    "an error in an error": (400, {"error": {"error": {"message": "the row is odd"}}}),
    "RFC 9457": (400, {"type": "about:blank", "title": "The row is odd", "status": 400}),
    "too long, with status 500": (500, error("Prompt exceeds the number of tokens allowed")),
    "too long, with status 503": (503, error("Input sequence of 9000 tokens exceeds 8192")),
    "not made": (501, error("Images are not implemented")),
}  # fmt: skip
"""Refusals of one request: its own error, with the server's words where there are any."""

SLOW_DOWN: dict[str, Said] = {
    "MiniMax": (200, {"choices": None, "model": "m", "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
    "Baidu": (200, {"error_code": 18, "error_msg": "Open api qps request limit reached"}),
    "DashScope": (200, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}),
    "RFC 9457": (200, {"type": "about:blank", "title": "Too Many Requests", "status": 429}),
    "words alone": (200, {"error": "model is overloaded"}),
    "AWS": (400, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
    "Google": (403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "Quota exceeded",
        "details": [{"reason": "RATE_LIMIT_EXCEEDED"}]}}),
}  # fmt: skip
"""Limits of rates, with whatever status."""

OUTSIZED: dict[str, Said] = {
    "asked first, then the limit": (429, error("Tokens per minute: requested 50000 tokens but the limit is 10000")),
    "with commas": (429, error("This request of 50,000 tokens is above your limit of 10,000 tokens per minute")),
    "short": (429, error("Limit: 8000 TPM. Requested: 12000")),
}
"""One request that is larger than a whole limit: no waiting helps."""

NO_KEY: dict[str, Said] = {
    "in a detail": (200, {"detail": "Invalid API key"}),
    "in a message": (200, {"message": "Unauthorized"}),
    "in an error": (200, {"error": "No auth credentials found"}),
    "of a proxy": (200, {"success": False, "msg": "API key is missing or expired"}),
}
"""The key is not accepted, said inside a 200 without a status."""

NO_MONEY: dict[str, Said] = {
    "MiniMax": (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
    "a proxy's own": (407, error("insufficient balance of the proxy")),
}
"""All is over until somebody adds money."""
