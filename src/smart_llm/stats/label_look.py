"""The one look (`first_bad`) with a promise per label: of the rows the reference calls L, at least a share r agree.

The same labelled rows serve all promises, and each has the whole α. Let a promise be broken once more than M rows of
its own kind are misses: for the table a row that is bad or has no answer, for a label L a bad row whose reference
answer is L. Count the labelled ones among them as well, although they are delivered right, and call K the place of the
(M + 1)-th such row in delivery order (rows without an answer first of all). K depends on the table and not on the draw,
and so does which promise has the first K. Each promise has its own stopping row, which lies beyond its K with
probability at most α, and delivery ends at the earliest of them. If any promise is broken, delivery went beyond its K,
hence beyond the first K; so the stopping row of the promise with the first K lies beyond it. That is one event, of
probability at most α, however many promises there are. (With credit for labelled bad rows, as in `first_bad`, a promise
may be broken before its K, and the errors would have to be added up.)

*The table.* Its stopping row is the (c + 1)-th labelled row of its kind, with P(Hyp(N, M + 1, n) ≤ c) ≤ α (`credit`).

*A label.* How many rows N_L carry it is not known, and need not be. Of the labelled rows s carry it; given s, the
number of labelled ones among its first M_L + 1 > (1 − r) · N_L bad rows is Hyp(N_L, M_L + 1, s), and that this is at
most c is no more probable than for a binomial with 1 − r, whatever N_L (`label_credit`). A label that hardly showed in
the look need not be kept, if one common enough to be promised anything would have shown more often with probability 1 −
a (`enough`): its two errors, a and α − a, add up.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import sqrt

import numpy as np
from scipy.stats import hypergeom

from smart_llm.stats.hypergeometric import pmf, slack
from smart_llm.stats.special import bdtr, ndtri

ROUNDING = 1e-9
"""Relative: more than scipy's distributions are off by."""


@lru_cache(maxsize=65536)
def credit(rows: int, misses: int, looked: int, alpha: float) -> int:
    """The largest c with P(Hyp(rows, misses + 1, looked) ≤ c) ≤ alpha; −1 where there is none, `looked` where more than
    `misses` rows cannot be missed at all.

    Guarantee: of some rows in a fixed order, the (c+1)-th labelled one lies beyond the (misses + 1)-th with probability
    at most alpha. Assumes: `looked` of all rows are drawn uniformly. Rounds: down. Source: definition.
    """
    if misses < 0:
        return -1
    if misses >= rows:
        return looked
    seen = np.arange(min(looked, misses + 1) + 1)
    levels = pmf(rows, misses + 1, looked, seen).cumsum() * (1 + slack(rows))
    return int(np.searchsorted(levels, alpha, side="right")) - 1


@lru_cache(maxsize=65536)
def label_credit(seen: int, share: Fraction, alpha: float) -> int:
    """The largest c such that c bad rows among `seen` labelled ones of a label exclude that more than 1 − share of all
    its rows are bad; −1 where there is none.

    Guarantee: for every number N of rows with the label and every M > (1 − share) · N of them, P(Hyp(N, M, seen) ≤ c) ≤
    alpha. Assumes: given their number, the labelled rows are a uniform draw of the label's. Rounds: down.
    Source: Uhlmann 1966 (Metrika 10): the hypergeometric tail lies below the binomial one where
    M / N ≥ (c / (seen − 1) · N + 1) / (N + 1), which is hardest at N = seen; for c = 0 everywhere.
    """
    allowed = float(1 - share)
    guess = seen * allowed + ndtri(alpha) * sqrt(seen * allowed * (1 - allowed))
    most = _last(lambda c: float(bdtr(c, seen, allowed)) * (1 + ROUNDING) <= alpha, guess, seen - 1)
    while most > 0 and most * seen / (seen - 1) + 1 > allowed * (seen + 1):
        most -= 1
    return most


@lru_cache(maxsize=65536)
def enough(rows: int, carried: int, looked: int, alpha: float) -> int:
    """The largest s such that fewer than s of `looked` rows carry a label with probability at most alpha, if at least
    `carried` of all rows do.

    Guarantee: P(Hyp(rows, K, looked) < s) ≤ alpha for every K ≥ carried. Rounds: down. Source: definition; the chance
    falls as K grows.
    """
    if carried <= 0:
        return 0
    carried = min(carried, rows)
    mean = looked * carried / rows
    spread = sqrt(mean * (1 - carried / rows) * (rows - looked) / max(1, rows - 1))
    fewer: Callable[[int], float] = lambda s: float(hypergeom.cdf(s, rows, carried, looked))  # noqa: E731
    return 1 + _last(lambda s: fewer(s) * (1 + ROUNDING) <= alpha, mean + ndtri(alpha) * spread, looked)


def _last(holds: Callable[[int], bool], guess: float, most: int) -> int:
    """The last number in −1 … most that holds, where all below it do and none above: from the guess, step by step."""
    at = min(max(-1, int(guess)), most)
    while at >= 0 and not holds(at):
        at -= 1
    while at < most and holds(at + 1):
        at += 1
    return at
