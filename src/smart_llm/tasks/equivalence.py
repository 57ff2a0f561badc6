"""Equivalences: when two answers count as the same.

To add one: write a function of two values and a tolerance, and add a row to `EQUIVALENCES`; the contract suite
(`tests/contracts/test_equivalences.py`) picks it up from there. An equivalence is total (any two values), reflexive
and symmetric; it never sees None, which is equivalent to nothing.

Tolerance t means |a − b| ≤ t · max(1, |a|, |b|): absolute for small numbers, relative for large ones.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from smart_llm.errors import InputError

DEFAULT_TOLERANCE = 1e-6
Relation = Callable[[Any, Any], bool]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_KEPT_SIGNS = frozenset("#%&@")


@dataclass(frozen=True, slots=True)
class Equivalence:
    """A named relation. kinds: the output contracts it makes sense for. `tolerant`: it looks at the tolerance."""

    name: str
    kinds: Collection[str]
    relate: Callable[[Any, Any, float], bool]
    tolerant: bool = False

    def relation(self, tolerance: float) -> Relation:
        """The relation at a tolerance."""
        return lambda a, b: self.relate(a, b, tolerance)


def same(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    """The same value: numbers by value (1 = 1.0), but true is not 1; objects by keys, arrays in order."""
    return _walk(a, b, _same_leaf)


def same_text(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    """Texts up to case, compatibility forms, punctuation, articles and spaces; other values as `same`."""
    if isinstance(a, str) and isinstance(b, str):
        return a == b or normal_text(a) == normal_text(b)
    return same(a, b)


def same_number(a: Any, b: Any, tolerance: float = DEFAULT_TOLERANCE) -> bool:
    """Numbers within the tolerance; other values as `same`."""
    if not (_is_number(a) and _is_number(b)):
        return same(a, b)
    if a == b:
        return True
    if not (math.isfinite(a) and math.isfinite(b)):
        return bool(a != a and b != b)
    x, y = Decimal(a), Decimal(b)
    return abs(x - y) <= Decimal(tolerance) * max(Decimal(1), abs(x), abs(y))


def same_json(a: Any, b: Any, tolerance: float = DEFAULT_TOLERANCE) -> bool:
    """Field by field: numbers within the tolerance, texts normalised, arrays in order, objects by keys."""
    return _walk(a, b, lambda x, y: same_number(x, y, tolerance) if _is_number(x) else same_text(x, y))


def normal_text(text: str) -> str:
    """The form in which texts are compared. Signs that carry meaning (+, #, %, a minus or point inside a number) stay;
    where nothing would be left, articles and punctuation stay too."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    bare = "".join(_kept(folded, i) for i in range(len(folded)))
    return " ".join(_ARTICLES.sub(" ", bare).split()) or " ".join(folded.split())


def _kept(text: str, i: int) -> str:
    sign = text[i]
    if not unicodedata.category(sign).startswith("P") or sign in _KEPT_SIGNS:
        return "-" if sign == "−" else sign
    if sign in "'’":
        return ""
    before, after = text[i - 1 : i], text[i + 1 : i + 2]
    if after.isdigit() and ((sign in ".," and before.isdigit()) or (sign == "-" and not before.isalnum())):
        return sign
    return " "


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _walk(a: Any, b: Any, leaf: Relation) -> bool:
    """Compare two values field by field, with `leaf` for what is neither an object nor an array."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_walk(a[key], b[key], leaf) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_walk(x, y, leaf) for x, y in zip(a, b, strict=True))
    return leaf(a, b)


def _same_leaf(a: Any, b: Any) -> bool:
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    return a is b or bool(a == b) or bool(a != a and b != b)


_ANY = ("labels", "number", "json", "text", "custom")
EQUIVALENCES = {
    entry.name: entry
    for entry in (
        Equivalence("label", ("labels",), same),
        Equivalence("exact", _ANY, same),
        Equivalence("text", ("text", "custom"), same_text),
        Equivalence("number", ("number", "custom"), same_number, tolerant=True),
        Equivalence("json", ("json", "custom"), same_json, tolerant=True),
        Equivalence("json-exact", ("json", "custom"), same),
    )
}


def named(name: str, kind: str, tolerance: float | None) -> Relation:
    """The equivalence of this name for answers of this kind. InputError: unknown, not applicable, a bad tolerance."""
    entry = EQUIVALENCES.get(name)
    fitting = [each.name for each in EQUIVALENCES.values() if kind in each.kinds]
    if entry is None or kind not in entry.kinds:
        fault = "unknown equivalence" if entry is None else f"answers of kind {kind} have no equivalence"
        raise InputError(f"{fault} {name!r}: use {', '.join(fitting)}, or a function of two answers")
    return entry.relation(check_tolerance(tolerance, entry))


def check_tolerance(tolerance: float | None, entry: Equivalence | None) -> float:
    """The tolerance to use. InputError: negative, not finite, or given to an equivalence that has no use for it."""
    if tolerance is None:
        return DEFAULT_TOLERANCE
    if entry is None or not entry.tolerant:
        raise InputError("a tolerance goes with the equivalences number and json: drop it, or name one of these")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise InputError(f"the tolerance must be a number from 0 to below 1, such as 1e-6, not {tolerance!r}")
    return float(tolerance)
