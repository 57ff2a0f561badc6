"""Looks at small tables, tried out: every draw, and every table for what was seen before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from math import comb

import numpy as np

from smart_llm.stats.grown import Look


def delivered(bad: tuple[bool, ...], looked: tuple[int, ...], credit: int) -> int:
    """Bad rows delivered: those not looked at before the (credit + 1)-th bad one that was, rows in their order."""
    seen = count = 0
    for row, wrong in enumerate(bad):
        if row in looked:
            seen += wrong
            if seen > credit:
                break
        else:
            count += wrong
    return count


def law(bad: tuple[bool, ...], size: int, credit: int) -> np.ndarray:
    """Probabilities of 0, 1, … delivered bad rows, over every draw of a look."""
    found = np.zeros(len(bad) + 1)
    for looked in combinations(range(len(bad)), size):
        found[delivered(bad, looked, credit)] += 1
    return found / comb(len(bad), size)


def worst_after(laws: Sequence[np.ndarray], second: Look, allowed: int) -> float:
    """The chance that more bad rows are delivered, in the worst tables, after a part whose bad rows follow any of these
    laws: the second part is chosen when it is known what the first one has delivered."""
    later = [law(bad, second[2], second[1]) for bad in product((False, True), repeat=second[0])]
    beyond_later = [max(float(each[most + 1 :].sum()) for each in later) for most in range(second[0] + 1)]
    return max(
        sum(p * (1.0 if s > allowed else beyond_later[min(allowed - s, second[0])]) for s, p in enumerate(law_of))
        for law_of in laws
    )
