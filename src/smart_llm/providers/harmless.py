"""What a server says, made fit to be shown and kept: no control characters, which could rewrite a terminal, and not the
key, which some servers send back, as it is or encoded."""

from __future__ import annotations

import base64
import html
import json
import re
from functools import lru_cache
from urllib.parse import quote

_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?|\x1b[@-_]"
)
"""Escape sequences of terminals (ECMA-48): control sequences, commands, and two-letter ones."""
SHORT = 200
"""Characters of a text that is remembered."""
SHORTEST = 6
"""Characters of a key from which on it is looked for: a shorter one is found in ordinary words."""


def shown(text: str, secret: str | None = None) -> str:
    """A text to show, on one line, without the key."""
    return _shown(text, secret) if len(text) <= SHORT else _on_a_line(text, secret)


def _on_a_line(text: str, secret: str | None) -> str:
    return " ".join(_CONTROL.sub("", _SEQUENCE.sub("", hidden(text, secret))).split())


_shown = lru_cache(maxsize=256)(_on_a_line)
"""Of short texts most are the same in every reply: the name of the model, why it finished."""


def hidden(text: str, secret: str | None) -> str:
    """A text to keep, without the key in any form that a server may have put it in."""
    if not secret or len(secret) < SHORTEST:
        return text
    found = _forms(secret)
    return found.sub("…", text) if found.search(text) else text


@lru_cache(maxsize=64)
def _forms(secret: str) -> re.Pattern[str]:
    """The key as it is, in Base64 (wherever in a longer text it begins), in hexadecimal, and as in URLs, JSON, HTML."""
    data = secret.encode()
    forms = {secret, secret[::-1], data.hex(), quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret)}
    forms |= {"".join(f"%{byte:02x}" for byte in data)}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(bytes(shift) + data).decode().rstrip("=")
            first, last = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6  # letters that hold nothing but the key
            forms.add(whole[first:last])
    longest = sorted((form for form in forms if len(form) >= SHORTEST), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)), re.IGNORECASE)
