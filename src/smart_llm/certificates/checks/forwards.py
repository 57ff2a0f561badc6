"""The error of a stopping table, computed forwards, and the chance that a whole mix exceeds a number of bad rows.

The procedure computes the error backwards (what happened before a count does not depend on the number of bad rows) and
tails as running sums over that number. Here the counts of one population are pushed forward from look to look;
binomials come from the beta function, tails are summed over counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smart_llm.certificates.checks.mix_evidence import CommittedTable
from smart_llm.stats.sequential import Table, worst_error

CLOSE = 5e-6
"""How far, relatively, two computations of one error may be apart."""
BLOCK = 64
"""Counts whose tails are summed at once: bounds the memory."""
FAINT = 1e-16
"""Probabilities not followed further."""
MOST = 20_000_000
"""Rows of a table in which the worst number of bad rows is looked for: a certificate may state any number of rows."""
NEAR, FAR = 24, 6
"""Numbers of bad rows for which a mix is pushed forwards besides: up to four times those allowed, and beyond."""


def too_low(finalists: Sequence[CommittedTable], excess: Sequence[tuple[int, float]]) -> bool:
    """Whether more bad rows than a count are handed over with a larger chance than is stated, in the population where
    that is likeliest or in one of a grid. Whatever finalist is used in the end, its chance is in the sum. A count below
    what may be handed over unseen says nothing."""
    counts, chances = (np.array(each) for each in zip(*excess, strict=True))
    if counts[0] < max(each.allowance for each in finalists):
        return True
    rows, allowed = finalists[0].left[0], max(1, finalists[0].allowance)
    near = np.geomspace(allowed, min(rows, 4 * allowed), NEAR)
    grid = np.unique(np.r_[near, np.geomspace(near[-1], rows, FAR), rows].astype(int)).tolist()
    found = sum(
        np.max([errors(each, rows, bad, counts) for bad in {*grid, *where(each, rows, counts)}], axis=0)
        for each in finalists
    )
    return bool((found > chances * (1 + CLOSE)).any())


def where(design: CommittedTable, rows: int, allowed: NDArray[np.int64]) -> list[int]:
    """The numbers of bad rows at which more than `allowed`, one after the other, are handed over most often.

    Between the places of any grid the error may be many times as large as on it, so the procedure's own search, which
    leaves no number out, says where to look. How large the error is there, which decides, is computed here.
    """
    if rows > MOST:
        return []
    table = Table(tuple(design.looks), tuple(np.array(each, np.int64) for each in design.shares), design.allowance)
    return [max(1, worst_error(rows, count, table).bad) for count in allowed.tolist()]


def error(design: CommittedTable, rows: int, bad: int) -> float:
    """P(more than the allowance of bad rows is handed over) if `bad` of `rows` are bad."""
    return float(errors(design, rows, bad, np.array([design.allowance]))[0])


def errors(design: CommittedTable, rows: int, bad: int, allowed: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shape of `allowed`, which rises: P(more bad rows than that are handed over) if `bad` of `rows` are bad: forwards,
    look by look. Right where nothing less than the table's allowance is asked about."""
    looks, total = design.looks, np.zeros(len(allowed))
    going: NDArray[np.float64] = np.ones(1)
    counts = np.zeros(1, np.int64)
    for k, (seen, shares) in enumerate(zip(looks, design.shares, strict=True)):
        if k:
            going, counts = _onward(going, counts, (rows - looks[k - 1], bad, seen - looks[k - 1]), len(shares))
        share = np.array(shares, np.int64)[counts]
        risky = (share > allowed[0]) & (going > FAINT)
        drawn, other = share[risky], bad - counts[risky]
        for part in (slice(at, at + BLOCK) for at in range(0, len(drawn), BLOCK)):
            total += going[risky][part] @ _tails(rows - seen, other[part], drawn[part], allowed)
        alive = (share < 0) & (going > FAINT)
        going, counts = going[alive], counts[alive]
        if not len(counts):
            break
    return total


def _onward(
    going: NDArray[np.float64], counts: NDArray[np.int64], draw: tuple[int, int, int], size: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The counts after `draw` = (rows left, bad rows in all, rows drawn); counts of `size` and more stop safely."""
    left, bad, drawn = draw
    mean = [drawn * max(0, bad - int(d)) / left for d in (counts[-1], counts[0])]
    first = max(0, int(mean[0] - 12 * mean[0] ** 0.5 - 60))
    last = min(drawn, int(mean[1] + 12 * mean[1] ** 0.5 + 60))
    later = np.arange(min(size, counts[0] + first), min(size, counts[-1] + last + 1))
    chance = _chance(left, bad - counts[:, None], drawn, later[None, :] - counts[:, None])
    return going @ chance, later


def _tails(
    left: int, bad: NDArray[np.int64], drawn: NDArray[np.int64], allowed: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Shape (pairs, allowed): P(more bad rows than that among `drawn` of `left` rows, `bad` of them bad)."""
    most, least = np.minimum(bad, drawn), int(allowed[0])
    tails, open_ = (most[:, None] > allowed).astype(float), (drawn < left) & (most > least)
    if open_.any():
        mean = drawn[open_] * bad[open_] / left
        far = (np.maximum(mean, least) + 12 * mean**0.5 + 60).astype(np.int64)
        found = np.arange(least + 1, int(np.minimum(most[open_], far).max()) + 1)
        chance = _chance(left, bad[open_, None], drawn[open_, None], found)
        above = np.cumsum(chance[:, ::-1], axis=1)[:, ::-1]
        tails[open_] = np.pad(above, ((0, 0), (0, 1)))[:, np.minimum(allowed - least, len(found))]
    return tails


def _chance(
    left: int, bad: NDArray[np.int64], drawn: NDArray[np.int64] | int, found: NDArray[np.int64]
) -> NDArray[np.float64]:
    """P(`found` bad rows among `drawn` of `left` rows of which `bad` are bad), 0 where impossible."""
    possible = (found >= 0) & (found <= bad) & (drawn - found >= 0) & (drawn - found <= left - bad) & (bad >= 0)
    k, n = np.where(possible, found, 0), np.where(possible, bad, 0)
    rest = np.where(possible, drawn - found, 0)
    logs = _choose(n, k) + _choose(left - n, rest) - _choose(np.array(left), np.array(drawn))
    return np.where(possible, np.exp(logs), 0.0)


def _choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
    from scipy.special import betaln  # a run that issues a certificate does not need it

    return np.asarray(-np.log1p(n) - betaln(n - k + 1.0, k + 1.0))
