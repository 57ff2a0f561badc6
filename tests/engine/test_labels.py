"""The per-label report: counts of what the rule would deliver on the profiled rows."""

from __future__ import annotations

import numpy as np
import pytest

from smart_llm.certificates.labels import per_label
from smart_llm.scores.traits import answer_key
from smart_llm.stats.sampling import uniforms
from smart_llm.types import AGREE, BAD, NOT_ASKED, Answers, Cascade, Ints, Mix, Score, Tier, Traits

LABELS = ("yes", "no")
BLANK = uniforms(1, "shares", 140)


def batch(reference: list[str], candidate: list[str], score: list[float]) -> tuple[Ints, Answers]:
    """One profiled batch of rows 0 … n−1, one candidate."""
    n = len(reference)
    key = np.array([[answer_key(a), answer_key(b)] for a, b in zip(reference, candidate, strict=True)])
    marks = np.array([[AGREE, AGREE if a == b else BAD] for a, b in zip(reference, candidate, strict=True)], np.int8)
    traits = Traits(key, np.ones((n, 2)), np.ones(n))
    return np.arange(n), Answers(marks, np.zeros((n, 2)), np.column_stack([np.full(n, np.nan), score]), traits)


ROWS = batch(["yes"] * 10 + ["no"] * 30, ["yes"] * 6 + ["no"] * 4 + ["no"] * 27 + ["yes"] * 3, [0.0] * 5 + [-1.0] * 35)


def test_a_mix_of_all_rows_counts_every_row() -> None:
    """When the candidate gets every row left, agreement and precision are the candidate's own."""
    yes, no = per_label(LABELS, Mix(((1, 60),)), [ROWS], BLANK, 100)
    assert (yes["profiled"], no["profiled"]) == (10, 30)
    assert yes["agreement"] == pytest.approx(0.6)
    assert no["agreement"] == pytest.approx(0.9)
    assert yes["precision"] == pytest.approx(6 / 9)
    assert no["precision"] == pytest.approx(27 / 31)
    assert yes["agreement_lower"] < 0.6 < yes["agreement_upper"]


def test_a_mix_of_half_the_rows_halves_the_misses() -> None:
    """A candidate that gets half of the rows left spoils half as many."""
    yes, _ = per_label(LABELS, Mix(((1, 30),)), [ROWS], BLANK, 100)
    assert yes["agreement"] == pytest.approx(0.8)
    assert yes["precision"] == pytest.approx(1 - 1.5 / (4.5 + 5))


def test_a_cascade_counts_what_it_accepts() -> None:
    """Rows below the threshold go to the reference: the accepted ones here are all right."""
    rule = Cascade((Tier(1, Score(), (-0.5, 0)),))
    for each in per_label(LABELS, rule, [ROWS], BLANK, 100):
        assert each["agreement"] == each["precision"] == 1.0


def test_rows_on_which_a_model_of_the_rule_was_not_asked_do_not_count() -> None:
    """A batch without the candidate would look as if nothing were accepted: it is left out."""
    positions, answers = ROWS
    without = Answers(answers.marks.copy(), answers.cost, answers.score, answers.traits)
    without.marks[:, 1] = NOT_ASKED
    yes, _ = per_label(LABELS, Mix(((1, 60),)), [(positions + 40, without), ROWS], BLANK, 140)
    assert yes["profiled"] == 10


def test_no_profiling_no_numbers() -> None:
    """With nothing profiled there is nothing to report."""
    assert [each["agreement"] for each in per_label(LABELS, Mix(), [], BLANK, 5)] == [None, None]
