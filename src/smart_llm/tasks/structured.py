"""Reading a JSON value out of a reply, and checking it against a schema.

Candidates: the whole reply; else the code fences; else every outermost object or array standing in the text. The
answer is the one value that satisfies the schema; None where there is none, or two different ones.

In running text, nothing is read out of JSON that is cut off or spoilt (a part of it might fit the schema by itself),
nor what the text denies, takes back or gives as an example. An array counts only at the start of a line or after a
mark or word that announces it: "[1]" may be a footnote.

Refused, since it has no one meaning: NaN and Infinity, numbers that a float cannot hold (too large, too small, or large
ones with more digits than it has), a key given twice, text that is not Unicode. A schema's `$ref` stays inside the
schema: nothing is ever fetched.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from typing import Any

from smart_llm.errors import InputError
from smart_llm.tasks import patterns, references
from smart_llm.tasks.equivalence import shallow
from smart_llm.tasks.phrases import CONDITION, DENIAL, any_of, takes_back
from smart_llm.tasks.replies import fenced
from smart_llm.types import Json

_START = re.compile(r"[{\[]")
_TRIES = 64  # places in one reply where a value may start; more is no answer but noise
_BEGUN = re.compile(r"[{\[]\s*(?:[\"{}\[\]]|-?\d|true\b|false\b|null\b)")
_ANNOUNCED = re.compile(r"(?:^|\n|[:=：→>]|\b(?:is|are))[\s*_`]*$", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?。！？]\s|\n")
_EXAMPLE = any_of(
    r"""
    example\w* e\.g\.? such_as like for_instance previous\w* original input zum_beispiel z\.b\.? par_exemple por_ejemplo
    """,
    "例 예",
)
_WHOLE_FLOATS = 2.0**53  # from here on a float does not tell every whole number from the next

Check = Callable[[Json], bool]


def read_json(reply: str, valid: Check) -> Json | None:
    """The one valid JSON value in a reply, or None. (A bare `null` is no answer either.)"""
    for candidates in (_whole([reply]), _fenced(reply), _embedded(reply)):
        values = [value for value in candidates if value is not None and shallow(value) and valid(value)]
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
    except RecursionError:
        raise InputError("the schema is nested too deep") from None
    followed = references.Followed()
    validator = _bounded(kind, followed)(schema, registry=Registry())
    try:
        for pattern, names in _patterns(schema):
            patterns.check(pattern, names=names)
        for reference in references.of(schema):
            validator._resolver.lookup(reference)
        references.check(schema, validator._resolver)
    except RecursionError:
        raise InputError("the schema is nested too deep") from None
    except Unresolvable as error:
        raise InputError(
            f"the schema refers to {error.ref!r}, which is not in it: put it under $defs (nothing is fetched)"
        ) from None

    def holds(value: Json) -> bool:
        followed.begin()
        try:
            return bool(validator.is_valid(value))
        except (RecursionError, references.TooMany):  # nested too deep, or too long to check: fail closed
            return False

    return holds


def _bounded(kind: Any, followed: references.Followed) -> Any:
    """The validator of this draft, with what may take for ever bounded."""
    import jsonschema

    keywords = {name: followed.counting(kind.VALIDATORS[name]) for name in references.NAMES if name in kind.VALIDATORS}
    return jsonschema.validators.extend(
        kind, {**keywords, "pattern": _pattern, "patternProperties": _pattern_properties}
    )


def _pattern(validator: Any, pattern: str, value: Json, schema: Json) -> Iterator[Any]:
    """The keyword `pattern`, in bounded time."""
    from jsonschema import ValidationError

    if isinstance(value, str) and not patterns.found(pattern, value):
        yield ValidationError("does not match the pattern")


def _pattern_properties(validator: Any, schemas: dict[str, Json], value: Json, schema: Json) -> Iterator[Any]:
    """The keyword `patternProperties`, in bounded time."""
    for pattern, inner in schemas.items() if isinstance(value, dict) else ():
        for name, each in value.items():
            if patterns.found(pattern, name):
                yield from validator.descend(each, inner, path=name, schema_path=pattern)


def _patterns(schema: Json) -> Iterator[tuple[str, bool]]:
    """All expressions in a schema, and whether they are for names of properties."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"], False
        if isinstance(named := schema.get("patternProperties"), dict):
            yield from ((pattern, True) for pattern in named)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _patterns(part)


def _whole(texts: list[str]) -> Iterator[Json]:
    for text in texts:
        try:
            value, end = _decoder().raw_decode(text.strip())
        except (ValueError, RecursionError):
            continue
        if end == len(text.strip()):
            yield value


def _fenced(reply: str) -> Iterator[Json]:
    blocks = fenced(reply)
    return _whole(blocks) if blocks and not takes_back(reply[reply.rindex("```") + 3 :].lower()) else iter(())


def _embedded(text: str) -> list[Json]:
    """Every outermost object or array in the text that is stated there; none where one of them is spoilt."""
    values: list[Json] = []
    position, tries = 0, 0
    while (start := _START.search(text, position)) and tries < _TRIES:
        tries += 1
        before = text[position : start.start()]
        try:
            value, position = _decoder().raw_decode(text, start.start())
        except (ValueError, RecursionError):
            if _BEGUN.match(text, start.start()):
                return []
            position = start.end()
            continue
        sentence, following = _SENTENCE.split(before)[-1].lower(), _SENTENCE.split(text[position:])[0].lower()
        if CONDITION.search(sentence):  # "either … or …" states neither
            return []
        announced = start[0] == "{" or _ANNOUNCED.search(before)
        denied = (
            DENIAL.search(sentence)
            or DENIAL.search(following.partition("{")[0])
            or _EXAMPLE.search(before[-40:].lower())
        )
        if announced and not denied:
            values.append(value)
    return [] if takes_back(text[position:].lower()) else values


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
    large = math.isinf(value) or (abs(value) >= _WHOLE_FLOATS and Decimal(repr(value)) != Decimal(text))
    if large or (value == 0 and re.match(r"[^eE]*[1-9]", text)):
        raise ValueError(f"a float cannot hold {text}")
    return value
