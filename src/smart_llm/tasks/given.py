"""What the user gives a task in Python's own types, in the words a model understands, and back.

Labels may be an Enum, a list of texts or of truth values, or a dict of labels with what each of them means. A schema
may be a JSON schema or a pydantic model. Answers come back as what was given: members, truth values, objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from smart_llm.errors import InputError
from smart_llm.tasks.contracts import Contract
from smart_llm.types import Json


def label_texts(labels: Any) -> Any:
    """The labels as texts; what is no collection of labels is left for the contract to refuse."""
    if labels is None or isinstance(labels, str) or not hasattr(labels, "__iter__"):
        return labels
    return [label_text(label) for label in labels]


def label_text(label: object) -> str:
    """One label: of a member of an Enum its value, where that is a text, else its name; true and false as JSON has
    them."""
    if isinstance(label, Enum):
        return label.value if isinstance(label.value, str) else label.name
    return json.dumps(label) if isinstance(label, bool) else str(label)


def described(labels: Any, system: str | None) -> str | None:
    """The system message, with what the labels mean where they are a dict. InputError: a meaning that is no text."""
    if not isinstance(labels, Mapping):
        return system
    for label, meaning in labels.items():
        if not isinstance(meaning, str):
            raise InputError(f"label {label_text(label)!r} must have a text that says what it means, not {meaning!r}")
    lines = [f"- {label_text(label)}: {meaning.strip()}" for label, meaning in labels.items() if meaning.strip()]
    told = "\n".join(["Answer with one of these labels:", *lines]) if lines else None
    return "\n\n".join(part for part in (system, told) if part) or None


def schema_of(schema: Any) -> tuple[Any, Callable[[Json], Any] | None]:
    """A JSON schema, and what makes an object of a value, where a pydantic model was given. InputError: neither."""
    if isinstance(schema, type):
        if not hasattr(schema, "model_json_schema") or not hasattr(schema, "model_validate"):
            raise InputError(f"the schema must be a JSON schema or a pydantic model, not the class {schema.__name__}")
        return schema.model_json_schema(), schema.model_validate
    return schema, None  # what is neither, the contract refuses


def members(labels: Any) -> dict[str, Any]:
    """Label as text → what the user gave, where that is no text."""
    given: Iterable[Any] = labels if labels is not None and not isinstance(labels, str) else ()
    return {label_text(label): label for label in given if isinstance(label, Enum | bool)}


def value_of(contract: Contract, text: str) -> Any:
    """A delivered answer as a value of Python's own: numbers, truth values, lists and dicts; texts stay texts."""
    if contract.kind == "number":
        number = Decimal(text)
        whole = number == number.to_integral_value() and "." not in text and number.adjusted() <= 20
        return int(number) if whole else float(number)
    if contract.kind != "json" or not _is_value(contract.schema, text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_value(schema: str | None, text: str) -> bool:
    """Whether a text stands for a JSON value: one that a schema says is a text is written without quotes."""
    kind = json.loads(schema).get("type") if schema is not None else None
    kinds = set(kind) if isinstance(kind, list) else {kind}
    return (bool(kinds & {"number", "integer", "boolean"}) and "string" not in kinds) or text[:1] in ("{", "[")


def fields_of(contract: Contract) -> list[str] | None:
    """The fields of JSON answers, in the schema's order; None where it names none."""
    if contract.schema is None:
        return None
    schema = json.loads(contract.schema)
    reference = schema.get("$ref", "")
    if reference.startswith("#/$defs/"):
        schema = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return list(schema.get("properties", {})) or None
