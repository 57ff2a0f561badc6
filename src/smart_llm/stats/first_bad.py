"""One look at the surest rows: deliver what stands before the (c+1)-th labelled bad row.

N rows stand in some fixed order; n of them, drawn uniformly, are labelled. Every unlabelled row before the (c+1)-th
labelled bad row is delivered, the rest deferred. If more than B of the delivered rows are bad, then among the first
B + 1 + c bad rows of the order (fixed rows!) at most c are labelled, and how many are labelled there is hypergeometric.
So

    P(more than B unlabelled bad rows delivered) ≤ P(Hyp(N, B + 1 + c, n) ≤ c),

whatever the population and the order, for all stopping places at once. c ("credit") trades the price of the look
against the accuracy of the stopping place.

Rows without any answer (*errors*) are misses wherever they are, and labelling one gives no credit for it. They are put
at the very front of the order, so the unlabelled ones are covered; those labelled are paid for by giving up credit:
with l of them the walk stops at the (k(l)+1)-th labelled bad row, k(l) = c − l − max(0, l − reserve), where `reserve`
misses were set aside for errors beforehand. `error_level` bounds the probability of more than B + reserve misses when
E rows are errors; `covers_errors` checks it for every E, which is a matter of N, B, c, n alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smart_llm.stats.hypergeometric import pmf, slack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def upper_level(rows: int, allowance: int, credit: int, looked: Ints) -> Floats:
    """Shape of `looked`: how likely a look at that many rows is to deliver more than `allowance` unlabelled bad ones.

    Guarantee: P(more than `allowance` unlabelled bad rows delivered) is at most this, for every population and order.
    Assumes: the labelled rows are a uniform draw; the order does not depend on it.
    Rounds: up, by the relative error of the hypergeometric table.
    Source: the lemma above (design page of the project, 3.8); attained when all bad rows stand together in front.
    """
    looked = np.asarray(looked, np.int64)
    bad = min(rows, allowance + 1 + credit)  # where fewer rows exist, this is still an upper limit
    seen = np.arange(credit + 1).reshape((-1,) + (1,) * looked.ndim)
    total = pmf(rows, bad, looked[None, ...], seen).sum(axis=0)
    return np.minimum(1.0, np.asarray(total) * (1 + slack(rows)))


@lru_cache(maxsize=4096)
def rows_needed(rows: int, allowance: int, credit: int, alpha: float) -> int | None:
    """The smallest number of labelled rows whose `upper_level` is at most alpha; None where none is.

    Guarantee, Assumes, Source: as `upper_level`. Rounds: the number up.
    """
    low, high = 0, rows
    if upper_level(rows, allowance, credit, np.array([rows]))[0] > alpha:
        return None
    while high - low > 1:  # level(low) > alpha ≥ level(high); the level falls as more rows are labelled
        inner = np.unique(np.linspace(low, high, 10).astype(np.int64)[1:-1])
        inner = inner[(inner > low) & (inner < high)]
        enough = upper_level(rows, allowance, credit, inner) <= alpha
        first = int(enough.argmax()) if enough.any() else len(inner)
        low, high = (int(inner[first - 1]) if first else low), (int(inner[first]) if first < len(inner) else high)
    return high


@lru_cache(maxsize=256)
def looks(rows: int, allowance: int, alpha: float, most: int) -> tuple[tuple[int, int], ...]:
    """The looks worth weighing: (credit, labelled rows) with credit on a grid and at most `most` labelled rows.

    Guarantee: each keeps the level alpha. Assumes, Source: as `upper_level`. Rounds: as `rows_needed`.
    """
    found = []
    for credit in np.unique(np.round(np.r_[0:8, 1.2 ** np.arange(11, 40)]).astype(int)).tolist():
        needed = rows_needed(rows, allowance, credit, alpha) if allowance + 1 + credit <= rows else None
        if needed is None or needed > most:
            break
        found.append((credit, needed))
    return tuple(found)


def credit_left(credit: int, errors: int, reserve: int) -> int:
    """k(l): labelled bad rows that may stand before the stopping row when l = `errors` labelled rows have no answer;
    negative: nothing may be delivered.

    Guarantee: with `covers_errors`. Assumes: nothing. Rounds: not at all. Source: module docstring.
    """
    return credit - errors - max(0, errors - reserve)


def error_level(rows: int, allowance: int, credit: int, looked: int, *, errors: int, reserve: int) -> float:
    """Probability of more than allowance + reserve misses when `errors` rows of the population have no answer.

    Guarantee: an upper bound for every population with that many errors, in every order. Assumes: as `upper_level`.
    Rounds: up. Source: given the number of labelled errors, the lemma on the other rows.
    """
    seen = np.arange(max(0, looked - rows + errors), min(errors, looked) + 1)
    chance = pmf(rows, errors, looked, seen)
    spare = allowance + reserve - errors
    total = 0.0
    for labelled, weight in zip(seen.tolist(), chance.tolist(), strict=True):
        left = credit_left(credit, labelled, reserve)
        if left >= 0:
            total += weight * _past(rows - errors, spare, left, looked - labelled)
    return min(1.0, total * (1 + slack(rows)))


def _past(rows: int, allowance: int, credit: int, looked: int) -> float:
    if allowance < 0:
        return 1.0  # the errors alone are too many: whatever is delivered, the table misses its target
    if allowance >= rows:
        return 0.0
    return float(upper_level(rows, allowance, credit, np.array([looked]))[0])


def covers_errors(rows: int, allowance: int, credit: int, looked: int, *, reserve: int, alpha: float) -> bool:
    """Whether giving up credit for labelled errors keeps the level alpha for every number of errors that leaves the
    promise possible at all.

    Guarantee: True means error_level ≤ alpha for errors = 0 … allowance + reserve. Assumes, Source: as `error_level`.
    Rounds: True only where certain.
    """
    numbers = range(allowance + reserve + 1)
    return all(error_level(rows, allowance, credit, looked, errors=e, reserve=reserve) <= alpha for e in numbers)
