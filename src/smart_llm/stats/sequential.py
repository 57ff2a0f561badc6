"""A stopping table with shares, and its exact worst-case error.

The population has `rows` rows, D of them bad. Rows are looked at in a uniformly random order. A `Table` says at which
numbers of rows to look, at which counts d of bad rows to stop there, and how many of the rows left are then handed to
the candidate (a uniformly random draw of that size, independent of what was seen). The rule *errs* when more than
`allowance` bad rows are among those handed over.

Two facts make the exact error cheap, for all D at once (proofs in `docs/claims.md`):

* Given the count d at a look, what happened before is Hyp(L_k, d, L_j) and does not depend on D. So the probability
  `reach` that the rule was still going when it arrived at (k, d), given d, is computed once for all D.
* P(Hyp(R, b, r) > B) over b = B, B+1, … is a running sum of single probabilities (`hypergeometric.more_than`).

So every D is computed, none skipped. Both factors are log-concave in D: outside a window they only fall, and what is
cut off there (`CUT`) is added to the bound. All rounding is upwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smart_llm.stats.hypergeometric import Floats, Ints, log_choose, log_factorials, pmf, slack

CUT = 1e-14
"""Probabilities below this are not followed; every one left out is added to the bound as if it were this large."""

NEGLIGIBLE = 1e-11
"""Cells that add less than this to the error, whatever D, are not evaluated; their bounds are added instead."""

LEAST = 1e-100
"""Where a run of probabilities begins, at least: one that began at 0 would stay there."""


@dataclass(frozen=True, slots=True)
class Table:
    """looks: shape (K,), rows seen at each look, increasing. shares[k][d]: rows handed to the candidate when the rule
    stops at look k with d bad rows, or `GO_ON`. Counts beyond the end of shares[k] stop with `floor`, which is at
    most the allowance and so can never err. At the last look every count stops.
    """

    looks: tuple[int, ...]
    shares: tuple[Ints, ...]
    floor: int

    def share(self, look: int, bad: int, left: int) -> int:
        """Rows to hand over at this look with this count (at most `left`), or `GO_ON`."""
        row = self.shares[look]
        return int(row[bad]) if bad < len(row) else min(self.floor, left)


GO_ON = -1
"""In `Table.shares`: do not stop here."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The largest error over all D: an upper bound `error`, and the D (lower end of its interval) where it stands."""

    error: float
    bad: int


def reach(table: Table) -> list[Floats]:
    """reach[k][d] = P(no stop before look k | d bad rows among the first looks[k]), for d in range(len(shares[k])).

    Rounds: up (`CUT`, `slack`). Source: exchangeability of the order, `docs/claims.md`.
    """
    out = [np.ones(len(table.shares[0]))]
    for k in range(len(table.looks) - 1):
        going = np.where(table.shares[k] == GO_ON, out[k], 0.0)
        out.append(_onward(going, table.looks[k], table.looks[k + 1], len(table.shares[k + 1])))
    return out


def _onward(going: Floats, seen: int, later: int, size: int) -> Floats:
    """Shape (size,): Σ_d going[d] · P(Hyp(later, e, seen) = d), for every count e at the later look; rounded up."""
    total = np.zeros(size)
    counts = np.flatnonzero(going)
    low, high = (edge[counts] for edge in _windows(later, seen, len(going)))
    last = np.minimum(high, size - 1)
    begin = going[counts] * np.maximum(pmf(later, np.minimum(low, last), seen, counts), LEAST)
    arrivals = _Arrivals(later, seen)
    for d, first, end, start in zip(counts.tolist(), low.tolist(), last.tolist(), begin.tolist(), strict=True):
        if first <= end:
            total[first : end + 1] += arrivals.run(d, first, end, start)
    return np.minimum(total * (1 + slack(later)) + CUT * len(counts), 1.0)


class _Arrivals:
    """P(Hyp(rows, D, seen) = bad) = C(seen, bad) · C(left, D − bad) / C(rows, D), for runs of D: each from the one
    before, in a third of the time of logarithms. Six roundings a step: 6 · rows in a run at most, far below `slack`."""

    def __init__(self, rows: int, seen: int) -> None:
        self.rows, self.left = _odds(rows)[1], _odds(rows - seen)[0]

    def run(self, bad: int, first: int, last: int, start: float) -> Floats:
        """What is `start` at D = first, for D = first … last, all within [bad, left + bad]."""
        out = np.empty(last - first + 1)
        out[0] = start
        np.multiply(self.left[first - bad : last - bad], self.rows[first:last], out=out[1:])
        return np.multiply.accumulate(out, out=out)


class _Steps:
    """The same for what the next bad row adds to the tail (`_step`)."""

    def __init__(self, left: int, allowance: int) -> None:
        b = np.arange(allowance, left - 1, dtype=np.float64)
        self.allowance = allowance
        self.common = (b + 1) / ((b + 1 - allowance) * (left - 1 - b))
        self.free = np.arange(left, -1, -1, dtype=np.float64)

    def run(self, share: int, first: int, last: int, start: float) -> Floats:
        """What is `start` at b = first, for b = first … last, all within [allowance, left − share + allowance]."""
        out = np.empty(last - first + 1)
        out[0] = start
        common = self.common[first - self.allowance : last - self.allowance]
        free = self.free[first + share - self.allowance : last + share - self.allowance]
        np.multiply(common, free, out=out[1:])
        return np.multiply.accumulate(out, out=out)


