"""Which JSON answers can be learned: objects all of whose fields are closed, so that each has a model of its own.

A field is closed where its schema leaves a few values: an enum, a constant, a boolean, null, or a choice between such.
An open field (a text, a number, a list) cannot be learned, and an answer without it would never be the reference's, so
a schema with one is refused. What is learned of a field is the JSON text of its value; of one that is left out, none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod

from smart_llm.errors import InputError
from smart_llm.types import Json

LEFT_OUT = ""
"""In the place of a value, where there is none."""
MOST = 2**62
"""Answers that there can be: they are numbered."""
WHAT = "it learns labels, or JSON answers whose fields are all closed (enum or boolean)"


def names(schema: str | None) -> tuple[str, ...]:
    """The fields of answers by this schema. `InputError`: it names none, or one that is not closed."""
    whole = json.loads(schema) if schema is not None else None
    fields = _object(whole)
    if not fields:
        raise InputError(f"--candidate learned: {WHAT}; give --labels or such a --schema, or leave it out.")
    counts = {name: _values(part, whole) for name, part in fields.items()}
    if opened := [name for name, count in counts.items() if not count]:
        raise InputError(f"--candidate learned: {WHAT}, and {opened[0]} is not; leave it out.")
    if prod(count + 1 for count in counts.values()) > MOST:
        raise InputError("--candidate learned: the fields of the answers have too many values to be learned together.")
    return tuple(fields)


def taken_apart(answer: str, fields: Sequence[str]) -> list[str]:
    """The JSON text of every field's value in a delivered answer."""
    try:
        value = json.loads(answer)
    except ValueError:
        value = None
    known = value if isinstance(value, dict) else {}
    return [json.dumps(known[name], ensure_ascii=False) if name in known else LEFT_OUT for name in fields]


def put_together(values: Sequence[str], fields: Sequence[str]) -> str:
    """The answer that has these values, as it is delivered."""
    told = {name: json.loads(value) for name, value in zip(fields, values, strict=True) if value != LEFT_OUT}
    return json.dumps(told, ensure_ascii=False)


def _object(whole: Json) -> Mapping[str, Json]:
    part = _followed(whole, whole)
    fields = part.get("properties") if isinstance(part, dict) else None
    return fields if isinstance(fields, dict) else {}


def _followed(part: Json, whole: Json) -> Json:
    """What a reference within the schema stands for."""
    for _ in range(8):
        reference = part.get("$ref") if isinstance(part, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        part = whole
        for step in reference[2:].split("/"):
            part = part.get(step) if isinstance(part, dict) else None
    return part


def _values(part: Json, whole: Json, depth: int = 4) -> int:
    """How many values a field can have; 0 where it is open."""
    part = _followed(part, whole)
    if not isinstance(part, dict) or not depth:
        return 0
    if "const" in part:
        return int(not isinstance(part["const"], dict | list))
    if "enum" in part:
        known = part["enum"]
        return len(known) if not any(isinstance(value, dict | list) for value in known) else 0
    kinds = part.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if set(kinds) <= {"boolean", "null"}:
        return sum(2 if kind == "boolean" else 1 for kind in kinds)
    for choice in ("anyOf", "oneOf", "allOf"):
        if isinstance(part.get(choice), list):
            counts = [_values(each, whole, depth - 1) for each in part[choice]]
            return max(counts) if choice == "allOf" else sum(counts) * all(counts)
    return 0
