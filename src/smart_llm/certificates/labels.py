"""Per label, reported for every run with labels: how the delivered answers fare where the reference says L.

Counted on the profiled rows, a uniform sample of the table: what the certified rule would deliver for each of them,
had it not been profiled. `agreement` is the share of rows with reference answer L that are delivered L (for a yes/no
filter: recall); `precision` the share of rows delivered L whose reference answer is L. The limits are exact binomial
ones, label by label, for a rule taken as given: they inform, they are not part of the promise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smart_llm.certificates.parts import LabelShares
from smart_llm.routing import accepts, passes
from smart_llm.scores.traits import answer_key
from smart_llm.stats.clopper_pearson import interval
from smart_llm.types import BAD, DEFER, ERROR, NOT_ASKED, Answers, Cascade, Floats, Ints, Rule

CONFIDENCE = 0.95


def per_label(
    labels: Sequence[str], rule: Rule, batches: Sequence[tuple[Ints, Answers]], u: NDArray[np.uint64], rows: int
) -> list[LabelShares]:
    """One entry per label: rows profiled with it, agreement and precision of the delivered table with 95 % limits.

    u: the blank scores, by position. rows: how many the rule was certified for.
    """
    table = list[LabelShares]()
    left = rows - len(np.unique(np.concatenate([np.empty(0, np.int64), *(each for each, _ in batches)])))
    whole = _whole(rule, batches)
    for label in labels:
        counts = [_counts(label, rule, batch, left=left, u=u) for batch in whole]
        said, missed, given, wrong = np.sum([np.zeros(4), *counts], axis=0).tolist()
        table.append(
            LabelShares(
                label=label,
                profiled=round(said),
                **_share("agreement", missed, said),
                **_share("precision", wrong, given),
            )
        )
    return table


def _share(name: str, bad: float, of: float) -> dict[str, float | None]:
    """1 − bad ÷ of with its limits; null where there is nothing to count. A mix's counts are rounded against us."""
    if of < 0.5:
        return {name: None, f"{name}_lower": None, f"{name}_upper": None}
    total = max(1, round(of))
    low, high = interval(min(total, int(np.ceil(bad - 1e-9))), total, CONFIDENCE)
    return {name: 1 - bad / of, f"{name}_lower": 1 - float(high), f"{name}_upper": 1 - float(low)}


def _whole(rule: Rule, batches: Sequence[tuple[Ints, Answers]]) -> list[tuple[Ints, Answers]]:
    """The batches in which every model of the rule was asked; of rows asked twice, the last time."""
    tiers = rule.tiers if isinstance(rule, Cascade) else ()
    models = [m for tier in tiers for m in tier.models] if tiers else [m for m, _ in getattr(rule, "shares", ())]
    latest: dict[bytes, tuple[Ints, Answers]] = {}
    for positions, answers in batches:
        if (answers.marks[:, [0, *models]] != NOT_ASKED).all():
            latest[positions.tobytes()] = (positions, answers)
    return list(latest.values())


def _counts(label: str, rule: Rule, batch: tuple[Ints, Answers], *, left: int, u: NDArray[np.uint64]) -> Floats:
    """(reference says L, of these delivered otherwise, delivered L, of these the reference says otherwise)."""
    positions, answers = batch
    assert answers.traits is not None
    keys, own = answers.traits.key, answer_key(label)
    true = (keys[:, 0] == own) & (answers.marks[:, 0] != ERROR)
    said, missed, given, wrong = float(true.sum()), 0.0, 0.0, 0.0
    free = np.where(answers.marks[:, 0] != ERROR, 1.0, 0.0)  # the part of each row that no candidate has taken
    for candidate, taken in _taken(rule, answers, left, u[positions]):
        bad = answers.marks[:, candidate] == BAD
        here = keys[:, candidate] == own
        missed += float((taken * free)[true & bad].sum())
        given += float((taken * free)[here].sum())
        wrong += float((taken * free)[here & bad].sum())
        free = free * (1 - taken)
    return np.array([said, missed, given + float(free[true].sum()), wrong])


def _taken(rule: Rule, answers: Answers, left: int, u: NDArray[np.uint64]) -> list[tuple[int, Floats]]:
    """(candidate, the part of each row it would be delivered for): 0 or 1 under a cascade, its share under a mix.

    The parts of a mix are of what the candidates before have not taken.
    """
    if isinstance(rule, Cascade):
        open_ = passes(rule.gate, answers)
        return [(tier.candidate, (open_ & accepts(tier, answers, u)).astype(float)) for tier in rule.tiers]
    taken, rest = [], float(left)
    for candidate, count in rule.shares:
        taken.append((candidate, np.where(answers.marks[:, candidate] == DEFER, 0.0, count / rest)))
        rest -= count
    return taken
