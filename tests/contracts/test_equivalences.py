"""The contract of every equivalence: total, reflexive, symmetric. A new one is picked up from the registry."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.tasks import EQUIVALENCES, Task
from smart_llm.tasks.equivalence import normal_text, same, same_json, same_number, same_text

leaves: st.SearchStrategy[Any] = (
    st.booleans() | st.integers() | st.floats() | st.decimals(allow_nan=False) | st.text(max_size=12) | st.none()
)
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

    @given(a=values)
    def test_is_reflexive(self, name: str, a: Any) -> None:
        """Every value is equivalent to itself, in a copy too."""
        relation = EQUIVALENCES[name].relation(1e-6)
        assert relation(a, a)

    @given(a=values, b=values)
    def test_is_symmetric(self, name: str, a: Any, b: Any) -> None:
        """The order of the two answers does not matter."""
        relation = EQUIVALENCES[name].relation(1e-6)
        assert relation(a, b) == relation(b, a)

    @given(pair=near)
    def test_is_symmetric_at_the_edge_of_the_tolerance(self, name: str, pair: tuple[float, float]) -> None:
        """Rounding never makes the order matter."""
        relation = EQUIVALENCES[name].relation(1e-6)
        assert relation(*pair) == relation(*reversed(pair))

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
        ("The cat", "cat", True),
        ("Paris.", "paris", True),
        ("“New   York”", "new york", True),
        ("ﬁne", "FINE", True),
        ("don't", "dont", True),
        ("well-known", "well known", True),
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
    """Case, punctuation, articles and spaces do not matter; signs that carry meaning do."""
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
    ],
)
def test_number_with_tolerance(a: Any, b: Any, tolerance: float, equal: bool) -> None:
    """The tolerance is absolute below 1 and relative above."""
    assert same_number(a, b, tolerance) is equal


def test_json_is_compared_field_by_field() -> None:
    """Numbers by tolerance, texts normalised, arrays in order, objects by keys; kinds never mix."""
    assert same_json({"a": 1, "b": ["The x"]}, {"b": ["X"], "a": 1.0000001})
    assert not same({"a": 1, "b": ["The x"]}, {"b": ["X"], "a": 1})
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
