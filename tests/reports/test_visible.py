"""Texts and numbers as pages show them."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from smart_llm.reports import svg
from smart_llm.text.numbers import duration, percent, usd
from smart_llm.text.safe import HIDDEN, KEPT, cut, visible

SHARES = st.floats(0, 1)


@given(st.text(st.characters(), max_size=40))
def test_nothing_stays_hidden(text: str) -> None:
    """No sign without a face is left but joiners, tabs and line ends; those with one stay; twice is once."""
    shown = visible(text)
    assert all(sign in KEPT or unicodedata.category(sign) not in HIDDEN for sign in shown)
    assert visible(shown) == shown
    faces = iter(shown)
    assert all(sign in faces for sign in text if unicodedata.category(sign) not in HIDDEN)


def test_overrides_of_direction_are_shown() -> None:
    """The well-known ones, by number."""
    assert visible("a\u202eb\0\ud800") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩"


@given(st.text(max_size=50), st.integers(1, 30))
def test_cut_texts_say_how_long_they_were(text: str, longest: int) -> None:
    """A text that fits stays; of others the beginning, and their length."""
    shown = cut(text, longest)
    assert shown == text if len(text) <= longest else shown.startswith(text[:longest])
    assert len(text) <= longest or shown.endswith(f"({len(text):,} characters)")


@given(st.floats(1e-9, 1e9))
def test_money_can_be_read_back(value: float) -> None:
    """Dollars are written without exponents, and are right to 5 %."""
    text = usd(value)
    assert "e" not in text
    assert abs(float(text.lstrip("$").replace(",", "")) / value - 1) <= 0.051


def test_money_time_and_shares() -> None:
    """As one would write them."""
    assert [usd(v) for v in (0, 0.000335, 0.0486, 0.27, 1234.5)] == ["$0", "$0.000335", "$0.0486", "$0.27", "$1,234"]
    assert [percent(v) for v in (0, 0.062, 0.5, 1)] == ["0 %", "6.2 %", "50 %", "100 %"]
    assert [duration(v) for v in (5, 65, 3720)] == ["5 s", "1 min 5 s", "1 h 2 min"]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 10))
def test_ticks_are_few_round_and_within(low: float, span: float, count: int) -> None:
    """Increasing, between the ends, about as many as wanted."""
    found = svg.ticks(low, low + span, count)
    slack = 1e-6 * (abs(low) + span)
    assert all(low - slack <= at <= low + span + slack for at in found)
    assert all(a < b for a, b in pairwise(found))
    assert len(found) <= 2 * count + 2


@given(st.lists(st.tuples(SHARES, SHARES, SHARES), min_size=1, max_size=30), SHARES, st.floats(0, 0.9), st.text())
def test_curves_are_pictures_with_words(
    shares: list[tuple[float, float, float]], target: float, bottom: float, name: str
) -> None:
    """Well-formed, with a title, a description and axes, and nothing is drawn outside of the frame."""
    points = [(n, *sorted(each)) for n, each in enumerate(shares, 1)]
    ordered = [(n, middle, low, high) for n, low, middle, high in points]
    picture = ET.fromstring(svg.agreement(svg.Curve(ordered, target, bottom, "candidate-1", name), "p"))
    assert picture.get("role") == "img"
    assert picture.findtext("title")
    assert "target" in (picture.findtext("desc") or "")
    assert {"rows compared", "agreement"} <= {text.text for text in picture.findall("text")}
    for path in picture.findall("path"):
        numbers = [float(n) for n in (path.get("d") or "").translate(str.maketrans("MLZ", "   ")).split()]
        assert all(-0.1 <= x <= svg.WIDTH + 0.1 for x in numbers[::2])
        assert all(-0.1 <= y <= svg.HEIGHT + 0.1 for y in numbers[1::2])


@given(st.lists(st.just(0.0) | st.floats(1e-9, 1e6), min_size=1, max_size=6), st.text())
def test_bars_add_up(values: list[float], name: str) -> None:
    """Parts lie side by side within the width, each as wide as its share, with its name."""
    parts = [svg.Part(name, value, "stage-1") for value in values]
    root = ET.fromstring(svg.bars([svg.Bar("all", "said", parts)], "title", "b", unit=usd))
    boxes = [(float(r.get("x", "")[:-1]), float(r.get("width", "")[:-1])) for r in root.iter("rect")]
    assert len(boxes) == sum(value > 0 for value in values)
    for (x, width), (after, _) in pairwise(boxes):
        assert abs(x + width - after) < 0.02
    assert sum(width for _, width in boxes) <= 100.1
