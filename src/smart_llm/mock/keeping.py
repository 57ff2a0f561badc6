"""A server that keeps its model to labels while it writes, as llama.cpp (by a schema), vLLM (by both ways) and servers
that pass over what they are told. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

KEEPS = ("none", "schema", "choice", "both")


def kept(text: str, keeps: str, *, choice: Sequence[str] | None, schema: Any) -> str | None:
    """What the model writes in place of this text, told to choose or to keep to a schema; None where it is told neither
    in a way that its server knows. A text that is none of the labels becomes one of them."""
    if keeps in ("schema", "both") and isinstance(schema, dict):
        field = schema.get("properties", {}).get("label", {})
        labels = schema.get("enum") or field.get("enum")
        if labels:
            label = _nearest(text, labels)
            return json.dumps({"label": label} if field else label)
    if keeps in ("choice", "both") and choice:
        return _nearest(text, choice)
    return None


def _nearest(text: str, labels: Sequence[str]) -> str:
    """The label in the text, else the first."""
    return next((label for label in labels if label in text), labels[0])
