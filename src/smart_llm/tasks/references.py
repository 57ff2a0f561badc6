"""A schema's references to its own parts (`$ref`), followed in bounded time.

A few lines of schema can refer to each other so that one value takes 2¹⁰⁰ steps: each part twice to the next. What does
so whatever the value is refused before anything is asked: steps are counted part by part, never by taking them. Where
the number of steps depends on the value (a choice between two parts that hold each other), checking stops at a fixed
number of references, and the value counts as not satisfying the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from smart_llm.errors import InputError
from smart_llm.types import Json

NAMES = ("$ref", "$dynamicRef", "$recursiveRef")
MOST_STEPS = 10_000
"""Parts of a schema that one value may be held against, all choices tried."""
MOST_REFERENCES = 20_000
"""References followed for one answer; a second or so."""
_LISTS, _NAMED = ("allOf", "anyOf", "oneOf"), ("dependentSchemas", "dependencies")
_SINGLE = ("not", "if", "then", "else")


class TooMany(Exception):
    """References followed for one value."""


class Followed:
    """Counts the references followed for one value, from `begin` on."""

    def __init__(self) -> None:
        self._left = MOST_REFERENCES

    def begin(self) -> None:
        """Another value."""
        self._left = MOST_REFERENCES

    def counting(self, keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        """The keyword of a reference, counted; raises `TooMany`."""

        def counted(validator: Any, target: str, value: Json, schema: Json) -> Iterator[Any]:
            self._left -= 1
            if self._left < 0:
                raise TooMany
            yield from keyword(validator, target, value, schema)

        return counted


def of(schema: Json) -> Iterator[str]:
    """All references in a schema."""
    if isinstance(schema, dict):
        yield from (schema[name] for name in NAMES if isinstance(schema.get(name), str))
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from of(part)


def check(schema: dict[str, Json], resolver: Any) -> None:
    """`InputError` where one value would take too many steps, or steps without end, whatever it is. resolver: of
    `referencing`, at the root of the schema; raises its `Unresolvable` where a reference leads out of the schema."""
    steps: dict[int, int] = {}

    def count(part: Json, resolver: Any) -> int:
        if not isinstance(part, dict):
            return 1
        if (known := steps.get(id(part))) is None:
            steps[id(part)] = 0  # being counted
            known = steps[id(part)] = 1 + sum(count(*each) for each in _same_value(part, resolver))
        if not known:
            raise InputError("the schema has a part that refers to itself for the very same value, without end")
        return known

    for part in _parts(schema):
        if count(part, resolver) > MOST_STEPS:
            raise InputError(
                f"the schema refers to its own parts so often that one value takes more than {MOST_STEPS:,} steps: "
                "let fewer parts refer to the same one twice"
            )


def _parts(schema: Json) -> Iterator[dict[str, Json]]:
    """Every object in a schema."""
    if isinstance(schema, dict):
        yield schema
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else ():
        yield from _parts(part)


def _same_value(part: dict[str, Any], resolver: Any) -> Iterator[tuple[Json, Any]]:
    """The schemas that a value is held against along with this one, each with what resolves its references."""
    for name in NAMES:
        if isinstance(part.get(name), str):
            found = resolver.lookup(part[name])
            yield found.contents, found.resolver
    for name in _LISTS:
        yield from ((each, resolver) for each in part.get(name, ()) if isinstance(part[name], list))
    for name in _NAMED:
        yield from ((each, resolver) for each in part.get(name, {}).values() if isinstance(part[name], dict))
    yield from ((part[name], resolver) for name in _SINGLE if name in part)
