"""How risky an answer is, from what earlier requests have shown.

Of each way the newest answers are kept, with whether they agreed where the reference was asked: deferred requests, and
audits. The riskier answers are deferred, and all of them are then labelled; of the surer ones only those that are
audited, with probability p, so each of these stands for 1/p. (What is known of an answer does not make this needless:
risks are estimated by fewer numbers than have decided what was deferred.) How often which risk occurs is seen in all
answers, labelled or not.

An answer's risk is estimated in three steps: by its own score, a falling curve (isotonic regression); with the answer
itself and whatever else is known of it by logistic regression on top of that; and once more by a curve of that. Where
there is nothing to go by, all answers are alike, and a share of them is accepted by the draw.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, log, log1p, sqrt
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.stream.events import Tried
from smart_llm.procedures.stream.pacing import Outlook
from smart_llm.types import Floats, Ints

Bools = NDArray[np.bool_]

KEPT = 16_384
"""Answers of a way that are kept; the oldest are forgotten first."""
PARTS = 40
"""Of equal size, into which answers are cut by risk."""
PRIOR_RISK, PRIOR_LABELS = 0.2, 4.0
"""Before anything is known one answer in five is taken to be bad; as good as that many labelled answers."""
EFFECT = 1.0
"""Standard deviation of what one unit of a trait is believed to do to the log-odds."""
USUAL, LEAST = 12, 0.02
"""Answers that are looked at on their own: at most this many, and at least this share of all."""
STANDS_FOR = 1000.0
"""Answers that one audited answer stands for, at most."""
SHADE = 0.1
"""Answers of the same risk are told apart by the draw: up to this share of the risk more or less."""
LEAST_LABELS = 8.0
"""With fewer labelled answers nothing but a way's own score is looked at."""
FAR = 100.0
"""No trait is taken to be farther from 0; they should be of the order of 1, like logarithms of lengths."""
UNKNOWN, AGREES, DIFFERS = -1, 0, 1
TINY = 1e-12
FLOOR = 1e-4
"""No risk is taken to be smaller."""


def log_odds(risk: Floats) -> Floats:
    """Of a risk, kept away from 0 and 1."""
    inside = np.clip(risk, FLOOR, 1 - FLOOR)
    return np.asarray(np.log(inside) - np.log1p(-inside))


@dataclass(frozen=True, slots=True)
class Curve:
    """Risk by a number, the higher the surer: straight between `at` (rising), level outside it. shares: of all answers,
    how many each point stands for."""

    at: tuple[float, ...]
    risks: tuple[float, ...]
    shares: tuple[float, ...]

    def __call__(self, numbers: Floats) -> Floats:
        """The risk at each of these."""
        return np.asarray(np.interp(numbers, self.at, self.risks))

    def one(self, number: float) -> float:
        """The risk at one number; the same, and ten times as fast."""
        after = bisect_right(self.at, number)
        if after in (0, len(self.at)):
            return self.risks[0 if after == 0 else -1]
        low, high = self.at[after - 1], self.at[after]
        part = (number - low) / (high - low)
        return self.risks[after - 1] + part * (self.risks[after] - self.risks[after - 1])

    @classmethod
    def fit(cls, numbers: Floats, labelled: Floats, bad: Floats, weight: Floats) -> Curve:
        """numbers: of all answers, by which they are cut into parts. labelled, bad, weight: those of the labelled."""
        edges = np.quantile(numbers, np.linspace(0, 1, PARTS + 1)[1:-1]) if len(numbers) else np.empty(0)
        part = np.searchsorted(edges, labelled, side="right")
        parts = len(edges) + 1
        count = np.bincount(part, weight, parts)
        misses = np.bincount(part, weight * bad, parts)
        extra = PRIOR_LABELS / parts
        risks = falling((misses + PRIOR_RISK * extra) / (count + extra), count + extra)
        place = np.searchsorted(edges, numbers, side="right")
        total = np.bincount(place, minlength=parts)
        at = np.bincount(place, numbers, parts) / np.maximum(1, total)
        some = total > 0
        share = total[some] / max(1, total.sum())
        return cls(tuple(at[some].tolist()), tuple(risks[some].tolist()), tuple(share.tolist()))


