"""Which candidate to certify, and how long a pilot should be: choices in money, never part of the proof.

A candidate's bad rate has a beta posterior from its pilot rows. `forecast` says what each quantile of it would cost in
the end, by the best single look. The pilot goes on while the money that a wrong choice could lose, times the share of
it a longer pilot can save (`HOPE`), exceeds what more pilot rows cost; a candidate whose pilot would cost more than it
can win is not asked. Unit of money: one reference call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import betaincinv

from smart_llm.stats.design import Beta, Costs, Design, Fineness, Prior, design
from smart_llm.types import Floats

BEFORE = (0.5, 1.5)
"""Beta prior of a candidate's bad rate (bad, good)."""
DOUBT = 0.15
"""Weight of the second, four times weaker posterior in a design's prior: pilots are small and may mislead."""
HOPE = 0.3
LARGE = Fineness(ratio=1.45)
"""For tables of more than 20,000 rows: fewer looks, a faster design."""
QUANTILES = (np.arange(20) + 0.5) / 20
OVERRUN = 0.03
"""Of all rows' reference cost: what candidate calls may cost beyond what the allowance gains for certain."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the pilot saw of one candidate. rows asked, bad among them, deferred among them; spent and beside: USD its
    calls and the reference's on the same rows cost. rate: expected price (reference calls) before any was seen."""

    rate: float
    rows: int = 0
    bad: int = 0
    deferred: int = 0
    spent: float = 0.0
    beside: float = 0.0

    @property
    def call(self) -> float:
        """Price of a call, in reference calls, in steps of 5 % (so that like pilots share one design)."""
        price = self.spent / self.beside if self.rows >= 5 and self.beside > 0 else self.rate
        return float(1.05 ** np.round(np.log(price) / np.log(1.05))) if price > 0 else 0.0

    @property
    def gain(self) -> float:
        """What a row handed to the candidate saves, in reference calls: deferred rows are paid twice."""
        return 1.0 - self.call - float(f"{self.deferred / max(1, self.rows):.2g}")


def costs_of(seen: Seen, rows: int, allowance: int) -> Costs:
    """What profiling and handing over cost; no look may overrun the budget for nothing."""
    return Costs(seen.call, seen.gain, OVERRUN * rows + max(0.0, seen.gain) * min(allowance, rows))


def prior_of(seen: Seen) -> Prior:
    """The prior for the design: the pilot's posterior, and a little doubt."""
    bad, good = BEFORE
    right = seen.rows - seen.bad
    return (
        Beta(1 - DOUBT, bad + seen.bad, good + right),
        Beta(DOUBT, bad + seen.bad / 4, good + right / 4),
    )


@lru_cache(maxsize=512)
def design_for(rows: int, allowance: int, alpha: float, seen: Seen) -> Design:
    """The design for a candidate whose pilot looked like this. Cached: pilots repeat."""
    fine = LARGE if rows > 20_000 else Fineness()
    return design(rows, allowance, alpha, prior_of(seen), costs_of(seen, rows, allowance), fine=fine)


def plain(seen: Seen) -> Seen:
    """The same with its price as the only trace of what calls cost, so that like pilots share one design."""
    deferred = seen.deferred
    return replace(seen, rate=seen.call, spent=0.0, beside=0.0, deferred=deferred)


@lru_cache(maxsize=2048)
def forecast(rows: int, allowance: int, alpha: float, seen: Seen) -> Floats:
    """Shape (20,): what finishing would cost at each quantile of the bad rate, by the best single look (or none).

    Approximate: the sampled part of the rows profiled or handed over is treated as a binomial share, whose lower limit
    at the expected count decides how many rows may be handed over.
    """
    if rows <= 0:
        return np.zeros(len(QUANTILES))
    bad, good = BEFORE
    rate = betaincinv(bad + seen.bad, good + seen.rows - seen.bad, QUANTILES)[:, None]
    look = np.unique(np.round(np.geomspace(4, max(rows, 5), 28)))[None, :-1]
    share = betaincinv(look * rate + 1, allowance + 1.0, 1 - alpha)
    handed = np.minimum(rows - look, np.maximum(look / share - look, min(allowance, rows)))
    gain = max(0.0, seen.gain)
    handed = np.where(rate < 0.5, handed, 0.0)
    total = rows + seen.call * look - gain * handed
    none = rows - gain * np.where(rate[:, 0] < 0.5, float(min(allowance, rows)), 0.0)
    return np.asarray(np.minimum(total.min(axis=1), none))


def best(forecasts: list[Floats]) -> int:
    """Index of the candidate with the least expected cost."""
    return int(np.argmin([values.mean() for values in forecasts]))


def regret(forecasts: list[Floats]) -> Floats:
    """Shape (candidates,): expected money lost to each by choosing the one that looks best now (0 for itself)."""
    chosen = forecasts[best(forecasts)]
    return np.array(
        [np.maximum(0.0, chosen[:, None] - each[None, :]).mean() * (each is not chosen) for each in forecasts]
    )
