"""Regular expressions of a user's schema on text that a model wrote, in bounded time.

Rust's engine (in polars) takes time in proportion to the text, whatever the expression. It knows neither looking around
nor references to groups; such an expression is left to Python's engine, which tries all ways, unless a repetition
stands within a repetition: then there may be more ways than can be tried, and the expression is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

from smart_llm.errors import InputError

_NESTED = re.compile(r"[*+}][?+]?\)+[*+{]|[*+}][^()|]*\)+[*+{]|\|[^()]*\)+[*+{]|[*+][^()]*\([^()]*\\\d")
"""A group that is repeated and has a repetition or a choice in it."""


def check(pattern: str, *, names: bool = False) -> None:
    """`InputError` where this is no regular expression, or one that may take for ever. names: it is for names of
    properties, which the library that checks schemas looks up by Python's engine too."""
    if not names and _linear(pattern):
        return
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            f"the schema has a pattern that is not a regular expression: {pattern[:80]!r} ({error})"
        ) from None
    if endless(pattern):
        raise InputError(
            f"the schema has a pattern that may take for ever: {pattern[:80]!r}. Write it without a repetition in a "
            "repetition, or without looking around and references to groups."
        )


def endless(pattern: str) -> bool:
    """Whether Python's engine may try more ways than can be tried."""
    return _NESTED.search(pattern) is not None


def found(pattern: str, text: str) -> bool:
    """Whether the expression is found anywhere in the text."""
    if not _linear(pattern):
        return re.search(pattern, text) is not None
    return _contains(pattern, text)


@lru_cache(maxsize=256)
def _linear(pattern: str) -> bool:
    """Whether Rust's engine takes it."""
    from polars.exceptions import PolarsError

    try:
        _contains(pattern, "")
    except PolarsError:
        return False
    return True


def _contains(pattern: str, text: str) -> bool:
    import polars

    return bool(polars.Series([text], dtype=polars.String).str.contains(pattern)[0])
