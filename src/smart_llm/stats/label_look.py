"""The one look (`first_bad`) with a promise per label: of the rows the reference calls L, at least a share r agree.

The same labelled rows serve all promises. A bad row belongs to the label its reference answer names, so the lemma of
`first_bad` holds for the bad rows of label L alone, in the same order: deliver only what stands before the (c_L + 1)-th
labelled bad row of L, and more than B_L unlabelled bad rows of L are delivered with probability at most
P(Hyp(N, B_L + 1 + c_L, n) ≤ c_L). The stopping place that keeps all promises is the earliest one.

How many rows N_L carry the label is not known, but the look tells: with probability 1 − a it is at least `lower_count`.
B_L follows from that limit, and c_L from B_L. On the event that the limit holds, B_L, and with it c_L, is at most what
the true N_L would allow, so the stopping place is no later, and the two errors add up.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import hypergeom

from smart_llm.stats.first_bad import upper_level


@lru_cache(maxsize=65536)
def most_credit(rows: int, allowance: int, looked: int, alpha: float) -> int:
    """The largest credit c whose level is at most alpha; −1 where even c = 0 is too much; `looked` where any will do.

    Guarantee: deliver before the (c+1)-th labelled bad row, and more than `allowance` unlabelled bad ones are delivered
    with probability at most alpha. Assumes, Source: as `first_bad.upper_level`. Rounds: down. The level rises with c.
    """
    low, high = -1, min(looked, rows - allowance - 1)  # above `high`: more bad rows than there are rows
    if high < 0:
        return looked
    while low < high:
        middle = (low + high + 1) // 2
        fits = upper_level(rows, allowance, middle, np.array([looked]))[0] <= alpha
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


@lru_cache(maxsize=65536)
def lower_count(rows: int, looked: int, seen: int, alpha: float) -> int:
    """The smallest K that `seen` of `looked` rows do not exclude.

    Guarantee: P(K of the population < this) ≤ alpha for K fixed and a uniform draw. Rounds: down.
    Source: inversion of the exact hypergeometric test.
    """
    low, high = -1, seen  # at K = seen nothing is excluded from above; search the first K that stands
    high = max(high, 0)
    top = rows - looked + seen
    while high < top and hypergeom.sf(seen - 1, rows, high, looked) <= alpha:
        low, high = high, min(top, 2 * high + 1)
    while high - low > 1:
        middle = (low + high) // 2
        stands = middle >= seen and hypergeom.sf(seen - 1, rows, middle, looked) > alpha
        low, high = (low, middle) if stands else (middle, high)
    return high


def misses_allowed(rows_with: int, share: float) -> int:
    """⌊(1 − share) · rows_with⌋, rounded down against float error."""
    return int(np.floor((1 - share) * rows_with * (1 - 1e-12)))
