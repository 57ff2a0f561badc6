"""Reading a JSON value out of a reply, and checking it against a schema.

Candidates: the whole reply; else the code fences; else every outermost object or array standing in the text. The
answer is the one value that satisfies the schema; None where there is none, or two different ones.

Refused, since it has no one meaning: NaN and Infinity, numbers too large for a float, a key given twice, text that is
not Unicode. A schema's `$ref` stays inside the schema: nothing is ever fetched.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from smart_llm.errors import InputError
from smart_llm.tasks.replies import fenced
from smart_llm.types import Json

_START = re.compile(r"[{\[]")
_TRIES = 64  # places in one reply where a value may start; more is no answer but noise

_DEEPEST = 100  # levels of nesting; what compares values walks them by recursion

Check = Callable[[Json], bool]


def read_json(reply: str, valid: Check) -> Json | None:
    """The one valid JSON value in a reply, or None. (A bare `null` is no answer either.)"""
    for candidates in (_whole([reply]), _whole(fenced(reply)), _embedded(reply)):
        values = [value for value in candidates if value is not None and _shallow(value, _DEEPEST) and valid(value)]
        if values:
            first = values[0]
            return first if all(canonical(value) == canonical(first) for value in values) else None
    return None


def canonical(value: Json) -> str:
    """One text for one JSON value: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def checker(schema: object) -> Check:
    """A function that says whether a value satisfies the schema. InputError: not a schema, or it refers elsewhere."""
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if not isinstance(schema, dict) or not schema:
        raise InputError('the schema must be a JSON object, such as {"type": "object", "properties": {…}}')
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        json.dumps(schema)
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise InputError(f"the schema is not valid at {error.json_path}: {error.message}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"the schema is not JSON: {error}") from None
    validator = kind(schema, registry=Registry())
    try:
        for reference in _references(schema):
            validator._resolver.lookup(reference)
    except Unresolvable as error:
        raise InputError(
            f"the schema refers to {error.ref!r}, which is not in it: put it under $defs (nothing is fetched)"
        ) from None
    return lambda value: _holds(validator, value)


def _holds(validator: Any, value: Json) -> bool:
    try:
        return bool(validator.is_valid(value))
    except RecursionError:  # the schema or the value is nested too deep to check: fail closed
        return False


def _references(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _whole(texts: list[str]) -> Iterator[Json]:
    for text in texts:
        try:
            value, end = _decoder().raw_decode(text.strip())
        except (ValueError, RecursionError):
            continue
        if end == len(text.strip()):
            yield value


def _embedded(text: str) -> Iterator[Json]:
    """Every outermost object or array in the text."""
    position, tries = 0, 0
    while (start := _START.search(text, position)) and tries < _TRIES:
        tries += 1
        try:
            value, position = _decoder().raw_decode(text, start.start())
            yield value
        except (ValueError, RecursionError):
            position = start.end()


def _shallow(value: Json, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_shallow(part, levels - 1) for part in parts)


@cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    "".join(_texts(pairs)).encode()  # UnicodeEncodeError is a ValueError
    return found


def _texts(pairs: list[tuple[str, Json]]) -> Iterator[str]:
    for key, value in pairs:
        yield key
        if isinstance(value, str):
            yield value


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value
