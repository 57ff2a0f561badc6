"""What is delivered comes back as it went in, whatever is kept in memory and whatever is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.engine import columns as delivered
from smart_llm.engine.columns import Names, States, Texts

TEXTS = st.text(st.characters(codec="utf-8"), max_size=100)


@given(st.lists(st.none() | TEXTS, max_size=40), st.randoms(use_true_random=False), st.booleans())
def test_texts_come_back_whatever_order_they_came_in(values: list[str | None], order: object, on_disk: bool) -> None:
    """Each row has its own text or none; slices, single entries and the whole are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivered, "IN_MEMORY", 1 if on_disk else 1 << 20)
        patch.setattr(delivered, "SLICE", 7)
        texts = Texts(len(values))
        rows = list(range(len(values)))
        order.shuffle(rows)  # type: ignore[attr-defined]
        for row in rows:
            if (value := values[row]) is not None:
                texts[row] = value
        assert list(texts) == values == texts[:]
        assert texts[2:30] == values[2:30]
        assert texts[::-1] == values[::-1]
        assert [texts[row] for row in range(-len(values), len(values))] == values * 2


def test_a_text_that_comes_again_is_kept_once() -> None:
    """A million labels take no more room than their places."""
    texts = Texts(1000)
    for row in range(1000):
        texts[row] = "yes" if row % 2 else "no"
    assert texts._file.tell() == 5
    assert texts[998:] == ["no", "yes"]


def test_models_and_states_by_row() -> None:
    """Numbers become names, and rows without an error are ok; no entry beyond the last row."""
    names = Names(np.array([0, 1, 1], np.int16), ["big", "small"])
    assert list(names) == ["big", "small", "small"]
    assert names[1:] == ["small", "small"]
    states = States(3, {1: "error: no"})
    assert list(states) == ["ok", "error: no", "ok"]
    with pytest.raises(IndexError):
        states[3]
