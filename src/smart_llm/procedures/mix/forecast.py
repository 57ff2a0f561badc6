"""Which candidate to certify, and how long a pilot should be: choices in money, never part of the proof.

A candidate's bad rate has a beta posterior from its pilot rows. `forecast` says what each quantile of it would cost in
the end, by the best single look. The pilot goes on while the money that a wrong choice could lose, times the share of
it a longer pilot can save (`HOPE`), exceeds what more pilot rows cost; a candidate whose pilot would cost more than it
can win is not asked. Unit of money: one reference call.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np

from smart_llm.procedures.money import chance_above, likely_above, price_of
from smart_llm.stats.design import Design, design
from smart_llm.stats.dual import Beta, Costs, Fineness, Prior
from smart_llm.stats.special import betaincinv
from smart_llm.types import Floats, Ints

BEFORE = (0.5, 1.5)
"""Beta prior of a candidate's bad rate (bad, good)."""
DOUBT = 0.15
"""Weight of the second, four times weaker posterior in a design's prior: pilots are small and may mislead."""
HOPE = 0.3
DOUBTFUL = 4
"""Of the 20 equally likely bad rates of a forecast: drawn from a four times weaker posterior. Without them, lucky
starts of poor candidates end pilots too soon (measured)."""
FIRST = 8
"""The first look of a design sees this many rows, or an eighth of a small table."""
MANY = 20_000
LARGE = Fineness(ratio=1.45, rounds=12, tries=4)
"""For tables of more than `MANY` rows, where exact errors take longest: fewer looks, and no farther than the look
that all but the worst (`FAR`) rates of the pilot's posterior ask for."""
FAR = 0.95
QUANTILES = (np.arange(20) + 0.5) / 20


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one candidate. rows asked, bad among them, deferred among them; spent and beside: USD its calls
    and the reference's on the same rows cost. rate: expected price (reference calls) before any was seen. floor: the
    agreement below which it is not delivered. repeats: how many rows share a request, on average."""

    rate: float
    rows: int = 0
    bad: int = 0
    deferred: int = 0
    spent: float = 0.0
    beside: float = 0.0
    floor: float = 0.5
    repeats: float = 1.0

    @property
    def price(self) -> float:
        """Of a call, in reference calls, by what calls have cost."""
        return price_of(self.rate, self.rows, self.spent, self.beside)

    @property
    def call(self) -> float:
        """The same in steps of 5 % (so that like pilots share one design)."""
        return float(1.05 ** np.round(np.log(self.price) / np.log(1.05))) if self.price > 0 else 0.0

    @property
    def gain(self) -> float:
        """What a row handed to the candidate saves, in reference calls: deferred rows are paid twice."""
        return 1.0 - self.call - float(f"{self.deferred / max(1, self.rows):.2g}")

    @property
    def agreed(self) -> int:
        """Rows on which its answer was equivalent to the reference's."""
        return max(0, self.rows - self.bad - self.deferred)

    @property
    def chance(self) -> float:
        """How probable it is that it agrees on enough of the rows it answers to be delivered at all."""
        return chance_above(self.floor, self.agreed, self.bad)

    @property
    def likely(self) -> bool:
        """Whether it is likely to agree on enough of the rows it answers to be delivered at all."""
        return likely_above(self.floor, self.agreed, self.bad)


def costs_of(seen: Seen, rows: int, allowance: int, most: float) -> Costs:
    """What profiling and handing over cost; no look may spend more than `most` beyond what is gained for certain."""
    certain = max(0.0, seen.gain) * min(allowance, rows) if seen.likely else 0.0
    if seen.repeats <= 1:
        return Costs(seen.call, seen.gain, most + certain)
    return Costs(seen.call, seen.gain, seen.call * farthest_look(seen, rows, most, certain))


