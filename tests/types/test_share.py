"""What a share comes to on a table."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from smart_llm.types.share import allowed


@given(st.integers(1, 10**9), st.decimals("0.000001", "0.999999", places=6))
def test_no_more_misses_are_allowed_than_keep_the_promise(rows: int, agreement: object) -> None:
    """With so many misses the agreement is reached, with one more it is not: exactly, whatever the decimals."""
    share = Fraction(str(agreement))
    most = allowed(rows, share)
    assert Fraction(rows - most, rows) >= share > Fraction(rows - most - 1, rows)
