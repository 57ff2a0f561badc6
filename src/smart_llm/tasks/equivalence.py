"""Equivalences: when two answers count as the same.

To add one: write a function of two values and a tolerance, and add a row to `EQUIVALENCES`; the contract suite
(`tests/contracts/test_equivalences.py`) picks it up from there. An equivalence is total (any two values), reflexive
and symmetric; it never sees None, which is equivalent to nothing. Where it is in doubt, two answers differ: that costs
agreement, while a relation that is too generous would make the promise mean less than it says.

Numbers. A tolerance t that the user gives means |a − b| ≤ t · max(1, |a|, |b|): absolute for small numbers, relative
for large ones. Without one, numbers may differ by a millionth of the larger, and never by more than 0.000001: that
forgives how a fraction is rounded or held by a machine, while whole numbers, cents and seconds are exact, and small
probabilities are told apart.
In JSON two integers (numbers written without a point or exponent) must be equal whatever the tolerance, for they are
counts, years and identifiers; as soon as one of the two is written as a float, the tolerance applies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from smart_llm.errors import InputError
from smart_llm.tasks.folding import normal_text

ROUNDING = Decimal("1e-6")
"""What numbers may differ by without a tolerance: this share of the larger one, and never more than this."""
_ONE = Decimal(1)
DEEPEST = 100
"""Levels of nesting; what compares values walks them by recursion."""
Relation = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Equivalence:
    """A named relation. kinds: the output contracts it makes sense for. `tolerant`: it looks at the tolerance."""

    name: str
    kinds: Collection[str]
    relate: Callable[[Any, Any, float | None], bool]
    tolerant: bool = False

    def relation(self, tolerance: float | None) -> Relation:
        """The relation at a tolerance (None: the user gave none)."""
        return lambda a, b: self.relate(a, b, tolerance)


def same(a: Any, b: Any, tolerance: float | None = None) -> bool:
    """The same value: numbers by value (1 = 1.0), but true is not 1; objects by keys, arrays in order."""
    return _walk(a, b, _same_leaf)


def same_text(a: Any, b: Any, tolerance: float | None = None) -> bool:
    """Texts up to case, spaces, quote marks and a final full stop (`folding`); other values as `same`."""
    return _same_text_leaf(a, b) if isinstance(a, str) and isinstance(b, str) else same(a, b)


def same_number(a: Any, b: Any, tolerance: float | None = None) -> bool:
    """Numbers within the tolerance; other values as `same`."""
    return _close(a, b, tolerance) if _is_number(a) and _is_number(b) else same(a, b)


def same_json(a: Any, b: Any, tolerance: float | None = None) -> bool:
    """Field by field: integers exactly, other numbers within the tolerance, texts folded, arrays in order, objects by
    keys."""

    def leaf(x: Any, y: Any) -> bool:
        if _is_number(x) and _is_number(y) and not (isinstance(x, Integral) and isinstance(y, Integral)):
            return _close(x, y, tolerance)
        return _same_text_leaf(x, y) if isinstance(x, str) and isinstance(y, str) else _same_leaf(x, y)

    return _walk(a, b, leaf)


def incomparable(value: Any) -> Any:
    """The first part of a value of which the relations above cannot say that it is or is not another one; None where
    there is none such. A part must compare with itself to true or false: an array compares place by place, which says
    nothing about the whole."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    if parts is not None:
        return next((found for part in parts if (found := incomparable(part)) is not None), None)
    try:
        verdict = value == value
    except Exception:  # whatever a value of the user's own raises, it cannot be compared
        return value
    return None if _is_truth(verdict) else value


def shallow(value: Any, levels: int = DEEPEST) -> bool:
    """Whether a value is nested no deeper than what compares values can walk."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return levels > 0 and all(shallow(part, levels - 1) for part in parts)


def missing(value: Any) -> bool:
    """Whether a value is one of the ways to say that there is none: None, not a number, pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return isinstance(value, Real | Decimal) and not isinstance(value, Integral) and math.isnan(value)
    except (ArithmeticError, ValueError):  # a signalling NaN; a fraction beyond a float
        return isinstance(value, Decimal)


def _close(a: Any, b: Any, tolerance: float | None) -> bool:
    """Two numbers within the tolerance; not a number is the same as itself."""
    try:
        x, y = _exact(a), _exact(b)
        larger = max(abs(x), abs(y))
        limit = ROUNDING * min(larger, _ONE) if tolerance is None else Decimal(tolerance) * max(larger, _ONE)
        return x == y or abs(x - y) <= limit
    except (ArithmeticError, ValueError):  # not finite, or beyond what can be reckoned with
        return _same_leaf(a, b)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not _is_truth(value)


def _exact(value: Any) -> Decimal:
    """A finite number as a decimal, whatever type of number it is. ValueError: it is not finite."""
    if not isinstance(value, Decimal):
        value = Decimal(int(value)) if isinstance(value, Integral) else Decimal(float(value))
    if not value.is_finite():
        raise ValueError(f"{value} is not finite")
    return Decimal(value)


def _is_truth(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # of Python or of numpy


def _walk(a: Any, b: Any, leaf: Relation) -> bool:
    """Compare two values field by field, with `leaf` for what is neither an object nor an array."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_walk(a[key], b[key], leaf) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_walk(x, y, leaf) for x, y in zip(a, b, strict=True))
    return leaf(a, b)


def _same_text_leaf(a: str, b: str) -> bool:
    return a == b or normal_text(a) == normal_text(b)


def _same_leaf(a: Any, b: Any) -> bool:
    """Equality that always has an answer: what cannot be compared is not the same, unless it is the same object."""
    if _is_truth(a) != _is_truth(b):
        return False
    try:
        return a is b or bool(a == b) or bool(a != a and b != b)
    except Exception:  # an array, a missing value, a signalling NaN: whatever it raises, it is no "yes"
        return False


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


def check_tolerance(tolerance: float | None, entry: Equivalence | None) -> float | None:
    """The tolerance to use. InputError: negative, not finite, or given to an equivalence that has no use for it."""
    if tolerance is None:
        return None
    if entry is None or not entry.tolerant:
        raise InputError("a tolerance goes with the equivalences number and json: drop it, or name one of these")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise InputError(f"the tolerance must be a number from 0 to below 1, such as 1e-6, not {tolerance!r}")
    return float(tolerance)
