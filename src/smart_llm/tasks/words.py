"""A task in words, from its description (`Task.described`): what must be answered, and when two answers are the
same."""

from __future__ import annotations

from smart_llm.types.plan import DescribedFunction, DescribedTask


def contract(described: DescribedTask) -> str:
    """What the model must answer."""
    if described.labels is not None:
        return f"one of the labels {', '.join(described.labels)}"
    if described.schema is not None:
        return "JSON that fits the schema"
    words = {
        "number": "a number",
        "json": "JSON",
        "text": "a text",
        "custom": "whatever your function makes a value of",
    }
    return words.get(described.contract, described.contract)


def equivalence(described: DescribedTask) -> str:
    """When two answers count as the same: goes on after "when"."""
    name, tolerance = described.equivalence, described.tolerance
    if isinstance(name, DescribedFunction):
        return f"your function {name.name} says so"
    near = (
        "a millionth of the larger one, and at most 0.000001"
        if tolerance is None
        else f"{tolerance:g} of the larger one (or of 1)"
    )
    words = {
        "label": "they are the same label",
        "exact": "they are exactly the same",
        "text": "they are the same but for case, spaces, quote marks and a final full stop",
        "number": f"they differ by at most {near}",
        "json": "they hold the same values: texts but for case, spaces, quote marks and a final full stop; integers "
        f"exactly; other numbers may differ by {near}",
        "json-exact": "they hold exactly the same values",
    }
    return words.get(name, name)
