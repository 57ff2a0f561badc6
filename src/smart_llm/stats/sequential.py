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
    for d, first, last in zip(counts.tolist(), low.tolist(), np.minimum(high, size - 1).tolist(), strict=True):
        if first <= last:
            total[first : last + 1] += going[d] * np.exp(_log_arrive(later, seen, d, first, last))
    return np.minimum(total * (1 + slack(later)) + CUT * len(counts), 1.0)


def _log_arrive(rows: int, seen: int, bad: int, first: int, last: int) -> Floats:
    """log P(Hyp(rows, D, seen) = bad) for D = first … last, all within [bad, rows − seen + bad]. No gathering."""
    t = log_factorials(rows)
    among = t[first : last + 1] - t[first - bad : last + 1 - bad]
    free = rows - seen + bad
    rest = t[rows - last : rows - first + 1] - t[free - last : free - first + 1]
    constant = t[bad] + t[seen - bad] + t[rows] - t[seen] - t[rows - seen]
    return np.asarray(among + rest[::-1] - constant)


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
        bad = np.flatnonzero(shares > allowance)
        low, high = (edge[bad] for edge in _windows(rows, seen, len(shares)))
        starts, ends = _rises(rows - seen, allowance, shares[bad])
        mode = np.clip(
            bad * (rows + 1) // max(seen, 1), starts + bad + 1, rows - seen + bad
        )  # likeliest D that can err
        weight = reached[bad] * pmf(rows, mode, seen, bad)
        keep = weight > NEGLIGIBLE
        spare += float(weight[~keep].sum()) + CUT * len(bad)
        for i in np.flatnonzero(keep).tolist():
            cell = (seen, int(bad[i]), int(shares[bad[i]]))
            window = (int(low[i]), int(high[i]), int(starts[i]), int(ends[i]))
            first, errors = _errors(rows, allowance, cell, window)
            total[first : first + len(errors)] += reached[bad[i]] * errors
    at = int(np.argmax(total)) if total.any() else allowance + 1
    error = float(total[at]) * (1 + (len(table.looks) + 3) * slack(rows)) + spare
    return Worst(_rounded_up(min(error, 1.0)), at)


def _rounded_up(error: float) -> float:
    """To four digits: so that whoever computes it again, in another way, must find the very same number."""
    return float(Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(error))


def _errors(
    rows: int, allowance: int, cell: tuple[int, int, int], window: tuple[int, int, int, int]
) -> tuple[int, Floats]:
    """What one cell (rows seen, bad among them, share) adds to the error, for D = first …: P(seen) · P(too many)."""
    seen, bad, share = cell
    low, high, start, end = window
    first = max(low, start + bad + 1)
    if first > high:
        return 0, np.empty(0)
    out = np.exp(_log_arrive(rows, seen, bad, first, high))
    last = min(high - bad - 1, end)
    if share < rows - seen and last >= first - bad - 1:
        tail = np.cumsum(np.exp(_log_step(rows - seen, allowance, share, start, last)))
        tail = tail[first - bad - 1 - start :]
        out[: len(tail)] *= np.minimum(tail, 1.0)
    return first, out


def _log_step(left: int, allowance: int, share: int, first: int, last: int) -> Floats:
    """log of what the next bad row adds to P(Hyp(left, b, share) > allowance), for b = first … last (all ≥ allowance
    and ≤ left − share + allowance): C(b, B) · C(left − b − 1, share − B − 1) / C(left, share)."""
    t = log_factorials(left)
    among = t[first : last + 1] - t[first - allowance : last + 1 - allowance]
    free = left - share + allowance
    rest = t[left - last - 1 : left - first] - t[free - last : free - first + 1]
    constant = t[allowance] + t[share - allowance - 1] + t[left] - t[share] - t[left - share]
    return np.asarray(among + rest[::-1] - constant)


def _rises(left: int, allowance: int, share: Ints) -> tuple[Ints, Ints]:
    """The first and the last b at which the steps of `_log_step` are worth adding: those before are below `CUT` each,
    after them the sum counts as 1."""
    high = left - share + allowance
    mode = np.clip(allowance * left // np.maximum(share - 1, 1), allowance, high)

    def likely(bad: Ints) -> NDArray[np.bool_]:
        t = log_factorials(left)
        good = log_choose(left - bad - 1, share - allowance - 1, t)
        return np.asarray(log_choose(bad, allowance, t) + good - log_choose(left, share, t) >= np.log(CUT))

    return _edge(np.full_like(share, allowance), mode, likely), _edge(high, mode, likely)
