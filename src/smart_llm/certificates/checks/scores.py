"""A score of one answer, computed again from what the ledger holds: one row at a time, term by term."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TypeAlias

import numpy as np

from smart_llm.types import Answers
from smart_llm.types.values import Number

Terms: TypeAlias = Sequence[tuple[str, Number]]
"""(trait, weight) pairs, in the spelling of `scores.traits`."""
DECIMALS = 9
"""Scores of several terms are rounded here."""


def score_of(terms: Terms, answers: Answers, row: int, candidate: int) -> float:
    """The score of the candidate's answer to a row; NaN where a term is not known."""
    if list(terms) == [("own", 1.0)]:
        return float(answers.score[row, candidate])
    return float(np.round(sum(weight * _term(name, answers, row, candidate) for name, weight in terms), DECIMALS))


def _term(name: str, answers: Answers, row: int, candidate: int) -> float:
    kind, _, which = name.partition(":")
    if kind == "own":
        return float(answers.score[row, candidate])
    traits = answers.traits
    if traits is None:
        return nan
    if kind == "text_length":
        return float(np.log1p(traits.text[row]))
    if kind == "word":
        return nan if traits.words is None else float(traits.words[row, int(which)])
    key = int(traits.key[row, candidate])
    if key == 0:
        return nan
    if kind == "answer_length":
        return float(np.log1p(traits.length[row, candidate]))
    other = int(traits.key[row, int(which)]) if kind == "same" else int(which)
    return 0.5 if key == other else -0.5
