"""Labels out of what models really reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.tasks import Task

SENTIMENT = Task("{text}", labels=["Positive", "negative", "very positive"])
YES_NO = Task("{text}", labels=["yes", "no"])
SPAM = Task("{text}", labels=["spam", "not_spam"])
CHOICE = Task("{text}", labels=["A", "B", "C", "D"])
GRADE = Task("{text}", labels=["1", "2", "3", "4", "5"])
SIGNS = Task("{text}", labels=["A+", "A", "A-", "C++", "C#"])

CASES = [
    (SENTIMENT, "Positive", "Positive"),
    (SENTIMENT, "  positive.\n", "Positive"),
    (SENTIMENT, "POSITIVE!", "Positive"),
    (SENTIMENT, '"negative"', "negative"),
    (SENTIMENT, "“Negative.”", "negative"),
    (SENTIMENT, "**Negative**", "negative"),
    (SENTIMENT, "_negative_", "negative"),
    (SENTIMENT, "`negative`", "negative"),
    (SENTIMENT, "Label: negative", "negative"),
    (SENTIMENT, "**Label:** negative", "negative"),
    (SENTIMENT, "Answer: Very Positive.", "very positive"),
    (SENTIMENT, "very-positive", "very positive"),
    (SENTIMENT, "Very_Positive", "very positive"),
    (SENTIMENT, "```\nnegative\n```", "negative"),
    (SENTIMENT, '```json\n{"label": "negative"}\n```', "negative"),
    (SENTIMENT, "<think>It could be negative… no.</think>\nPositive", "Positive"),
    (SENTIMENT, "hmm, negative?</think>Positive", "Positive"),
    (SENTIMENT, "<think>It could be negative", None),
    (SENTIMENT, "The sentiment of this review is negative.", "negative"),
    (SENTIMENT, "This review is very positive.", "very positive"),
    (SENTIMENT, "This review is positive.", "Positive"),
    (SENTIMENT, "No doubt here, this review is positive.", "Positive"),
    (SENTIMENT, "Positive\n\nThe reviewer praises the actors; nothing negative is said.", "Positive"),
    (SENTIMENT, "Reasoning: the end is not negative at all.\nAnswer: positive", "Positive"),
    (SENTIMENT, "Positive. The reviewer liked it.", "Positive"),
    (SENTIMENT, "The answer is: **positive**", "Positive"),
    (SENTIMENT, "not positive", None),
    (SENTIMENT, "This isn't positive.", None),
    (SENTIMENT, "This isn’t really a positive review", None),
    (SENTIMENT, "Not very positive", None),
    (SENTIMENT, "It is not so positive.", None),
    (SENTIMENT, "It is not, in my view, positive.", None),
    (SENTIMENT, "It is not perfect, but it is positive.", "Positive"),
    (SENTIMENT, "non-positive", None),
    (SENTIMENT, "neither", None),
    (SENTIMENT, "Positive is not the right word.", None),
    (SENTIMENT, "Answer: not positive", None),
    (SENTIMENT, "positive or negative", None),
    (SENTIMENT, "positive, negative", None),
    (SENTIMENT, "Answer: positive\nAnswer: negative", None),
    (SENTIMENT, "Answer: unknown\nThe words are positive.", None),
    (SENTIMENT, "The result is mixed at first.\n\nPositive", "Positive"),
    (SENTIMENT, '{"sentiment": "positive", "sure": 0.9}', "Positive"),
    (SENTIMENT, "Sentiment: positive; confidence: high", "Positive"),
    (SENTIMENT, "It is positively great", None),
    (SENTIMENT, "positive?", None),
    (SENTIMENT, "I cannot tell whether it is positive.", None),
    (SENTIMENT, "", None),
    (SENTIMENT, "   ", None),
    (SENTIMENT, "neutral", None),
    (YES_NO, "Yes.", "yes"),
    (YES_NO, "No", "no"),
    (YES_NO, "No, it is fine.", "no"),
    (YES_NO, "Yes, because there is bias.", "yes"),
    (YES_NO, "There is no doubt about it.", None),
    (YES_NO, "Yes and no.", None),
    (YES_NO, "not yes", None),
    (YES_NO, "The answer is no.", "no"),
    (YES_NO, "nope", None),
    (SPAM, "not spam", "not_spam"),
    (SPAM, "This message is not spam.", "not_spam"),
    (SPAM, "This message is spam.", "spam"),
    (SPAM, "This message isn't spam.", None),
    (SPAM, "Not-Spam", "not_spam"),
    (CHOICE, "B", "B"),
    (CHOICE, "b", "B"),
    (CHOICE, "(B)", "B"),
    (CHOICE, "B)", "B"),
    (CHOICE, "B.", "B"),
    (CHOICE, "B) A dog runs.", "B"),
    (CHOICE, "B. a dog", "B"),
    (CHOICE, "The answer is B because a dog runs.", "B"),
    (CHOICE, "The correct option is (C).", "C"),
    (CHOICE, "A good question about a dog.", None),
    (CHOICE, "A or B", None),
    (CHOICE, "A, B", None),
    (CHOICE, "A/B", None),
    (GRADE, "4", "4"),
    (GRADE, "Grade: 4", "4"),
    (GRADE, "I would give it a 4.", "4"),
    (GRADE, "4.5", None),
    (GRADE, "-1", None),
    (GRADE, "14", None),
    (GRADE, "4/5", None),
    (GRADE, "1-2", None),
    (GRADE, "2 or 3", None),
    (SIGNS, "A-", "A-"),
    (SIGNS, "a+", "A+"),
    (SIGNS, "A", "A"),
    (SIGNS, "It is written in C++.", "C++"),
    (SIGNS, "It is written in C.", None),
    (SIGNS, "c#", "C#"),
]


@pytest.mark.parametrize(("task", "reply", "label"), CASES)
def test_a_reply_means_the_label_a_careful_reader_would_take(task: Task, reply: str, label: str | None) -> None:
    """Each reply gives the label it clearly names, and None where it names none, several, or denies it."""
    assert task.parse(reply) == label


def test_a_reply_that_is_not_there_has_no_label() -> None:
    """A failed call breaks the contract."""
    assert SENTIMENT.parse(None) is None


@pytest.mark.parametrize("label", ["Ja", "très bien", "正面", "👍", "U.S.", "50%", ">50K", "<=50K", "-1", "n/a", "R&D"])
def test_a_label_is_read_back_as_written(label: str) -> None:
    """Whatever the label, the reply that is the label gives it, whatever its case."""
    task = Task("{text}", labels=[label, "something else"])
    assert task.parse(label) == task.parse(f" {label.upper()}\n") == task.parse(f"Label: **{label}**") == label


words = st.sampled_from(
    ["positive", "very", "negative", "not", "Answer:", "A", "no", "**", "_", "\n", "```", "<think>", "(", "."]
)


@given(st.lists(words | st.text(max_size=4), max_size=8).map(" ".join))
def test_any_reply_can_be_read(reply: str) -> None:
    """Whatever the reply, reading gives one of the labels or None, never an exception."""
    for task in (SENTIMENT, YES_NO, CHOICE):
        assert task.parse(reply) in (*(task.contract.labels or ()), None)
