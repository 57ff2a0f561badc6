"""A schema's references to its own parts: however they lie, an answer is checked in bounded time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from smart_llm.errors import InputError
from smart_llm.tasks import Task
from smart_llm.tasks.structured import checker


def twice(keyword: str, depth: int) -> dict[str, Any]:
    """Each part refers twice to the next one, for the same value."""
    parts: dict[str, Any] = {f"p{depth}": {"type": "object"}}
    for level in range(depth):
        to = {"$ref": f"#/$defs/p{level + 1}"}
        parts[f"p{level}"] = {keyword: {"a": to, "b": to} if keyword.startswith("dep") else [to, to]}
    return {"$defs": parts, "$ref": "#/$defs/p0"}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf", "dependentSchemas"])
@pytest.mark.parametrize("depth", [25, 200])
def test_parts_that_refer_twice_to_the_next_are_refused(keyword: str, depth: int) -> None:
    """2²⁵ steps to a value, or 2²⁰⁰: one line of error, at once."""
    start = time.process_time()
    with pytest.raises(InputError, match="more than 10,000 steps") as caught:
        Task("{text}", schema=twice(keyword, depth))
    assert time.process_time() - start < 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inner", [{"not": {"$ref": "#/$defs/b"}}, {"anyOf": [True, {"$ref": "#/$defs/b"}]}])
@pytest.mark.parametrize("where", [{}, {"properties": {"x": {"$ref": "#/$defs/a"}}}])
def test_a_part_that_refers_to_itself_without_end_is_refused(inner: dict[str, Any], where: dict[str, Any]) -> None:
    """For the very same value there is no way out of it; the recursion of the checker is not met in a run."""
    with pytest.raises(InputError, match="without end"):
        checker({"$defs": {"a": inner, "b": {"$ref": "#/$defs/a"}}, "type": "object", **where})


def test_how_far_a_value_leads_is_bounded_too() -> None:
    """Two choices that hold each other double the steps with every level of the answer: it is given up, not checked
    for ever."""
    node = {"$ref": "#/$defs/node"}
    end = {"type": "object", "maxProperties": 0}
    choice = {"anyOf": [{"properties": {"a": node}, "required": ["a", "b"]},
                        {"properties": {"a": node}, "required": ["a", "c"]}, end]}  # fmt: skip
    holds = checker({"$defs": {"node": choice}, "$ref": "#/$defs/node"})
    value: dict[str, Any] = {"a": 5}
    for _ in range(40):
        value = {"a": value}
    start = time.process_time()
    assert not holds(value)
    assert time.process_time() - start < 30
    assert holds({"a": {}, "b": 1})  # the count begins anew with every value


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
def test_a_tree_refers_to_itself_and_is_fine(draft: str) -> None:
    """A recursive schema whose values end is checked as before, however many nodes it has."""
    tree = {"type": "object", "properties": {"child": {"type": "array", "items": {"$ref": "#"}}}, "required": ["child"]}
    holds = checker({"$schema": draft, **tree})
    assert holds({"child": [{"child": []}] * 2000})
    assert not holds({"child": [{"child": [5]}]})


@pytest.mark.parametrize("inner", [lambda deep: {"properties": {"a": deep}}, lambda deep: {"items": deep}])
def test_a_schema_nested_too_deep_is_refused(inner: Any) -> None:
    """One line of error, no `RecursionError`."""
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(3000):
        deep = inner(deep)
    with pytest.raises(InputError, match="nested too deep"):
        checker(deep)
