"""Scores: each one pure, higher is surer, NaN where nothing can be said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.scores.traits import answer_key, consensus, self_consistency, trait, values, words_of
from smart_llm.types import Answers, Score, Traits


def answers(keys: list[list[int]], score: list[list[float]] | None = None, known: bool = True) -> Answers:
    """A batch with these answer keys (columns: reference, candidates)."""
    key = np.array(keys, dtype=np.int64)
    own = np.full(key.shape, np.nan) if score is None else np.array(score)
    traits = Traits(key, np.where(key == 0, np.nan, 3.0), np.arange(len(key), dtype=np.float64)) if known else None
    return Answers(np.zeros(key.shape, np.int8), np.zeros(key.shape), own, traits)


def test_consensus_and_self_consistency_are_shares() -> None:
    """The share that repeats the answer; an answer that broke its contract agrees with nothing."""
    assert consensus(7, [7, 8, 7, 0]) == 0.5
    assert self_consistency(7, [7, 7]) == 1.0
    assert math.isnan(consensus(0, [0, 0]))
    assert math.isnan(consensus(7, []))


def test_keys_tell_answers_apart_and_never_change() -> None:
    """Equal text, equal key; none is 0; the number is fixed for good, because rules store it."""
    assert answer_key(None) == 0
    assert answer_key("spam") == answer_key("spam") != answer_key("ham")
    assert answer_key("spam") == 6267495804606030806
    assert 0 < answer_key("") < 2**63


def test_traits_of_a_batch() -> None:
    """Each name means what its docstring says."""
    batch = answers([[1, 1, 1], [1, 2, 1], [1, 0, 1]], [[0, -0.5, -1], [0, -0.25, -2], [0, np.nan, -3]])
    assert trait("own", batch, 2).tolist() == [-1, -2, -3]
    assert trait("same:2", batch, 1).tolist()[:2] == [0.5, -0.5]
    assert trait("usual:2", batch, 1).tolist()[:2] == [-0.5, 0.5]
    assert trait("answer_length", batch, 1)[0] == np.log(4)
    assert trait("text_length", batch, 1).tolist() == np.log1p([0.0, 1.0, 2.0]).tolist()
    assert all(math.isnan(trait(name, batch, 1)[2]) for name in ("own", "same:2", "usual:2", "answer_length"))
    with pytest.raises(KeyError):
        trait("colour", batch, 1)


def test_a_row_scores_the_same_alone_and_in_a_batch() -> None:
    """Rows are routed one by one as they come: the score must not depend on the company, to the last bit."""
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 4, (257, 3))
    batch = answers(keys.tolist())
    score = Score((("same:2", 1.234567), ("usual:3", -0.7654321), ("answer_length", 0.1), ("text_length", -0.3333333)))
    together = values(score, batch, 1)
    for row in range(0, 257, 13):
        traits = batch.traits
        assert traits is not None
        alone = Answers(
            batch.marks[[row]],
            batch.cost[[row]],
            batch.score[[row]],
            traits.rows(np.array([row])),
        )
        assert values(score, alone, 1).tobytes() == together[[row]].tobytes()


@given(st.text(), st.text())
def test_words_count_whatever_their_case_and_what_stands_between(one: str, other: str) -> None:
    """Case and marks do not matter; a text's words are among those of a longer one; no text is refused."""
    assert words_of(f"Why,  {one}?".upper()).tolist() == words_of(f"why {one}!".upper()).tolist()
    assert (words_of(f"{one} {other}") >= words_of(one)).all()


def test_words_are_hashed_alike_everywhere() -> None:
    """The buckets are part of certificates: they may not change."""
    assert np.flatnonzero(words_of("Why not?")).tolist() == [11, 112, 117]


def test_nothing_known_is_no_score() -> None:
    """Without traits, or with one of them missing, there is no score (and the row will be deferred)."""
    unknown = answers([[1, 1]], known=False)
    assert math.isnan(values(Score((("text_length", 1.0),)), unknown, 1)[0])
    assert math.isnan(values(Score(), unknown, 1)[0])
