"""What the log-probabilities of an answer's tokens say about it: `own`, what a model tells of its own answer.

Of a text it is the log-probability of all its tokens. Of a label it is its log-odds against everything else the model
might have said, over all ways to write it where the provider lists what else was probable in each token's place, else
of the tokens as they came. Higher is surer; NaN is "cannot say". All logarithms are natural.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import exp, expm1, isfinite, log
from typing import Any, TypeAlias

from smart_llm.tasks.label_forms import fold
from smart_llm.types import Answer

Tokens: TypeAlias = Sequence[tuple[str, float]]
"""(text, log-probability) of each."""

NAN = float("nan")
ROUNDING = 1e-6
"""A log-probability above this is no rounding error."""
CERTAIN = -1e-12
_MARKS = " \t\n\r\"'`*_“”‘’«»„.!,;:"


def own_score(reply: Answer, value: Any, labels: Sequence[str] | None) -> float:
    """How sure a model is of its own answer. value: the answer as it was read. labels: of the task, if it has any."""
    if not reply.logprobs or reply.text is None:
        return NAN
    if labels is None:
        return sum(logp for _, logp in reply.logprobs)
    odds = label_log_odds(reply.logprobs, reply.listed, labels, value) if value in labels else NAN
    return odds if isfinite(odds) else log_odds(answer_log_probability(reply.logprobs, reply.text.strip()))


def answer_log_probability(tokens: Tokens, label: str) -> float:
    """Log of the probability of the tokens that spell `label`: the sum over all of them, not the first alone.

    tokens: of the answer as it came. Blanks around the label are ignored, and so is whatever follows it (end marks).
    NaN where the tokens do not begin with the label, or a log-probability is no number ≤ 0.
    """
    spelled, total = "", 0.0
    for text, logp in tokens:
        spelled, total = (spelled + text).lstrip(), total + min(logp, 0.0) if logp <= ROUNDING else NAN
        if label and spelled.rstrip() == label:
            return total
        if not label.startswith(spelled.rstrip()):
            break
    return NAN


def label_log_odds(tokens: Tokens, listed: Sequence[Tokens], labels: Sequence[str], label: str) -> float:
    """Log-odds of an answer that says `label`, whatever stands before it, against all else that is listed.

    listed: of each of the first tokens, the other tokens that were probable in its place. Up to where the tokens have
    decided for the label, one that begins or continues this label alone, whatever its case and wrapping, counts for it;
    all others count against it, which may be too much: the safe direction. NaN where the label is not found, or a place
    before the decision lists nothing or no log-probabilities.

    For two labels that are all there is to say, the margin between them.
    """
    folded = _folded(tuple(labels))
    for start in range(min(len(listed), len(tokens))):
        if _bare("".join(text for text, _ in tokens[start:])).startswith(folded[label]):
            return _odds(tokens[start:], listed[start:], tuple(labels), label)
    return NAN


def _odds(tokens: Tokens, listed: Sequence[Tokens], labels: tuple[str, ...], label: str) -> float:
    wholes = _folded(labels).values()
    path, spelled, decided, pro, contra = 0.0, "", False, list[float](), list[float]()
    for (text, logp), others in zip(tokens, listed, strict=False):
        if not others or not all(value <= ROUNDING for value in (logp, *(value for _, value in others))):
            return NAN
        for other, value in others:
            (pro if _meant(spelled + other, labels) == (label,) else contra).append(path + value)
        spelled, path = spelled + text, path + logp
        decided = sum(whole.startswith(_bare(spelled)) for whole in wholes) <= 1
        if decided:
            break
    if not decided and len(listed) < len(tokens):
        return NAN
    odds = log_sum([*pro, path]) - log_sum(contra)
    return odds if isfinite(odds) else NAN


def log_odds(logp: float) -> float:
    """log p − log(1 − p) of a probability given by its logarithm: the margin over all other answers together.

    Certainty, to which providers round, counts as 1 − 10⁻¹².
    """
    logp = min(logp, CERTAIN) if logp <= ROUNDING else NAN
    return logp - log(-expm1(logp)) if isfinite(logp) else NAN


def log_sum(values: Sequence[float]) -> float:
    """log Σ exp; −∞ for none."""
    top = max(values, default=-float("inf"))
    return top + log(sum(exp(value - top) for value in values)) if isfinite(top) else top


@lru_cache(maxsize=4096)
def _bare(text: str) -> str:
    """Tokens that spell a label, as labels are compared; marks of punctuation around them are wrapping, too."""
    return fold(text.strip(_MARKS))


@lru_cache(maxsize=256)
def _folded(labels: tuple[str, ...]) -> Mapping[str, str]:
    return {each: _bare(each) for each in labels}


@lru_cache(maxsize=4096)
def _meant(begun: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The label that a text is, else those it begins; none of a text that is mere wrapping."""
    text, folded = _bare(begun), _folded(labels)
    fits = tuple([label for label, whole in folded.items() if text and whole.startswith(text)])
    return tuple([label for label in fits if folded[label] == text]) or fits


def own(draws: int, labelled: bool) -> str:
    """What a model tells of its own answer, in words. draws: how many further ones it gives. labelled: it is one of a
    task's labels."""
    if draws:
        return f"how many of {draws} further draws repeat its answer"
    odds = "the odds of its label against all else, by log-probability"
    return odds if labelled else "the log-probability of its own answer"
