"""What holds of every reader, whatever the reply: it is total, and reads back what was written, however wrapped."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.tasks import format_value
from smart_llm.tasks.folding import normal_text

NUMBER = smart.Task("{text}", answer="number")
JSON = smart.Task("{text}", answer="json")
TEXT = smart.Task("{text}", answer="text")
SENTIMENT = smart.Task("{text}", labels=["positive", "negative"])

written = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
PIECES = [
    *["positive", "negative", "not", "the answer is", "Label:", "42", "1,234", "-", "%", "€", "(", ")", ".", ",", "\n"],
    *[
        "Wait,",
        "{",
        "}",
        "[1]",
        '{"a": 1}',
        "**",
        '"',
        "```",
        "1e5",
        "½",
        "<",
        "about",
        "or",
        "no",
        "正面",
        "不",
        "\u200b",
    ],
]
said = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=10).map(" ".join)


@given(said)
def test_every_reply_is_read_or_broken(reply: str) -> None:
    """Whatever the reply, reading ends, raises nothing, and gives a value of its kind or None."""
    number, label = NUMBER.parse(reply), SENTIMENT.parse(reply)
    assert number is None or (isinstance(number, Decimal) and number.is_finite())
    assert label in ("positive", "negative", None)
    JSON.parse(reply)
    text = TEXT.parse(reply)
    assert text is None or text.strip()


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e380"), max_value=Decimal("1e380"))
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=3)
    | st.integers(min_value=-(10**30), max_value=10**30).map(Decimal)
)
def test_a_number_that_was_written_is_read_back(value: Decimal) -> None:
    """What `format_value` writes gives the same number, exactly."""
    assume(abs(value.adjusted()) <= 380)
    assert NUMBER.parse(format_value(value)) == value
    assert NUMBER.parse(f"Answer: {format_value(value)}") == value


@given(st.lists(written, min_size=2, max_size=5))
def test_a_label_that_was_written_is_read_back(labels: list[str]) -> None:
    """Whatever the labels, the reply that is one of them gives it."""
    try:
        task = smart.Task("{text}", labels=labels)
    except InputError:
        assume(False)
    for label in task.contract.labels or ():
        if "<think" not in label and "</" not in label:
            assert task.parse(format_value(label)) == label
            assert task.parse(f" {label}\n") == label


@given(st.text(max_size=20))
def test_a_text_that_was_written_is_read_back(text: str) -> None:
    """A text read once is read again as the same text."""
    value = TEXT.parse(text)
    assume(value is not None)
    assert TEXT.parse(format_value(value)) == value


values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | written,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(written, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_a_json_value_that_was_written_is_read_back_as_the_same(value: Any) -> None:
    """What `format_value` writes for an object or array is read as the same value, in the eyes of every relation."""
    read = JSON.parse(format_value([value]))
    assert JSON.equivalent(read, [value])
    assert smart.Task("{t}", answer="json", equivalence="json-exact").equivalent(read, [value])


@pytest.mark.parametrize(
    "wrapping", ["{}", " {}\n", "**{}**", '"{}"', "```\n{}\n```", "Answer: {}", "<answer>{}</answer>", "{}."]
)
@given(label=st.sampled_from(["positive", "negative"]), number=st.integers(-(10**6), 10**6))
def test_wrapping_changes_nothing(wrapping: str, label: str, number: int) -> None:
    """What usually surrounds an answer is taken off, whatever the answer."""
    assert SENTIMENT.parse(wrapping.format(label)) == label
    assert NUMBER.parse(wrapping.format(number)) == number


@pytest.mark.parametrize(
    "denial", ["not {}", "not: {}", "The label is not {}", "anything but {}", "{}: no", "{} is wrong", "{}? No."]
)
@given(label=st.sampled_from(["positive", "negative"]), tail=st.sampled_from(["", ".", "!", "\n", " **"]))
def test_a_denied_label_is_never_read(denial: str, label: str, tail: str) -> None:
    """However a denial ends, it is none."""
    assert SENTIMENT.parse(denial.format(label) + tail) is None


@given(
    st.integers(1, 10**6),
    st.sampled_from(["<", ">", "≤", "≥", "~", "≈", "±", "≠", "minus ", "about ", "at least ", "√", "#"]),
)
def test_a_qualified_number_is_never_read(number: int, sign: str) -> None:
    """Whatever the number, a bound, an approximation or a sign in words breaks the contract."""
    for reply in (
        f"{sign}{number}",
        f"Answer: {sign}{number}",
        f"The answer is {sign}{number}.",
        f"**{sign}{number}**",
    ):
        assert NUMBER.parse(reply) is None


@given(st.text(max_size=12), st.text(max_size=12))
def test_texts_are_the_same_when_their_forms_are(a: str, b: str) -> None:
    """The relation of texts is an equivalence: it compares one form of each, so that it is transitive, too."""
    assert TEXT.equivalent(a, b) == (a == b or normal_text(a) == normal_text(b))
    assert bool(normal_text(a)) >= bool(TEXT.parse(a))


@pytest.mark.parametrize(
    "piece",
    [
        "answer: ",
        "答案是",
        "[1",
        "1,234.",
        "positive",
        "\"'",
        "\\boxed{",
        "very ",
        "but ",
        "{",
        "<a>",
        "```\n",
        "\u200b",
        ". no",
    ],
)
def test_no_reply_takes_long(piece: str) -> None:
    """However odd a reply, reading it takes time in proportion to its length: a model that loops cannot stop a run."""
    for reply in (piece * 1500, "positive" + piece * 1500 + "x", piece * 1500 + "positive 42"):
        start = time.process_time()
        for task in (SENTIMENT, NUMBER, JSON, TEXT):
            task.parse(reply)
        assert time.process_time() - start < 2.0
