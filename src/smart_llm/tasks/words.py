"""A task in words, from its description (`Task.to_json`): what must be answered, and when two answers are the same."""

from __future__ import annotations

from collections.abc import Mapping

from smart_llm.types import Json


def contract(described: Mapping[str, Json]) -> str:
    """What the model must answer."""
    if described["labels"] is not None:
        return f"one of the labels {', '.join(described['labels'])}"
    if described["schema"] is not None:
        return "JSON that fits the schema"
    words = {
        "number": "a number",
        "json": "JSON",
        "text": "a text",
        "custom": "whatever your function makes a value of",
    }
    return words.get(described["contract"], str(described["contract"]))


def equivalence(described: Mapping[str, Json]) -> str:
    """When two answers count as the same: goes on after "when"."""
    name, tolerance = described["equivalence"], described["tolerance"]
    if not isinstance(name, str):
        return f"your function {name['name']} says so" if "name" in name else "your function says so"
    words = {
        "label": "they are the same label",
        "exact": "they are exactly the same",
        "text": "they are the same but for case, punctuation, articles and spaces",
        "number": f"they differ by at most {tolerance:g} of the larger one (or of 1)",
        "json": f"they hold the same values (texts but for case and punctuation, numbers within {tolerance:g})",
        "json-exact": "they hold exactly the same values",
    }
    return words.get(name, str(name))