def farthest_look(seen: Seen, rows: int, most: float, certain: float) -> int:
    """The same limit in rows, where rows share requests: each request is paid for once, and handing a row over saves
    nothing once a row that asks the same has been profiled. A request is handed over as a whole or not at all, so the
    more rows share one, the less of the gain is certain; none of it where two rows do."""
    requests, sure = rows / seen.repeats, certain / seen.repeats * max(0.0, 2 - seen.repeats)

    def beyond(look: int) -> bool:
        left = 1 - look / rows
        bought, unbought = requests * (1 - left**seen.repeats), left ** (seen.repeats - 1)
        return bool(bought * seen.call > most + sure * unbought)

    return bisect(range(1, rows + 1), False, key=beyond)


def prior_of(seen: Seen) -> Prior:
    """The prior for the design: the pilot's posterior, and a little doubt."""
    bad, good = BEFORE
    right = seen.rows - seen.bad
    return (
        Beta(1 - DOUBT, bad + seen.bad, good + right),
        Beta(DOUBT, bad + seen.bad / 4, good + right / 4),
    )


@lru_cache(maxsize=512)
def design_for(rows: int, allowance: int, alpha: float, seen: Seen, most: float) -> Design:
    """The design for a candidate whose pilot looked like this. Cached: pilots repeat. most: reference calls that may be
    spent on it before anything is certified."""
    fine = Fineness(first=max(1, min(rows // 8, FIRST)))
    if rows > MANY:
        farthest = float(np.quantile(forecast(rows, allowance, alpha, seen).rows, FAR))
        fine = replace(LARGE, reach=float(np.clip(farthest / rows ** (2 / 3), 1.0, 12.0)))
    return design(rows, allowance, alpha, prior_of(seen), costs_of(seen, rows, allowance, most), fine=fine)


def plain(seen: Seen) -> Seen:
    """The same with its price as the only trace of what calls cost, so that like pilots share one design."""
    deferred = seen.deferred
    return replace(seen, rate=seen.call, spent=0.0, beside=0.0, deferred=deferred)


def likely_rates(seen: Seen) -> Floats:
    """Shape (20,): equally likely bad rates, a few of them by the doubtful, four times weaker posterior."""
    bad, good = BEFORE
    right = seen.rows - seen.bad
    sure = (np.arange(20 - DOUBTFUL) + 0.5) / (20 - DOUBTFUL)
    unsure = (np.arange(DOUBTFUL) + 0.5) / max(1, DOUBTFUL)
    return np.concatenate(
        [
            betaincinv(bad + seen.bad, good + right, sure),
            betaincinv(bad + seen.bad / 4, good + right / 4, unsure),
        ]
    )


@dataclass(frozen=True, slots=True)
class Forecast:
    """What finishing would cost at each quantile of a candidate's bad rate, and after how many rows looked at. Shapes
    (20,); unit: reference calls, rows."""

    cost: Floats
    rows: Floats


@lru_cache(maxsize=4096)
def forecast(rows: int, allowance: int, alpha: float, seen: Seen, found: tuple[int, int] = (0, 0)) -> Forecast:
    """Finishing the `rows` left by the best further look (or none). found: evidence so far (rows, bad among them).

    Approximate: the sampled part of the rows profiled or handed over is treated as a binomial share, whose lower limit
    at the expected count decides how many rows may be handed over.
    """
    if rows <= 0:
        return Forecast(np.zeros(len(QUANTILES)), np.zeros(len(QUANTILES)))
    rate = likely_rates(seen)[:, None]
    look = np.unique(np.round(np.geomspace(4, max(rows, 5), 28)))[None, :-1]
    share = lower_share(found[1] + look * rate, allowance, alpha)
    unseen = (found[0] + look) * (1 / share - 1)
    handed = np.minimum(rows - look, np.maximum(unseen, min(allowance, rows)))
    gain = max(0.0, seen.gain)
    useful = rate < 1 - seen.floor
    handed = np.where(useful, handed, 0.0)
    total = rows + seen.call * look - gain * handed
    at = total.argmin(axis=1)
    none = rows - gain * np.where(useful[:, 0], float(min(allowance, rows)), 0.0)
    cost = np.minimum(total.min(axis=1), none)
    return Forecast(np.asarray(cost), np.where(cost < none, look[0, at], 0.0))


def lower_share(bad: Floats, allowance: int, alpha: float) -> Floats:
    """About the lower limit of the share profiled, of the rows profiled or handed over, after this many bad rows."""
    counts, logs = shares_known(allowance, alpha)
    return np.asarray(np.exp(np.interp(np.log1p(bad), counts, logs)))


@lru_cache(maxsize=1024)
def shares_known(allowance: int, alpha: float) -> tuple[Floats, Floats]:
    """log(1 + count) and the log of the limit there, to interpolate between: exact ones take a look's whole time."""
    counts = np.linspace(0.0, np.log1p(1e7), 120)
    return counts, np.log(betaincinv(np.expm1(counts) + 1, allowance + 1.0, 1 - alpha))


# --------------------------------------------------------------------------- several candidates at once

DRAWS = 320
"""Joint draws of the candidates' bad rates."""
SPLITS = {1: ((1.0,),), 2: ((0.5, 0.5), (0.75, 0.25), (0.25, 0.75)), 3: ((1 / 3, 1 / 3, 1 / 3),)}
"""How α may be divided among the finalists, by their number."""

Finalists: TypeAlias = tuple[tuple[int, float], ...]
"""(candidate, its part of α)."""


@lru_cache(maxsize=64)
def joint(candidate: int) -> Ints:
    """Shape (DRAWS,): the quantile of this candidate's rate in each joint draw; candidates are independent."""
    levels = np.arange(DRAWS) % len(QUANTILES)
    return np.asarray(np.random.default_rng(candidate).permutation(levels))


@lru_cache(maxsize=4096)
def drawn_rates(candidate: int, seen: Seen) -> Floats:
    """Shape (DRAWS,): joint draws of the candidate's bad rate, all it has shown counted."""
    levels = np.random.default_rng(candidate).permutation(DRAWS)
    bad, good = BEFORE
    return np.asarray(betaincinv(bad + seen.bad, good + seen.rows - seen.bad, (levels + 0.5) / DRAWS))


@dataclass(frozen=True, slots=True)
class Field:
    """The candidates in the running and what is left to do. seen: by candidate."""

    rows: int
    allowance: int
    alpha: float
    seen: Mapping[int, Seen]

    def draws(self, candidate: int, part: float = 1.0) -> tuple[Floats, Floats]:
        """Shapes (DRAWS,): cost and rows looked at, if it alone were followed with this part of α."""
        ahead = forecast(self.rows, self.allowance, self.alpha * part, plain(self.seen[candidate]))
        return ahead.cost[joint(candidate)], ahead.rows[joint(candidate)]

    def cost(self, finalists: Finalists) -> Floats:
        """Shape (DRAWS,): cost of following these side by side: the cheapest one's, and the others' calls meanwhile."""
        costs, rows = np.array([self.draws(*each) for each in finalists]).transpose(1, 0, 2)
        calls = np.array([self.seen[candidate].call for candidate, _ in finalists])
        best = costs.argmin(axis=0)
        others = calls.sum() - calls[best]
        at = np.arange(DRAWS)
        return np.asarray(costs[best, at] + others * rows[best, at])

    def finalists(self) -> Finalists:
        """Who is worth following, and how α is divided among them: the least expected cost."""
        first = sorted(self.seen, key=lambda j: self.draws(j)[0].mean())[:3]
        choices: list[Finalists] = []
        for size, splits in SPLITS.items():
            if size > 2 and self.rows > MANY:
                continue  # a design takes a second there, and a pilot costs little
            for team in combinations(first, size):
                choices += [tuple(zip(team, parts, strict=True)) for parts in splits]
        return min(choices, key=lambda choice: self.cost(choice).mean())

    def regrets(self, finalists: Finalists) -> dict[int, float]:
        """By candidate: expected money lost by not having followed it alone."""
        cost = self.cost(finalists)
        return {j: float(np.maximum(0.0, cost - self.draws(j)[0]).mean()) for j in self.seen}
