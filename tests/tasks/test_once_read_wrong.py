"""What was once read wrong, or called the same though it was not: every line of the finding, over the public API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import smart_llm as smart
from smart_llm.tasks import format_value

JSON = smart.Task("{text}", answer="json")
TEXT = smart.Task("{text}", answer="text")
NUMBER = smart.Task("{text}", answer="number")
SENTIMENT = ("positive", "negative")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"id": 1000001}', '{"id": 1000002}'),
        ('{"time": 1700000000}', '{"time": 1700001000}'),
        ('{"time": 1700000000.0}', '{"time": 1700001000.0}'),
        ('{"time": 1700000000.5}', '{"time": 1700001000.5}'),
        ('{"id": 12345678901234567890}', '{"id": 12345678901234567891}'),
        ('{"id": "1000001"}', '{"id": "1000002"}'),
        ('{"paid": 12345.67}', '{"paid": 12345.68}'),
        ('{"p": 3e-8}', '{"p": 5e-10}'),
    ],
)
def test_json_with_other_numbers_is_not_the_same(one: str, other: str) -> None:
    """Identifiers, times and amounts are compared exactly; only the rounding of fractions is forgiven."""
    assert JSON.equivalent(JSON.parse(one), JSON.parse(one))
    assert not JSON.equivalent(JSON.parse(one), JSON.parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A, B", "B"),
        ("B-", "B"),
        ("a!=b", "a=b"),
        ("10²", "102"),
        (".5", "5"),
        ("Vitamin A", "vitamin"),
        ("yes!", "yes?"),
    ],
)
def test_texts_that_differ_in_meaning_are_not_the_same(one: str, other: str) -> None:
    """Articles, punctuation, operators, raised digits and leading points can carry meaning."""
    assert not TEXT.equivalent(TEXT.parse(one), TEXT.parse(other))


def test_a_number_of_many_digits_is_kept_to_the_last() -> None:
    """Numbers are exact whatever their length: an identifier of 32 digits is not the next one, and is written whole."""
    one, other = "12345678901234567890123456789012", "12345678901234567890123456789013"
    assert NUMBER.parse(one) != NUMBER.parse(other)
    assert not NUMBER.equivalent(NUMBER.parse(one), NUMBER.parse(other))
    assert NUMBER.parse(format_value(NUMBER.parse(one))) == NUMBER.parse(one)


@pytest.mark.parametrize("reply", ["1½", "minus 5", "(5)", "1.500 €", "<5"])
def test_numbers_that_cannot_be_told_are_none(reply: str) -> None:
    """Fractions, signs in words, parentheses, doubtful grouping and comparisons break the contract."""
    assert NUMBER.parse(reply) is None


@pytest.mark.parametrize(
    ("labels", "reply"),
    [
        (("spam", "ham"), "spam: no"),
        (("spam", "not_spam"), "spam: no"),
        (SENTIMENT, "The label is not: positive"),
        (SENTIMENT, "nothing positive about it"),
        (SENTIMENT, "anything but positive"),
        (("entailment", "neutral", "contradiction"), "entailment fails"),
        (("refund", "refund denied"), "the refund is denied"),
        (SENTIMENT, "negative … Wait, let me reconsider. positive"),
        (SENTIMENT, "negative\n\nThe plot is thin. Wait, let me reconsider. The acting is good. So, positive"),
    ],
)
def test_labels_that_are_denied_or_taken_back_are_none(labels: tuple[str, ...], reply: str) -> None:
    """A label is denied in many ways, and a model that reconsiders has two."""
    assert smart.Task("{text}", labels=labels).parse(reply) is None


def run(task: smart.Task, folder: Path, **given: Any) -> smart.Run[Any]:
    """A run of this task on forty rows with stand-ins for models."""
    rows = [{"id": i, "text": f"row {i}"} for i in range(40)]
    models = {"reference": "fake:big?in=1&out=1", "candidates": ["fake:small?in=.01&out=.01"]}
    return smart.run(rows, task, agreement=0.5, ledger=folder / "ledger.db", **models, **given)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.array([1, 2]), "numpy.ndarray"),
        ({"scores": [np.array([1, 2])]}, "numpy.ndarray"),
        (pd.Series([1, 2]), "pandas"),
        (pd.DataFrame({"a": [1]}), "pandas"),
    ],
)
def test_a_parser_that_returns_an_array_is_told_so(value: Any, kind: str, tmp_path: Path) -> None:
    """It is the user's mistake on every row, so the run stops with a sentence that says what to do."""
    with pytest.raises(smart.InputError, match=kind) as error:
        run(smart.Task("{text}", parse=lambda reply: value), tmp_path)
    assert "equivalence" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_parser_that_returns_an_array_may_bring_its_own_equivalence(tmp_path: Path) -> None:
    """Where the user says when two arrays are the same, arrays are answers like others."""
    task = smart.Task("{text}", parse=lambda reply: np.array([1, 2]), equivalence=np.array_equal)
    assert run(task, tmp_path).certificate.granted


@pytest.mark.parametrize("value", [None, pd.NA, pd.NaT, float("nan"), np.float64("nan")])
def test_a_parser_that_says_that_a_value_is_missing_has_found_no_answer(value: Any) -> None:
    """Every way to say "missing" is a broken contract, as None is: it agrees with nothing and is never delivered."""
    assert smart.Task("{text}", parse=lambda reply: value).parse("x") is None
    assert smart.Task("{text}", parse=lambda reply: value, equivalence=lambda a, b: True).parse("x") is None
    assert smart.Task("{text}", answer="number", parse=lambda reply: value).parse("x") is None


class Stubborn:
    """A value that cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    __hash__ = None  # type: ignore[assignment]


def test_whatever_a_parser_returns_no_raw_error_comes_out() -> None:
    """A value that cannot be compared is an input error, under a contract a broken one; so are numbers out of range."""
    with pytest.raises(smart.InputError, match="Stubborn"):
        smart.Task("{text}", parse=lambda reply: Stubborn()).parse("x")
    for answer in ("number", "text", "json"):
        assert smart.Task("{text}", answer=answer, parse=lambda reply: Stubborn()).parse("x") is None
    for value in (10**500, float("inf"), np.array(3)):
        assert smart.Task("{text}", answer="number", parse=lambda reply, value=value: value).parse("x") is None
    assert smart.Task("{text}", answer="number", parse=lambda reply: np.int64(3)).parse("x") == 3
    assert not smart.Task("{text}", parse=lambda reply: reply).equivalent(Stubborn(), Stubborn())
