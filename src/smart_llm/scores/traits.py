"""Scores: how sure one answer is. Higher is surer, NaN is "cannot say" (such a row is deferred).

A score decides what a promise costs, never whether it is kept, so anything known before the reference is asked may go
into it. What a model tells about its own answer (`own`): see `tokens`. What other answers tell: consensus of
candidates, self-consistency over further draws. What anybody can see: how long the answer and the row are, and whether
the answer is the candidate's usual one ("n/a", the commoner label).

A procedure combines these traits linearly in a `Score`; names of the terms:

own            the candidate's own score, as it came
same:K         +½ where candidate K gave the same answer, −½ where not
usual:KEY      +½ where the answer's key is KEY, −½ where not
answer_length  log(1 + characters of the answer)
text_length    log(1 + characters of the row's input)
word:K         log(1 + how many of the words of the row's input, and pairs of neighbours, are hashed to K)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from zlib import crc32

import numpy as np

from smart_llm.types import WORDS, Answers, Cascade, Floats, Rule, Score, Tier

NAN = float("nan")
DECIMALS = 9
"""Combined scores are rounded here, so that a row has the same score alone and in a batch."""


def consensus(key: int, others: Sequence[int]) -> float:
    """Share of the other candidates that gave the same answer (keys as `answer_key` gives them; 0 never agrees)."""
    return sum(key == other != 0 for other in others) / len(others) if others and key else NAN


def self_consistency(key: int, draws: Sequence[int]) -> float:
    """Share of further draws from the same model that repeat the answer. Same rule as for other models."""
    return consensus(key, draws)


def answer_key(canonical: str | None) -> int:
    """A number in 1 … 2⁶³−1 standing for an answer in canonical form, the same on every machine; 0 for none."""
    if canonical is None:
        return 0
    return max(1, int.from_bytes(blake2b(canonical.encode(), digest_size=8).digest(), "little") >> 1)


def words_of(text: str) -> Floats:
    """Shape (WORDS,): the traits `word:K` of a text, the same on every machine. Words are runs of letters and digits,
    without regard to case."""
    words = re.findall(r"\w+", text.lower())
    grams = [*words, *map(" ".join, pairwise(words))]
    places = [crc32(gram.encode("utf-8", "surrogatepass")) % WORDS for gram in grams]
    return np.log1p(np.bincount(np.array(places, np.int64), minlength=WORDS))


def reads_words(rule: Rule) -> bool:
    """Whether routing by this rule looks at the words of a row."""
    scores = [rule.gate.score] if isinstance(rule, Cascade) and rule.gate else []
    return any(name.startswith("word:") for score in scores for name, _ in score.terms)


def reads_own(tier: Tier) -> bool:
    """Whether a tier goes by how sure its candidate is of its answer."""
    return any(name == "own" for name, _ in tier.score.terms)


def trait(name: str, answers: Answers, candidate: int) -> Floats:
    """Shape (n,): one trait of the candidate's answers; NaN where it is not known. KeyError: no such trait."""
    kind, _, which = name.partition(":")
    if kind == "own":
        return answers.score[:, candidate]
    if kind not in ("same", "usual", "answer_length", "text_length", "word"):
        raise KeyError(name)
    if answers.traits is None:
        return np.full(len(answers.marks), np.nan)
    if kind == "word":
        words = answers.traits.words
        return np.full(len(answers.marks), np.nan) if words is None else words[:, int(which)]
    key = answers.traits.key[:, candidate]
    if kind == "text_length":
        return np.log1p(answers.traits.text)
    if kind == "answer_length":
        return np.where(key == 0, np.nan, np.log1p(answers.traits.length[:, candidate]))
    other = answers.traits.key[:, int(which)] if kind == "same" else int(which)
    return np.where(key == 0, np.nan, np.where(key == other, 0.5, -0.5))


def values(score: Score, answers: Answers, candidate: int) -> Floats:
    """Shape (n,): the score of the candidate's answer to each row."""
    if score.terms == (("own", 1.0),):
        return answers.score[:, candidate]
    total = np.zeros(len(answers.marks))
    for name, weight in score.terms:
        total = total + weight * trait(name, answers, candidate)
    return np.asarray(np.round(total, DECIMALS))
