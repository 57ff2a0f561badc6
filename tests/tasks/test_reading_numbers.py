"""Numbers out of what models really reply."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.tasks import Task, format_value

TASK = Task("{text}", answer="number")

CASES = [
    ("42", "42"),
    ("42.", "42"),
    (" 42\n", "42"),
    ("**42**", "42"),
    ("`42`", "42"),
    ("```\n42\n```", "42"),
    ("-7", "-7"),
    ("−7", "-7"),
    ("–7", "-7"),
    ("- 7", None),  # a bullet, perhaps
    ("+7", "7"),
    ("0", "0"),
    ("-0", "0"),
    (".5", "0.5"),
    ("3.14", "3.14"),
    ("007", "7"),
    ("$1,234.50", "1234.50"),
    ("-$1,234.50", "-1234.50"),
    ("$-5", "-5"),
    ("€ 5", "5"),
    ("1,234,567", "1234567"),
    ("1 234", "1234"),
    ("1\u202f234\u202f567.5", "1234567.5"),
    ("1'234", "1234"),
    ("1.234,50", "1234.50"),
    ("1.234.567", "1234567"),
    ("1e3", "1000"),
    ("6.02e23", "6.02e23"),
    ("1E-5", "0.00001"),
    ("1e−5", "0.00001"),
    ("3 × 10^8", "300000000"),
    ("3 \\times 10^{8}", "300000000"),
    ("45%", "45"),
    ("45 %", "45"),
    ("42kg", "42"),
    ("42 apples", "42"),
    ("1.2 million dollars", "1200000"),
    ("The answer is 42.", "42"),
    ("The answer is: $42", "42"),
    ("Answer: 42", "42"),
    ("Answer:\n42", "42"),
    ("#### 42", "42"),
    ("He has 3 boxes of 14, so 3 * 14 = 42.\n#### 42", "42"),
    ("3 + 4 = 7, so \\boxed{7}", "7"),
    ("First 3, then 4.\n\n7", "7"),
    ("First 3, then 4.\n\n**$7.00**", "7.00"),
    ("The answer is 42 because 6 * 7 = 42.", "42"),
    ("There are 42 of them, yes 42.", "42"),
    ("GPT-4 says 42", "42"),
    ("<think>3? 4?</think>42", "42"),
    ("x = 42", "42"),
    ("٤٢", "42"),
    ("", None),
    ("none", None),
    ("NaN", None),
    ("Infinity", None),
    ("3 or 4", None),
    ("The answer is 3 or 4", None),
    ("Answer: 3\nAnswer: 4", None),
    ("3 apples and 4 pears", None),
    ("Answer: unknown\nThere are 3 of them.", None),
    ("10-20", None),
    ("10–20", None),
    ("3/4", None),
    ("5/5", None),
    ("10:30", None),
    ("2020-01-05", None),
    ("1,5", None),
    ("12,34", None),
    ("1,234,5", None),
    ("5k", None),
    ("5M", None),
    ("0x1F", None),
    ("10²", None),
    ("H2O", None),
    ("1e999999999", None),
    ("9" * 500, None),
    ("1 234 56", None),
    ("1.2.3", None),
]


@pytest.mark.parametrize(("reply", "number"), CASES)
def test_a_reply_means_the_number_a_careful_reader_would_take(reply: str, number: str | None) -> None:
    """Each reply gives the number it clearly states, and None where it states none, several, or something unclear."""
    assert TASK.parse(reply) == (None if number is None else Decimal(number))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=4))
def test_a_number_survives_writing_and_reading(value: Decimal) -> None:
    """What `format_value` writes is read back as the same number."""
    assert TASK.parse(format_value(value)) == value


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_separators_of_thousands_change_nothing(value: int) -> None:
    """A number written with commas, in words around it, is the number."""
    assert TASK.parse(f"The total is **${value:,}**." if value >= 0 else f"It is {value:,}") == value


@given(st.text(max_size=40))
def test_any_reply_can_be_read(reply: str) -> None:
    """Whatever the reply, reading gives a finite number or None, never an exception."""
    value = TASK.parse(reply)
    assert value is None or value.is_finite()
