"""What the log-probabilities of an answer's tokens say about it: `own`, what a model tells of its own answer.

Of a text it is the log-probability of all its tokens. Of a label it is the margin over the surest other label, where
the provider lists what else was probable in each token's place; else the log-odds of its tokens, the same on the same
scale for two labels. Higher is surer; NaN is "cannot say". All logarithms are natural.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, expm1, isfinite, log
from typing import TypeAlias

from smart_llm.tasks.labels import fold
from smart_llm.types import Answer

Tokens: TypeAlias = Sequence[tuple[str, float]]
"""(text, log-probability) of each."""

NAN = float("nan")
ROUNDING = 1e-6
"""A log-probability above this is no rounding error."""
CERTAIN = -1e-12
"""What a probability of 1 counts as: providers round to it."""


def own_score(reply: Answer, value: object, labels: Sequence[str] | None) -> float:
    """How sure a model is of its own answer. value: the answer as it was read. labels: of the task, if it has any."""
    if not reply.logprobs or reply.text is None:
        return NAN
    if labels is None:
        return sum(logp for _, logp in reply.logprobs)
    margin = NAN
    if isinstance(value, str) and value in labels:
        margin = label_margin(label_logprobs(reply.logprobs, reply.listed, labels, value), value)
    return margin if isfinite(margin) else log_odds(answer_log_probability(reply.logprobs, reply.text.strip()))


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


def label_logprobs(tokens: Tokens, listed: Sequence[Tokens], labels: Sequence[str], label: str) -> dict[str, float]:
    """Log of each label's probability among the labels, of an answer that says `label`, whatever stands before it.

    listed: of each of the first tokens, the other tokens that were probable in its place. A token counts for the label
    it begins, or goes on with, up to case and wrapping. Other labels may get too much, never too little, which is the
    safe direction: a token that was not chosen and begins several counts for each of them but the answer, and a label
    of which nothing is listed has as much as the least probable token that is. Empty where the label is not found,
    where a place that decides lists nothing or no log-probabilities, or where the answer ends while it might have
    become a longer label.
    """
    folded = {each: fold(each) for each in labels}
    for start in range(min(len(listed), len(tokens))):
        if fold("".join(text for text, _ in tokens[start:])).startswith(folded[label]):
            masses = _masses(tokens[start:], listed[start:], folded, label)
            total = log_sum([mass for masses_of in masses.values() for mass in masses_of])
            return {each: log_sum(masses_of) - total for each, masses_of in masses.items()}
    return {}


def label_margin(logps: Mapping[str, float], label: str) -> float:
    """Log-probability of a label minus that of the surest other one: below 0 where that one is surer. NaN where either
    is not known."""
    others = [value for other, value in logps.items() if other != label and isfinite(value)]
    margin = logps.get(label, NAN) - max(others, default=NAN)
    return margin if isfinite(margin) else NAN


def log_odds(logp: float) -> float:
    """log p − log(1 − p) of a probability given by its logarithm: the margin over all other answers together."""
    logp = min(logp, CERTAIN) if logp <= ROUNDING else NAN
    return logp - log(-expm1(logp)) if isfinite(logp) else NAN


def log_sum(values: Sequence[float]) -> float:
    """log Σ exp; −∞ for none."""
    top = max(values, default=-float("inf"))
    return top + log(sum(exp(value - top) for value in values)) if isfinite(top) else top


def _masses(tokens: Tokens, listed: Sequence[Tokens], folded: Mapping[str, str], answer: str) -> dict[str, list[float]]:
    """By label, the log-probabilities of the tokens that decided for it."""
    masses: dict[str, list[float]] = {label: [] for label in folded}
    path, spelled, alive = 0.0, "", list(folded)
    for (text, logp), others in zip(tokens, listed, strict=False):
        probable = [logp, *(value for _, value in others)]
        if not others or not all(value <= ROUNDING for value in probable):
            return {}
        for other, value in others:
            meant = _meant(spelled + other, folded)
            for label in meant:
                if label != answer or len(meant) == 1:
                    masses[label].append(path + value)
        spelled, before = spelled + text, alive
        alive = [label for label in before if folded[label].startswith(fold(spelled))]
        if len(alive) == 1:
            masses[alive[0]].append(path + logp)
        for gone in set(before) - set(alive):
            masses[gone] = masses[gone] or [path + min(probable)]
        if len(alive) < 2:
            return masses if alive else {}
        path += logp
    return {}


def _meant(begun: str, folded: Mapping[str, str]) -> list[str]:
    """The label that a text is, else those it begins; none of a text that is mere wrapping."""
    text = fold(begun)
    fits = [label for label, whole in folded.items() if text and whole.startswith(text)]
    return [label for label in fits if folded[label] == text] or fits