@lru_cache(maxsize=4)  # that of the whole table is the same at every look
def _odds(size: int) -> tuple[Floats, Floats]:
    """Shapes (size,): C(size, i + 1) / C(size, i), and one by it."""
    i = np.arange(size, dtype=np.float64)
    return (size - i) / (i + 1), (i + 1) / (size - i)


@lru_cache(maxsize=128)  # a design tries several tables with the same looks
def _windows(rows: int, seen: int, counts: int) -> tuple[Ints, Ints]:
    """First and last D under which d bad rows among `seen` have probability ≥ CUT, for d in range(counts)."""
    bad = np.arange(counts)
    mode = np.clip(bad * (rows + 1) // max(seen, 1), bad, rows - seen + bad)

    def likely(total: Ints) -> NDArray[np.bool_]:
        return pmf(rows, total, seen, bad) >= CUT

    return _edge(bad, mode, likely), _edge(rows - seen + bad, mode, likely)


def _edge(far: Ints, mode: Ints, likely: Callable[[Ints], NDArray[np.bool_]]) -> Ints:
    """Bisection between `mode` and `far`, all cells at once: a place beyond which nothing is likely, and little
    farther from the mode than need be."""
    near, far = mode.copy(), far.copy()
    near = np.where(likely(far), far, near)
    while np.any(np.abs(far - near) > 1 + np.abs(near - mode) // 16):
        middle = (near + far) // 2
        inside = likely(middle)
        near = np.where(inside, middle, near)
        far = np.where(inside, far, middle)
    return far


def worst_error(rows: int, allowance: int, table: Table) -> Worst:
    """The largest error of `table` over every number of bad rows.

    Guarantee: `error` ≥ P(more than `allowance` bad rows handed over) for every D in 0 … rows.
    Assumes: uniformly random order and share, independent of all answers. Rounds: up.
    Source: `../shared/design/guarantee.md` 3.7; proof in `docs/claims.md`.
    """
    if rows <= allowance or all((shares <= allowance).all() for shares in table.shares):
        return Worst(0.0, min(rows, allowance + 1))  # it cannot err
    total = np.zeros(rows + 1)
    spare = 3 * rows * CUT
    for seen, shares, reached in zip(table.looks, table.shares, reach(table), strict=True):
        spare += _add_errors(total, allowance, seen, shares, reached)
    at = int(np.argmax(total)) if total.any() else allowance + 1
    error = float(total[at]) * (1 + (len(table.looks) + 3) * slack(rows)) + spare
    return Worst(_rounded_up(min(error, 1.0)), at)


def _add_errors(total: Floats, allowance: int, seen: int, shares: Ints, reached: Floats) -> float:
    """Add P(stopped here and handed over too many) to `total` (by D), cell by cell; a bound of what is left out."""
    rows, counts = len(total) - 1, len(shares)
    left, bad = rows - seen, np.flatnonzero(shares > allowance)
    shares, reached = shares[bad], reached[bad]
    begin, end = _rises(left, allowance, shares)
    low, high = (edge[bad] for edge in _windows(rows, seen, counts))
    low = np.maximum(low, begin + bad + 1)
    mode = np.clip(bad * (rows + 1) // max(seen, 1), begin + bad + 1, left + bad)  # likeliest D that can err
    weight = reached * pmf(rows, mode, seen, bad)
    keep = weight > NEGLIGIBLE
    arrival = reached * np.maximum(pmf(rows, np.minimum(low, high), seen, bad), LEAST)
    step = np.maximum(_step(left, allowance, shares, begin), LEAST)
    arrivals, steps = _Arrivals(rows, seen), _Steps(left, allowance)
    for i in np.flatnonzero(keep & (low <= high)).tolist():
        d, share, first, last = int(bad[i]), int(shares[i]), int(low[i]), int(high[i])
        errors = arrivals.run(d, first, last, arrival[i])
        start, stop = int(begin[i]), int(min(last - d - 1, end[i]))
        if share < left and stop >= first - d - 1:
            tail = np.add.accumulate(steps.run(share, start, stop, step[i]))[first - d - 1 - start :]
            errors[: len(tail)] *= np.minimum(tail, 1.0, out=tail)
        total[first : last + 1] += errors
    return float(weight[~keep].sum()) + CUT * len(bad)


def _rounded_up(error: float) -> float:
    """To four digits: so that whoever computes it again, in another way, must find the very same number."""
    return float(Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(error))


def _step(left: int, allowance: int, share: Ints, bad: Ints) -> Floats:
    """What the next bad row adds to P(Hyp(left, bad, share) > allowance):
    C(bad, allowance) · C(left − bad − 1, share − allowance − 1) / C(left, share)."""
    t = log_factorials(left)
    good = log_choose(left - bad - 1, share - allowance - 1, t)
    return np.exp(log_choose(bad, allowance, t) + good - log_choose(left, share, t))


def _rises(left: int, allowance: int, share: Ints) -> tuple[Ints, Ints]:
    """The first and the last b at which the steps of `_step` are worth adding: those before are below `CUT` each,
    after them the sum counts as 1."""
    high = left - share + allowance
    mode = np.clip(allowance * left // np.maximum(share - 1, 1), allowance, high)

    def likely(bad: Ints) -> NDArray[np.bool_]:
        return _step(left, allowance, share, bad) >= CUT

    return _edge(np.full_like(share, allowance), mode, likely), _edge(high, mode, likely)
