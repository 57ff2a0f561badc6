"""Parts of a text: its beginning and its end, cut between words and never within a sign."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.tasks.excerpts import part_of

FAMILY, FLAG = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea"
THUMB, ACCENT = "\U0001f44d\U0001f3fd", "e\u0301"


def shown(text: str, head: int, tail: int) -> tuple[str, str]:
    """What is shown before and behind the note of what is left out."""
    first, _, last = part_of(text, head, tail).partition("[…")
    return first.removesuffix("\n"), last.partition("…]")[2].removeprefix("\n")


@pytest.mark.parametrize("sign", [FAMILY, FLAG, THUMB, ACCENT, "\u0915\u093f", "\r\n-"])
@pytest.mark.parametrize("size", range(1, 12))
def test_no_sign_is_cut_in_two(sign: str, size: int) -> None:
    """Letters keep their accents, emoji their parts and colours, flags both their letters: what is shown is whole."""
    first, last = shown(sign * 20, size, size)
    for part in (first, last):
        assert len(part) <= size
        assert part.replace("\r\n", "").replace("-", "") == "" or part == sign * (len(part) // len(sign))


@pytest.mark.parametrize("gap", [" ", "\n", "\t", "\u3000", "\u00a0", "\u2028", "\r\n"])
def test_words_end_at_whatever_separates_them(gap: str) -> None:
    """Any blank of Unicode is a place between words."""
    text = gap.join(["seven", "letters", "apart"] * 5)
    assert shown(text, 9, 9) == ("seven", "apart")


@given(st.text(), st.integers(0, 30), st.integers(0, 30))
def test_what_is_shown_and_what_is_left_out_are_the_text(text: str, head: int, tail: int) -> None:
    """Short texts are shown as they are; of others no more than was asked, and the note counts the rest."""
    part = part_of(text, head, tail)
    if len(text) <= head + tail:
        assert part == text
        return
    first, last = shown(text, head, tail) if "[…" not in text else (text[:0], text[:0])
    assert len(first) <= head
    assert len(last) <= tail
    assert not last or unicodedata.category(last[0])[0] != "M"
