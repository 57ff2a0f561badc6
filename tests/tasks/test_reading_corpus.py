"""Nearly two thousand replies, in several languages, with the right reading of each: `corpus/`.

In them the same figures of speech come back with other words, since it is the kind that must be read, not the example.
"""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart

CORPUS = Path(__file__).parent / "corpus"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def table(name: str) -> dict[str, Any]:
    """One file of the corpus."""
    return tomllib.loads((CORPUS / f"{name}.toml").read_text("utf-8"))


def groups(name: str) -> list[Any]:
    """The groups of one file: replies of a kind, each with its right reading."""
    return [pytest.param(group, id=f"{n}: {group['about']}") for n, group in enumerate(table(name)["group"])]


def right(group: dict[str, Any]) -> dict[str, str | None]:
    """Reply → right reading."""
    read = {reply: value for value, said in group.get("read", {}).items() for reply in said}
    return read | dict.fromkeys(group.get("none", []))


@pytest.mark.parametrize("group", groups("labels"))
def test_labels(group: dict[str, Any]) -> None:
    """A reply gives the label it affirms, and None where it denies, doubts, reports, takes back or names several."""
    task = smart.Task("{text}", labels=group["labels"])
    assert {reply: task.parse(reply) for reply in right(group)} == right(group)


@pytest.mark.parametrize("group", groups("numbers"))
def test_numbers(group: dict[str, Any]) -> None:
    """A reply gives the number it states, and None where sign, size or grouping cannot be told."""
    task = smart.Task("{text}", answer="number")
    meant = {reply: None if number is None else Decimal(number) for reply, number in right(group).items()}
    assert {reply: task.parse(reply) for reply in meant} == meant


@pytest.mark.parametrize("group", groups("json"))
def test_json(group: dict[str, Any]) -> None:
    """A reply gives the one value it states, and None where JSON is spoilt, cut off, denied or an example."""
    task = smart.Task("{text}", schema=PERSON) if group["person"] else smart.Task("{text}", answer="json")
    meant = {reply: None if value is None else json.loads(value) for reply, value in right(group).items()}
    assert {reply: task.parse(reply) for reply in meant} == meant


@pytest.mark.parametrize("same", [True, False])
def test_texts(same: bool) -> None:
    """Two texts are the same, alone and within JSON, when they differ only in how they are typed."""
    text, value = smart.Task("{text}", answer="text"), smart.Task("{text}", answer="json")
    for a, b in table("texts")["same" if same else "different"]:
        assert text.equivalent(a, b) is text.equivalent(b, a) is same, (a, b)
        assert value.equivalent({"x": [a]}, {"x": [b]}) is same, (a, b)


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    """Several hundred replies of each kind, among them many that must be read and many that must not."""
    for name, least in (("labels", 700), ("numbers", 600)):
        said = [
            ((tuple(group.get("labels", ())), reply), value)
            for group in table(name)["group"]
            for value, replies in [(None, group.get("none", [])), *group.get("read", {}).items()]
            for reply in replies
        ]
        assert len(said) == len({place for place, _ in said}) >= least
        assert 0.25 < sum(value is None for _, value in said) / len(said) < 0.75
