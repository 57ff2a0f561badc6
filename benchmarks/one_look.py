"""The one-look yardstick: what a promise costs someone who knows every candidate's true agreement.

They pick the best candidate and the best single sample size n, label n rows, take one exact hypergeometric limit U of
the bad rows, and give the candidate the largest share x of the rows left with x(U − d) + one standard deviation of what
a blind share happens to draw ≤ B. Cost is the expectation over the sample's count d.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import hypergeom

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
ALPHA = 0.05
NODES = 24  # counts d at which the limit is computed; in between it is interpolated


def yardstick(rows: int, allowed: int, bad: list[int], price: list[float], row_price: list[float]) -> float:
    """Least cost ratio over candidates. bad: their D; price: of a call; row_price: deferrals included (reference 1)."""
    hindsight = [
        x * min(1.0, allowed / d) + 1 - min(1.0, allowed / d) if d else x for d, x in zip(bad, row_price, strict=True)
    ]
    best = 1.0
    for j in np.argsort(hindsight):
        if hindsight[j] < best:
            best = min(best, _candidate(rows, allowed, bad[j], (price[j], row_price[j]), hindsight[j]))
    return best


def _candidate(rows: int, allowed: int, bad: int, prices: tuple[float, float], hindsight: float) -> float:
    """Least expected cost ratio over sample sizes. Labelled rows that would go to the reference anyway are free, so the
    search stops where the candidate's calls alone make up for the best found."""
    best, n = 1.0, 6.0
    while n < 0.9 * rows and hindsight + n / rows * prices[0] < best:
        best = min(best, _look(rows, allowed, bad, int(n), prices))
        n *= 1.12
    return best


def _look(rows: int, allowed: int, bad: int, n: int, prices: tuple[float, float]) -> float:
    """Expected cost ratio of one look at n rows."""
    spread = 4.5 * np.sqrt(n * bad / rows * (1 - bad / rows)) + 4
    d = np.arange(max(0, int(n * bad / rows - spread)), min(n, bad, int(n * bad / rows + spread)) + 1)
    nodes = np.unique(np.linspace(d[0], d[-1], NODES).astype(np.int64))
    limit = np.interp(d, nodes, upper_limits(rows, n, nodes))
    left, bad_left = rows - n, np.maximum(limit - d, 1)
    share = np.minimum(1, allowed / bad_left)
    tail = np.sqrt(np.maximum(allowed * (1 - share), 0))
    taken = np.where(bad_left <= allowed, 1.0, np.maximum(allowed - tail, 0) / bad_left) * left
    cost = n * (1 + prices[0]) + taken * prices[1] + (left - taken)
    chance = hypergeom.pmf(d, rows, bad, n)
    return float((cost * chance).sum() / rows + (1 - chance.sum()))


def upper_limits(rows: int, n: int, d: Ints) -> Floats:
    """For every count d the largest number of bad rows D with P(Hyp(rows, D, n) ≤ d) > α, by bisection."""
    low, high = d.copy(), np.full(len(d), rows - n + 1) + d
    while (high - low > 1).any():
        middle = (low + high) // 2
        kept = _at_most(rows, middle, n, d) > ALPHA
        low, high = np.where(kept, middle, low), np.where(kept, high, middle)
    return low.astype(float)


def _at_most(rows: int, bad: Ints, n: int, d: Ints) -> Floats:
    """P(Hyp(rows, bad, n) ≤ d), summed over the window of counts that carries it."""
    window = int(10 * np.sqrt(d.max() + 1)) + 20
    seen = d[:, None] - np.arange(window)
    possible = (seen >= 0) & (seen <= bad[:, None]) & (n - seen <= (rows - bad)[:, None])
    seen = np.where(possible, seen, np.maximum(0, n - rows + bad)[:, None])
    log = _choose(bad[:, None], seen) + _choose((rows - bad)[:, None], n - seen) - _choose(np.array(rows), np.array(n))
    total: Floats = np.where(possible, np.exp(log), 0.0).sum(axis=1)
    return total


def _choose(n: Ints, k: Ints) -> Floats:
    log: Floats = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return log
