"""Regular expressions of a user's schema on text that a model wrote, in bounded time.

Rust's engine (in polars) takes time in proportion to the text, whatever the expression. It knows neither looking around
nor references to groups; such an expression is left to Python's engine, which tries all ways, unless a repetition
stands within a repetition: then there may be more ways than can be tried, and the expression is refused.

Repetitions side by side that may share a stretch of text (`.*.*x`) take time in proportion to a power of its length. Up
to a length such an expression is tried; a longer text does not fit it, on any machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from smart_llm.errors import InputError

_NESTED = re.compile(r"[*+}][?+]?\)+[*+{]|[*+}][^()|]*\)+[*+{]|\|[^()]*\)+[*+{]|[*+][^()]*\([^()]*\\\d")
"""A group that is repeated and has a repetition or a choice in it."""


MOST_STEPS, MOST_POWER = 1e9, 3
"""Steps of Python's engine that may be taken for one text, about half a second; the highest power of its length."""
_UNIT = re.compile(
    r"(?P<group>\((?:\?(?:P?<\w+>|<?[=!]|:|[aiLmsux-]+[:)]))?|[)|^$])"
    r"|(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.)(?P<times>(?:[*+?]|\{\d*,?\d*\})[?+]?)?",
    re.DOTALL,
)
"""A part of an expression: a sign of grouping, or what stands for a character and how often it may come."""
_SIGNS = "aA0 \n_-@.,:/é"
"""Some of every kind of sign."""


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
            "repetition and without many side by side, or without looking around and references to groups."
        )


def endless(pattern: str) -> bool:
    """Whether Python's engine may try more ways than can be tried."""
    return _NESTED.search(pattern) is not None or _power(pattern) > MOST_POWER


def found(pattern: str, text: str) -> bool:
    """Whether the expression is found anywhere in the text; not in one that is too long to be tried."""
    if not _linear(pattern):
        return len(text) <= longest(pattern) and re.search(pattern, text) is not None
    return _contains(pattern, text)


@lru_cache(maxsize=256)
def longest(pattern: str) -> int:
    """The longest text that Python's engine is to try, in characters."""
    return int(MOST_STEPS ** (1 / _power(pattern)))


def _power(pattern: str) -> int:
    """The power of a text's length that the time to search it may grow by: the most repetitions that one sign may run
    through, and one more where the search may begin anywhere. Never too low: groups and looking around count as what
    is in them, and where they hold alternatives nothing stands between two repetitions."""
    return max(_power_of(units) for units in _alternatives(pattern))


def _alternatives(pattern: str) -> Iterator[list[re.Match[str]]]:
    """The parts of an expression, for each of its alternatives that are in no group."""
    units: list[re.Match[str]] = []
    depth = 0
    for unit in _UNIT.finditer(pattern):
        sign = unit["group"] or ""
        depth += sign.startswith("(") and not sign.endswith(")")
        depth -= sign == ")"
        if sign == "|" and depth == 0:
            yield units
            units = []
        else:
            units.append(unit)
    yield units


def _power_of(units: list[re.Match[str]]) -> int:
    groups, atoms = [unit["group"] for unit in units], [unit for unit in units if unit["atom"]]
    if [group for group in groups if group != ")"][-1:] == [None]:
        atoms.pop()  # nothing stands behind the last one that could make it try again
    signs = {*_SIGNS, *(unit["atom"] for unit in atoms if len(unit["atom"]) == 1)}
    most = max(_run(atoms, sign, apart="|" not in groups) for sign in signs)
    anchored = groups[:1] == ["^"] or (bool(units) and units[0][0] == r"\A")
    return max(1, most + (not anchored)) if most else 1


def _run(units: list[re.Match[str]], sign: str, *, apart: bool) -> int:
    """Repetitions in a row that this sign may run through. apart: other signs between two of them keep them apart."""
    most = run = 0
    for unit in units:
        times = unit["times"] or ""
        if _fits(unit["atom"], sign):
            run += times.startswith(("*", "+")) or ",}" in times or unit["atom"][1:].isdecimal()
            most = max(most, run)
        elif apart and not times.startswith(("*", "?", "{0", "{,")):
            run = 0
    return most


@lru_cache(maxsize=4096)
def _fits(atom: str, sign: str) -> bool:
    """Whether one sign fits; whatever is no expression by itself (a reference to a group) may be anything."""
    try:
        return re.fullmatch(atom, sign, re.IGNORECASE | re.DOTALL) is not None
    except re.error:
        return True


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
