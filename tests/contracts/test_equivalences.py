"""The contract of every equivalence: total, reflexive, symmetric. A new one is picked up from the registry."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.tasks import EQUIVALENCES, Task
from smart_llm.tasks.equivalence import normal_text, same, same_json, same_number, same_text

leaves: st.SearchStrategy[Any] = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=12)
    | st.none()
    | st.sampled_from(
        [
            np.array([1, 2]),
            np.array([[1]]),
            np.int64(3),
            np.float32(0.5),
            np.True_,
            pd.NA,
            pd.NaT,
            pd.Series([1, 2]),
            Fraction(1, 3),
            Fraction(10**400),
            10**4000,
            Decimal("1e999999"),
            Decimal("sNaN"),
            {1, 2},
            object(),
        ]
    )
)
tolerances = st.sampled_from([None, 0.0, 1e-6, 0.5])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
near = st.floats(allow_nan=False, allow_infinity=False).flatmap(
    lambda x: st.tuples(st.just(x), st.sampled_from([x, x * (1 + 1e-6), x * (1 + 9e-7), x + 1e-6, x + 9e-7]))
)


@pytest.mark.parametrize("name", sorted(EQUIVALENCES))
class TestEveryEquivalence:
    """What each registered equivalence must satisfy."""

    @given(a=values, tolerance=tolerances)
    def test_is_reflexive(self, name: str, a: Any, tolerance: float | None) -> None:
        """Every value is equivalent to itself, whatever it is."""
        assert EQUIVALENCES[name].relation(tolerance)(a, a) is True

    @given(a=values, b=values, tolerance=tolerances)
    def test_is_total_and_symmetric(self, name: str, a: Any, b: Any, tolerance: float | None) -> None:
        """Of any two values a relation says true or false, arrays and missing values included, in either order."""
        relation = EQUIVALENCES[name].relation(tolerance)
        assert relation(a, b) is relation(b, a)
        assert isinstance(relation(a, b), bool)

    @given(pair=near, tolerance=tolerances)
    def test_is_symmetric_at_the_edge_of_the_tolerance(
        self, name: str, pair: tuple[float, float], tolerance: float | None
    ) -> None:
        """Rounding never makes the order matter."""
        relation = EQUIVALENCES[name].relation(tolerance)
        assert relation(*pair) == relation(*reversed(pair))

    @given(a=values, b=values)
    def test_a_tolerance_of_zero_accepts_only_the_same_number(self, name: str, a: Any, b: Any) -> None:
        """What the strictest tolerance accepts, the default accepts as well: it is never stricter than equal."""
        strict, default = EQUIVALENCES[name].relation(0.0), EQUIVALENCES[name].relation(None)
        assert default(a, b) or not strict(a, b)

    def test_tells_different_answers_apart(self, name: str) -> None:
        """No equivalence accepts everything."""
        relation = EQUIVALENCES[name].relation(1e-6)
        assert not relation("yes", "no")
        assert not relation(Decimal(1), Decimal(2))
        assert not relation({"a": 1}, {"a": 2})
        assert not relation([1, 2], [2, 1])


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("The cat", "cat", False),
        ("Paris.", "paris", True),
        ("“New   York”", "new york", True),
        ("ﬁne", "FINE", True),
        ("don't", "don’t", True),
        ("don't", "dont", False),
        ("well-known", "well known", False),
        ("3.5", "35", False),
        ("-5", "5", False),
        ("C++", "C", False),
        ("C#", "C", False),
        ("50%", "50", False),
        ("the", "a", False),
        ("?", "!", False),
        ("Paris", "Lyon", False),
    ],
)
def test_normalised_text(a: str, b: str, equal: bool) -> None:
    """Case, spaces, quote marks and a final full stop do not matter; whatever can carry meaning does."""
    assert same_text(a, b) is equal


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    """The normal form of a text is its own normal form in the eyes of the equivalence."""
    assert same_text(normal_text(text), normal_text(normal_text(text)))


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "equal"),
    [
        (Decimal("1.0"), Decimal("1.00"), 0.0, True),
        (Decimal("0.1"), Decimal("0.2"), 0.0, False),
        (Decimal("1000000"), Decimal("1000001"), 1e-6, True),
        (Decimal("1000000"), Decimal("1000002"), 1e-6, False),
        (Decimal("0"), Decimal("0.0000005"), 1e-6, True),
        (Decimal("0"), Decimal("0.01"), 1e-6, False),
        (Decimal("100"), Decimal("101"), 0.01, True),
        (float("nan"), float("nan"), 1e-6, True),
        (float("inf"), 1e300, 0.5, False),
        (Decimal("1000000"), Decimal("1000001"), None, False),
        (Decimal("0.3333333"), Decimal("0.33333333"), None, True),
        (Decimal("12345.67"), Decimal("12345.68"), None, False),
        (Decimal("1e-8"), Decimal("2e-8"), None, False),
        (Decimal("1e-8"), Decimal("1.0000001e-8"), None, True),
        (0.1 + 0.2, 0.3, None, True),
        (10**30, 10**30 + 1, None, False),
        (np.int64(3), 3.0, None, True),
        (np.float32(0.1), 0.1, None, True),
    ],
)
def test_number_with_tolerance(a: Any, b: Any, tolerance: float | None, equal: bool) -> None:
    """A tolerance is absolute below 1 and relative above; without one, only the rounding of fractions is forgiven."""
    assert same_number(a, b, tolerance) is equal


def test_json_is_compared_field_by_field() -> None:
    """Floats by tolerance, integers exactly, texts folded, arrays in order, objects by keys; kinds never mix."""
    assert same_json({"a": 1, "b": ["the  x."]}, {"b": ["The X"], "a": 1.0000001})
    assert not same_json({"b": ["The x"]}, {"b": ["X"]})
    assert not same({"a": 1, "b": ["The x"]}, {"b": ["the x"], "a": 1})
    assert same_json({"a": 100.0}, {"a": 104.0}, 0.05)
    assert same_json({"a": 100}, {"a": 104.0}, 0.05)
    assert not same_json({"a": 100}, {"a": 104}, 0.05)
    assert same_json({"a": 1}, {"a": 1.0})
    assert not same_json({"a": 1}, {"a": 2.0})
    assert not same_json({"a": 1}, {"a": 1, "b": None})
    assert not same_json(["a", "b"], ["b", "a"])
    assert not same_json({"a": True}, {"a": 1})
    assert not same_json({"a": "1"}, {"a": 1})


def test_nothing_is_equivalent_to_none() -> None:
    """A broken contract agrees with nothing, not even with another one; the user's function is not asked."""
    task = Task("{text}", answer="text", equivalence=lambda a, b: True)
    assert task.equivalent("x", "y")
    assert not task.equivalent(None, "x")
    assert not task.equivalent("x", None)
    assert not task.equivalent(None, None)