def falling(rates: NDArray[Any], weight: NDArray[Any]) -> Floats:
    """The falling sequence nearest to these rates (pooling neighbours that rise)."""
    blocks: list[list[float]] = []  # rate, weight, length
    for rate, heavy in zip(rates.tolist(), weight.tolist(), strict=True):
        blocks.append([rate, heavy, 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            above, w, n = blocks.pop()
            below = blocks[-1]
            below[0] = (below[0] * below[1] + above * w) / (below[1] + w)
            below[1], below[2] = below[1] + w, below[2] + n
    return np.repeat([b[0] for b in blocks], [int(b[2]) for b in blocks])


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a way at some moment.

    own: risk by its own score, None where it gives none. usual: answers looked at on their own. weights: of a constant,
    the own risk's log-odds, usual answers, the same answer as the way before, traits; empty: own score alone. final:
    risk by the logistic part (its negative, so that higher is surer). usable: share of its answers that keep to the
    output contract. level: mean risk. misses: how many misses this rests on.
    """

    own: Curve | None
    usual: tuple[int, ...]
    weights: tuple[float, ...]
    final: Curve | None
    usable: float
    level: float
    misses: float

    @property
    def blind(self) -> bool:
        """Whether its answers cannot be told apart."""
        return self.own is None and self.final is None

    @property
    def mean(self) -> float:
        """Mean risk of all usable answers, labelled or not."""
        curve = self.final or self.own
        return self.level if curve is None else sum(map(mul, curve.risks, curve.shares))

    @property
    def doubt(self) -> float:
        """Standard deviation of the logarithm of the mean risk, roughly: as of a count of so many misses."""
        return 1 / sqrt(1 + self.misses)

    def outlook(self, price: float) -> Outlook:
        """Of its answers to come."""
        curve = self.final or self.own
        risk, share = (
            (np.array([self.level]), np.ones(1)) if curve is None else map(np.array, (curve.risks, curve.shares))
        )
        shades = np.linspace(1 - SHADE, 1 + SHADE, PARTS // 4) if len(risk) < PARTS // 2 else np.ones(1)
        shaded = np.minimum(1.0, np.outer(risk, shades).ravel())
        return Outlook(shaded, np.repeat(share, len(shades)) * self.usable / len(shades), price, self.blind)

    def risk(self, answer: Tried, before: Tried | None) -> float:
        """Of one usable answer; 1 where a way that usually has a score gives none: fail closed."""
        score = score_of(answer)
        if self.own is not None and score is None:
            return 1.0
        own = self.own.one(score) if self.own is not None and score is not None else self.level
        if self.final is None:
            return own
        inside = min(max(own, FLOOR), 1 - FLOOR)
        usual = self.weights[2 + self.usual.index(answer.key)] if answer.key in self.usual else 0.0
        weights = self.weights[2 + len(self.usual) :]
        others = (same(answer, before), *traits_of(answer, len(weights) - 1))
        rest = sum(map(mul, weights, others))
        odds = self.weights[0] + self.weights[1] * (log(inside) - log1p(-inside)) + usual + rest
        return self.final.one(-odds)


def score_of(answer: Tried) -> float | None:
    """Its own score, where it is a number."""
    return answer.score if answer.score is not None and isfinite(answer.score) else None


def traits_of(answer: Tried, count: int) -> tuple[float, ...]:
    """As many of its traits as are looked at; 0 for one that is missing or no number, and none beyond reason."""
    told = (max(-FAR, min(FAR, x)) if isfinite(x) else 0.0 for x in answer.traits[:count])
    return (*told, *(0.0,) * (count - len(answer.traits)))


def same(answer: Tried, before: Tried | None) -> float:
    """Whether the way asked before gave the same answer: ½, −½, or 0 where nobody knows."""
    return 0.0 if before is None or not before.key or not answer.key else 0.5 if before.key == answer.key else -0.5


def features(usual: Sequence[int], own: Floats, key: Ints, beside: Floats, traits: Floats) -> Floats:
    """Shape (n, features): what the logistic part looks at."""
    each = [(key == one).astype(float) for one in usual]
    return np.column_stack([np.ones(len(own)), log_odds(own), *each, beside, *traits.T])


def logistic(rows: Floats, bad: Floats, weight: Floats) -> Floats:
    """Ridge regression around "the own risk is right as it is": the second weight 1, all others 0."""
    centre = np.zeros(rows.shape[1])
    centre[1] = 1.0
    found = centre.copy()
    penalty = np.full(rows.shape[1], 1 / EFFECT**2)
    penalty[0] /= 25  # traits need not be centred
    for _ in range(8):
        chance = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = rows.T @ (weight * (bad - chance)) - penalty * (found - centre)
        curve = (rows * (weight * chance * (1 - chance))[:, None]).T @ rows + np.diag(penalty)
        change = np.linalg.solve(curve, slope)
        found = found + change
        if np.abs(change).max() < 1e-3:
            break
    return np.asarray(found)


class Mean:
    """Of what calls have cost."""

    def __init__(self) -> None:
        self.total, self.calls = 0.0, 0

    def add(self, cost: float) -> None:
        """One call more."""
        self.total += cost
        self.calls += 1


class Memory:
    """The newest answers of one way, and what they teach."""

    def __init__(self, price: float) -> None:
        self.price = price
        self.size = 0
        self.score = np.full(KEPT, np.nan)
        self.key = np.zeros(KEPT, np.int64)
        self.same = np.zeros(KEPT)
        self.mark = np.full(KEPT, UNKNOWN, np.int8)
        self.usable = np.zeros(KEPT, bool)
        self.when = np.zeros(KEPT)
        self.stands = np.ones(KEPT)
        self.traits = np.zeros((KEPT, 0))
        self.cost = Mean()

    def add(self, answer: Tried, before: Tried | None, now: float) -> int:
        """One answer more; its place, for `label`."""
        place = self.size % KEPT
        if not self.size:
            self.traits = np.zeros((KEPT, len(answer.traits)))
        self.size += 1
        score = score_of(answer)
        self.score[place] = np.nan if score is None else score
        self.key[place], self.usable[place], self.when[place] = answer.key, answer.usable, now
        self.same[place] = same(answer, before)
        self.mark[place] = UNKNOWN
        self.traits[place] = traits_of(answer, self.traits.shape[1])
        self.cost.add(answer.cost)
        return self.size - 1

    def label(self, place: int, agreed: bool, share: float = 1.0) -> None:
        """What the reference said to it. share: with which probability it was asked."""
        if place >= self.size - KEPT:
            self.mark[place % KEPT] = AGREES if agreed else DIFFERS
            self.stands[place % KEPT] = min(STANDS_FOR, 1 / max(share, 1 / STANDS_FOR))

    @property
    def labels(self) -> int:
        """Answers that the reference was asked about."""
        return int((self.mark[: self.size] != UNKNOWN).sum())

    def believe(self, now: float, memory: float) -> Belief:
        """What is believed of it now. memory: after how many requests an answer counts less than half (1/e)."""
        kept = slice(0, min(self.size, KEPT))
        usable = self.usable[kept]
        share = (usable.sum() + 1.0) / (len(usable) + 1.0)
        all_scores = self.score[kept]
        scored = bool(usable.any()) and np.isfinite(all_scores[usable]).mean() > 0.5
        good = usable & np.isfinite(all_scores) if scored else usable
        labelled = good & (self.mark[kept] != UNKNOWN)
        weight = np.exp((self.when[kept][labelled] - now) / memory) * self.stands[kept][labelled]
        weight *= weight.sum() / max(float((weight**2).sum()), TINY)  # as many as they are worth
        bad = (self.mark[kept][labelled] == DIFFERS).astype(float)
        level = float(((weight * bad).sum() + PRIOR_RISK * PRIOR_LABELS) / (weight.sum() + PRIOR_LABELS))
        own = Curve.fit(all_scores[good], all_scores[labelled], bad, weight) if scored else None
        belief = Belief(own, (), (), None, float(share), level, _worth(weight * bad))
        return self._learned(belief, good, labelled, bad, weight)

    def _learned(self, belief: Belief, good: Bools, labelled: Bools, bad: Floats, weight: Floats) -> Belief:
        """With the logistic part, where there is anything for it to look at."""
        here = slice(0, len(good))
        usual = usual_keys(self.key[here][good])
        beside, traits = self.same[here][good], self.traits[here][good]
        if not (usual or beside.any() or traits.size) or weight.sum() < LEAST_LABELS:
            return belief
        own = np.full(len(beside), belief.level) if belief.own is None else belief.own(self.score[here][good])
        rows = features(usual, own, self.key[here][good], beside, traits)
        some = labelled[good]
        weights = logistic(rows[some], bad, weight)
        sure = -(rows @ weights)
        final = Curve.fit(sure, sure[some], bad, weight)
        return replace(belief, usual=usual, weights=tuple(weights.tolist()), final=final)


def _worth(weight: Floats) -> float:
    """How many equal weights are as good as these."""
    return float(weight.sum() ** 2 / max((weight**2).sum(), TINY))


def usual_keys(keys: Ints) -> tuple[int, ...]:
    """The answers that are common enough to be looked at on their own, where there is more than one."""
    found, counts = np.unique(keys[keys != 0], return_counts=True)
    common = [int(found[i]) for i in np.argsort(-counts, kind="stable") if counts[i] >= LEAST * len(keys)][:USUAL]
    return tuple(common) if len(common) > 1 else ()
