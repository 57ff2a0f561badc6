"""Looks one after another, at the parts of a table that grew: one level for all of them together.

Part i has N_i rows, a look at n_i of them and credit c_i, which do not depend on what looks show. Let m_i be the bad
rows delivered in part i. By the lemma of `stats.first_bad`, whatever happened before, P(m_i > k) ≤ H_i(k) for every k,
with H_i(k) = P(Hyp(N_i, k + 1 + c_i, n_i) ≤ c_i). Given the looks at earlier parts, their sum s is settled, so a
miss of the promise, s + m > B, has probability at most f(s) = H(B − s), and 1 where s > B. f does not fall, so

    P(s + m > B) ≤ E f(s) ≤ f(0) + Σ (f(j) − f(j − 1)) · P(s ≥ j),    j = 1 … B + 1.

Errors of several parts add up like independent ones, so a few rows of an added part are enough where the look at the
first part was precise. The look at the last part is still to be chosen, so its sum is taken over blocks of j, with f at
the upper end of each block: the result is rounded up. The parts before it are summed only once, one after the other,
for every number of bad rows.

Where the first part was left to a mix, its H(k) is how likely its stopping tables are, whatever the number of bad
rows, to hand over more than k of them: the error of the same tables for another allowance (`stats.sequential`), added
up over the finalists. It is worked out for some k (`Excess`); below the tables' own allowance, which may be handed over
unseen, it counts as 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.stats.hypergeometric import pmf, slack
from smart_llm.stats.sequential import Table, worst_error

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Look: TypeAlias = tuple[int, int, int]
"""Rows of a part, credit, rows looked at."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Of a part that was left to a mix: more bad rows than `counts[i]` are handed over with a chance of at most
    `chances[i]`. Counts rise; below the first of them nothing is known."""

    counts: tuple[int, ...]
    chances: tuple[float, ...]

    def beyond(self, allowed: Ints) -> Floats:
        """Shape of `allowed`: how likely more bad rows than that are, rounded up."""
        known = np.searchsorted(self.counts, allowed, side="right")
        return np.asarray(np.r_[1.0, self.chances][known], np.float64)


Part: TypeAlias = Look | Excess
"""Of a table that grew, as far as its level goes. Only the first one may have been left to a mix."""


def parted(excess: Sequence[tuple[int, float]], looks: Sequence[Look]) -> tuple[Part, ...]:
    """The parts behind a table, as records name them. excess: (count, chance) of a mix; empty where there was none."""
    mix = (Excess(*zip(*excess, strict=True)),) if excess else ()
    return (*mix, *looks)


POINTS = 400
"""Of the grid."""
ROUNDING = 1e-12
"""What a sum of probabilities may be off by."""
CREDITS = tuple(np.unique(np.round(np.r_[0:12, 1.2 ** np.arange(14, 26)]).astype(int)).tolist())
"""What may be chosen."""
FEW = 50
"""Added rows that are all asked about where no look is worth it: a new run would ask about as many. More of them where
the target is so high that no new run could do with fewer (`_fewest`)."""
SHAPE = 3.0
"""What is believed of rows that are added, whatever was seen: of the surest share x of them the share d·x^SHAPE is bad,
d being what may differ."""
TIMES = (0.25, 0.5, 1.0, 1.5)
"""What is believed after a mix, where no score tells which rows are surer: the candidate's share of bad rows is one of
these multiples of the share that may differ, all equally likely. A much worse candidate would hardly have been used."""
SPAN = 20
"""Numbers of bad rows at which the chance of more of them is worked out, the closer together the fewer they are."""
FAINT = 1 / 500
"""Of the chance of more bad rows than are allowed: where it has fallen to this, it is followed no further."""
LUCK = np.array([-1.383, -0.674, -0.210, 0.210, 0.674, 1.383])
"""Normal deviates that stand for what only the look decides."""


def beyond(parts: Sequence[Part], allowed: Ints) -> Floats:
    """Shape of `allowed`: how likely it is that more bad rows than that are delivered in all parts together.

    Guarantee: an upper bound for every population of every part, where a later part may be chosen by all that was seen
    of earlier ones. Assumes: the sizes of looks and parts do not depend on earlier looks; each look is a uniform draw,
    independent of earlier ones; the order of delivery in a part does not depend on its own look.
    Rounds: up. Source: the sum above (lemma 17 in docs/claims.md). 1 where `allowed` is negative.
    """
    last, before = parts[-1], tuple(parts[:-1])
    allowed = np.asarray(allowed, np.int64)
    if not before or isinstance(last, Excess):
        assert not before
        return _own(last, allowed)
    return np.array([_sum(before, *last, each) for each in allowed.ravel().tolist()]).reshape(allowed.shape)


def excess(rows: int, allowance: int, tables: Sequence[Table]) -> Excess:
    """The chance that a mix hands over more bad rows than a count, for a range of counts.

    Guarantee: for every population of `rows` rows, whichever table's share is used in the end. Assumes: as
    `sequential.worst_error`, of tables for this allowance that were fixed before the evidence. Rounds: up. Source:
    lemmas 2 and 9, with another allowance; `docs/claims.md`.
    """

    def chance(most: int) -> float:
        return float(min(1, sum(Decimal(repr(worst_error(rows, most, table).error)) for table in tables)))

    first, span = chance(allowance), 1 + allowance // 25
    while span < rows - allowance and chance(allowance + span) > FAINT * first:
        span += 1 + span // 2
    steps = np.unique(np.round(span * (np.arange(SPAN + 1) / SPAN) ** 2)).astype(int) if first else np.zeros(1, int)
    counts = tuple((allowance + steps).tolist())
    chances = np.minimum.accumulate([first, *map(chance, counts[1:])])
    return Excess(counts, tuple(chances.tolist()))


def _own(part: Part, allowed: Ints) -> Floats:
    """H of one part."""
    return part.beyond(allowed) if isinstance(part, Excess) else _one(*part, allowed)


def _one(rows: int, credit: int, looked: int, allowed: Ints) -> Floats:
    """H of a part that was looked at."""
    bad = np.clip(allowed + 1 + credit, 0, rows)
    seen = np.arange(credit + 1).reshape((-1,) + (1,) * allowed.ndim)
    total = pmf(rows, bad[None, ...], looked, seen).sum(axis=0) * (1 + slack(rows))
    return np.where(allowed < 0, 1.0, np.minimum(1.0, np.asarray(total)))


def _sum(before: tuple[Part, ...], rows: int, credit: int, looked: int, allowed: int) -> float:
    if allowed < 0:
        return 1.0
    low = max(0, allowed - rows - credit)
    if isinstance(before[0], Excess):  # below its first count nothing is known
        low = min(allowed, max(low, before[0].counts[0]))
    ends = np.unique(np.r_[0, np.linspace(low, allowed + 1, POINTS).astype(np.int64)])
    last = _one(rows, credit, looked, allowed - (ends[1:] - 1))  # f at the end of every block
    steps = np.diff(np.r_[last, 1.0])
    return float(min(1.0, last[0] + float(np.maximum(steps, 0.0) @ _reached(before, tuple(ends[1:].tolist())))))


@lru_cache(maxsize=64)
def _reached(before: tuple[Part, ...], counts: tuple[int, ...]) -> Floats:
    """For each count, how likely the earlier parts are to have at least that many bad rows delivered."""
    if len(before) == 1:
        return _own(before[0], np.array(counts, np.int64) - 1)
    return np.asarray(_summed(before, max(counts))[list(counts)])


@lru_cache(maxsize=64)
def _summed(before: tuple[Part, ...], most: int) -> Floats:
    """Shape (most + 1,): how likely parts have at least 0, 1, … bad rows delivered together. The sum above for all of
    these at once, by a Fourier transform, whose rounding is far below `ROUNDING`."""
    own: Floats = np.r_[1.0, _own(before[-1], np.arange(most))]
    if len(before) == 1:
        return own
    steps, earlier, size = np.maximum(0.0, own[:-1] - own[1:]), _summed(before[:-1], most)[1:], 2 * most
    added = np.fft.irfft(np.fft.rfft(steps, size) * np.fft.rfft(earlier, size), size)[:most]
    together: Floats = np.r_[1.0, np.minimum(1.0, own[1:] + np.maximum(0.0, added) + ROUNDING)]
    return together


@lru_cache(maxsize=256)
def look(before: tuple[Part, ...], rows: int, allowed: int, alpha: float, share: float) -> tuple[int, int] | None:
    """(credit, rows to look at) of a part that was added, all of them where that is no more than a new run would ask
    about; None where it is more, and no look costs less than the reference on all of them.

    Guarantee: `beyond` is at most alpha. Assumes: nothing. Rounds: rows up. Source: what is believed (`SHAPE`, `TIMES`)
    decides what it costs alone; nothing that an earlier look has shown goes in. share: of all rows, how many may
    differ.
    """
    found = []
    for credit in CREDITS:
        looked = _needed(before, rows, allowed, alpha, credit)
        if looked is None or looked >= rows:
            break
        bad = (credit + 1) * np.maximum(0.0, 1 - 1 / (9 * (credit + 1)) + LUCK / (3 * np.sqrt(credit + 1))) ** 3
        taken = _taken(bad / looked / share, blank=isinstance(before[0], Excess))
        found.append((looked + (rows - looked) * (1 - taken), credit, looked))
    if found and min(found)[0] < 0.9 * rows:
        return min(found)[1:]
    whole = beyond((*before, (rows, 0, rows)), np.array(allowed))
    return (0, rows) if rows <= max(FEW, _fewest(alpha, share)) and whole <= alpha else None


def _fewest(alpha: float, share: float) -> float:
    """Rows that a new run must see, all of them good, before it can hand over anything: fewer would all be good with a
    chance of more than alpha where just more rows are bad than may be."""
    return float(np.log(alpha) / np.log1p(-share)) if share > 0 else float("inf")


def _taken(bad: Floats, *, blank: bool) -> float:
    """The share of the rows added that is expected to be delivered. bad: the share before the stopping row that is bad,
    by what may differ; blank: nothing tells which rows are surer."""
    if blank:
        return float(np.minimum(1.0, bad[:, None] / np.array(TIMES)).mean())
    return float((np.minimum(1.0, bad) ** (1 / SHAPE)).mean())


def _needed(before: tuple[Part, ...], rows: int, allowed: int, alpha: float, credit: int) -> int | None:
    """The fewest rows whose look keeps the level."""
    low, high = credit, rows
    if beyond((*before, (rows, credit, rows)), np.array(allowed)) > alpha:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if beyond((*before, (rows, credit, middle)), np.array(allowed)) <= alpha:
            high = middle
        else:
            low = middle
    return high
