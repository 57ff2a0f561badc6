"""Hypergeometric probabilities in log space, vectorised.

`Hyp(rows, bad, drawn)` is the number of bad rows among `drawn` rows drawn without replacement from `rows` rows of
which `bad` are bad. Everything is built on one table of log-factorials, because `gammaln` on every call would cost more
than all the rest. Relative accuracy of a probability: about 1e-15 × log(rows!), that is 1e-9 at a hundred
thousand rows; `slack` says how much, and whoever compares with a limit adds it on the unfavourable side.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smart_llm.stats.special import gammaln

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def log_factorials(largest: int) -> Floats:
    """Shape (largest + 1,): log n! for n = 0 … largest. Read-only."""
    return _log_factorials(largest.bit_length())[: largest + 1]


@cache
def _log_factorials(bits: int) -> Floats:
    """Shape (2^bits,): one table for all sizes of as many bits."""
    table: Floats = gammaln(np.arange(1, 2**bits + 1, dtype=np.float64))
    table.setflags(write=False)
    return table


def slack(rows: int) -> float:
    """How far, relatively, a probability of this module may be off (generously: eight roundings of log rows!)."""
    return float(16 * np.finfo(np.float64).eps * (1.0 + log_factorials(rows)[-1]))


def log_choose(n: ArrayLike, k: ArrayLike, table: Floats) -> Floats:
    """log C(n, k), −inf where k < 0 or k > n. `table` reaches at least the largest n."""
    n, k = np.asarray(n, np.int64), np.asarray(k, np.int64)
    outside = (k < 0) | (k > n)
    if outside.size and not outside.any():
        return np.asarray(table[n] - table[k] - table[n - k])
    n, k = np.broadcast_arrays(n, k)
    k = np.where(outside, 0, k)
    n = np.where(outside, 0, n)
    return np.where(outside, -np.inf, table[n] - table[k] - table[n - k])


def pmf(rows: ArrayLike, bad: ArrayLike, drawn: ArrayLike, seen: ArrayLike) -> Floats:
    """P(Hyp(rows, bad, drawn) = seen), broadcast over integer arrays; 0 where impossible.

    Rounds: to nearest, relative error at most `slack(max(rows))`. Source: definition.
    """
    rows, bad, drawn, seen = (np.asarray(value, np.int64) for value in (rows, bad, drawn, seen))
    table = log_factorials(int(rows.max()))
    good = rows - bad
    log = log_choose(bad, seen, table) + log_choose(good, drawn - seen, table) - log_choose(rows, drawn, table)
    return np.exp(log)
