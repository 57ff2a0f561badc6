"""Schemas with patterns and references: bounded in time, and an error in a line where they cannot be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from smart_llm.errors import InputError
from smart_llm.tasks.structured import checker


def of(pattern: str) -> dict[str, Any]:
    """A schema of one text with this pattern."""
    return {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|aa)+$", "^(a|a)*$", r"^(\w+\s?)*$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y"]
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    """Expressions that make others' engines try all ways are answered at once."""
    holds = checker(of(pattern))
    start = time.process_time()
    assert not holds({"a": "a" * 40 + "x" * 40 + "!"})
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[A-Z]{2}[0-9]+$", "AB12", "ab12"),
        (r"^\d{4}-\d{2}-\d{2}$", "2024-01-02", "2024-1-2"),
        ("^(?=.*a)b", "ba", "bb"),
        (r"^(.)\1$", "aa", "ab"),
        ("é|ü", "für", "fur"),
        ("", "x", None),
    ],
)
def test_patterns_mean_what_they_say(pattern: str, good: str, bad: str | None) -> None:
    """Ordinary expressions, and those that look around or refer to groups, as JSON Schema means them."""
    holds = checker(of(pattern))
    assert holds({"a": good})
    assert bad is None or not holds({"a": bad})


@pytest.mark.parametrize(
    "pattern",
    ["^(?=.*a)(?=.*b).*.*x$", r"(?!b).*@.*x", r"^(?!b)\s*\s*x$", r"(?<!a)\w+\s+x", r"^(.*)\1x$", "(?=a)[a-z]*[a-m]*x"],
)
@pytest.mark.parametrize("sign", ["a", "@", " ", "ab@ "])
def test_repetitions_side_by_side_take_no_time_on_long_texts(pattern: str, sign: str) -> None:
    """Where Python's engine would go through all ways to share out a long text, it is not tried, and does not fit."""
    holds = checker(of(pattern))
    start = time.process_time()
    for length in (100, 1_000, 10_000, 100_000):
        assert not holds({"a": sign * (length // len(sign)) + "!"})
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        (r"^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{8,}$", "Passw0rd" * 20),
        (r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)", "seen on 2024-01-02 " * 50),
        (r"^(?!.*\.\.)[\w.]+@\w+\.\w+$", "a.b" * 30 + "@example.org"),
        (r"(?i)(?!spam)ham", "x" * 100_000 + "HAM"),
        (r"^(?!no)(yes|maybe).*$", "maybe so " * 100),
    ],
)
def test_ordinary_expressions_that_look_around_are_tried(pattern: str, good: str) -> None:
    """Passwords, dates, addresses: of ordinary length and more."""
    assert checker(of(pattern))({"a": good})


@pytest.mark.parametrize("pattern", ["(?=a).*.*.*x", "^(?!b).*.*.*.*x$", r"(?!b)\w*\w*\d*\w*x"])
def test_too_many_repetitions_side_by_side_are_refused(pattern: str) -> None:
    """Before anything is asked."""
    with pytest.raises(InputError, match="may take for ever"):
        checker(of(pattern))


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "(?=x)(a+)+$", r"(a+)+\1$", "(?=(a|aa)+$)b"])
@pytest.mark.parametrize("where", ["pattern", "patternProperties"])
def test_patterns_that_cannot_be_used_are_told(pattern: str, where: str) -> None:
    """No expression at all, or one that may take for ever, is bad input in a line."""
    schema = of(pattern) if where == "pattern" else {"type": "object", "patternProperties": {pattern: {}}}
    with pytest.raises(InputError, match="pattern") as caught:
        checker(schema)
    assert "\n" not in str(caught.value)


def test_names_of_properties_take_no_expression_that_may_take_for_ever() -> None:
    """What names of properties are matched by is refused where it would be tried in all ways."""
    for pattern in ("^(a+)+$", "^(a|aa)+$"):
        with pytest.raises(InputError, match="may take for ever"):
            checker({"type": "object", "patternProperties": {pattern: {}}, "additionalProperties": False})


def test_names_of_properties_by_pattern() -> None:
    """`patternProperties` holds for the names it matches, and for no others."""
    holds = checker({"type": "object", "patternProperties": {"^n_": {"type": "number"}}, "additionalProperties": False})
    assert holds({"n_a": 1})
    assert not holds({"n_a": "1"})
    assert not holds({"m": 1})


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize("to", ["#/$defs/missing", "#nowhere", "https://example.com/x.json", "file:///etc/passwd"])
def test_references_that_lead_nowhere_are_told(keyword: str, to: str) -> None:
    """Static or dynamic, a reference out of the schema is bad input before anything is asked."""
    with pytest.raises(InputError, match="is not in it"):
        checker({"type": "object", "properties": {"a": {keyword: to}}})
