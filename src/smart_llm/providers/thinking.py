"""How many tokens models think before they answer: room for it, known by name. Pure.

Thoughts count against the same limit of output tokens as the answer, so a model that thinks, asked for a label with
twenty tokens, would return nothing and be paid for it. Room costs nothing by itself (what is not used is not billed),
but a budget has to set it aside for every call in flight. Models on a server of the user's own get room only if the
user gives it: there the sum must fit the server's context.
"""

from __future__ import annotations

import re

ROOM = {"none": 0, "minimal": 1024, "low": 4096, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
"""Tokens by effort."""

BY_DEFAULT = "medium"

THINKS = re.compile(
    r"(?:^|/)(?:o\d|gpt-5(?!\.[1-4])(?!.*chat)|gpt-(?:[6-9]|\d\d)|gpt-oss"
    r"|claude-(?:(?:opus|sonnet|haiku|fable|mythos)-[5-9]|mythos)"
    r"|gemini-(?:2\.5-(?:pro|flash(?!-lite))|[3-9])"
    r"|deepseek-(?:r|v[4-9]|flash|pro)|qwen-?3|qwq|glm-|kimi-k2|magistral|grok-[34]|minimax-m)",
    re.IGNORECASE,
)
"""Names of models that think unless they are told not to."""


def room(model: str, effort: str | None, *, hosted: bool = True) -> int:
    """Tokens a model may think. hosted: a provider serves it, not the user."""
    if effort is not None:
        return ROOM[effort]
    return ROOM[BY_DEFAULT] if hosted and THINKS.search(model) else 0
