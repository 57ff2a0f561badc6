"""How bold to be, given what is left of a window: the price of one audited miss, by backward induction.

With n requests and k audited misses left (the k-th ends acceptance), let V(n, k) be what can still be saved, in calls
of the reference. An answer that is a miss with probability r is worth accepting when what it saves, 1 − p, is more than
p · r · (V(n, k) − V(n, k − 1)). So the largest risk to accept rises when misses are left over and falls when they run
short, and what is left is used up about when the window ends. All this takes the risks for known and the requests for
independent: it decides what a window costs, never what it promises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from smart_llm.types import Floats

STEPS = 160
"""In which the induction goes through a window; a step holds far less than one audited miss."""
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of one way. risk, share: its answers by risk, and which share of all requests has it; what is left to 1 breaks
    the output contract. price: of asking it, in calls of the reference. blind: its answers cannot be told apart, so
    that it is asked only where its answer will be accepted."""

    risk: Floats
    share: Floats
    price: float
    blind: bool


class Pacing:
    """The table. worth: shape (steps + 1, credit + 2), V with i · step requests and k audited misses left. share: the
    probability of an audit."""

    def __init__(self, worth: Floats, step: float, share: float) -> None:
        self.step, self.share = step, share
        self.value = float(worth[-1, -1])
        self._prices: list[list[float]] = np.maximum(np.diff(worth[1:], axis=1), TINY).tolist()

    def limit(self, left: int, misses: float) -> float:
        """The largest risk to accept with `left` requests and that many audited misses left (expected ones may be in
        it, so it need not be whole); 0: none."""
        if misses <= 0:
            return 0.0
        prices = self._prices[min(len(self._prices), max(1, round(left / self.step))) - 1]
        place = min(max(misses, 1.0), float(len(prices))) - 1
        low = int(place)
        price = prices[low] + (place - low) * (prices[min(low + 1, len(prices) - 1)] - prices[low])
        return (1 - self.share) / (self.share * price) * min(1.0, misses)


def pace(outlook: Outlook, requests: int, credit: int, share: float, steps: int = STEPS) -> Pacing:
    """The table for a window with this credit and this probability of an audit."""
    worth, step = induction(outlook, requests, credit, share, steps)
    return Pacing(worth, step, share)


def induction(
    outlook: Outlook, requests: int, credit: int, share: float, steps: int, levels: Sequence[float] = ()
) -> tuple[Floats, float]:
    """(V, shape (steps + 1, credit + 2), requests in a step). levels: the same for each of these multiples of all
    risks, in a further dimension before the last."""
    times = np.array(levels)[:, None] if levels else np.float64(1.0)
    risk = np.minimum(1.0, times * outlook.risk)
    fastest = requests * share * float((risk @ outlook.share).max())
    steps = max(steps, min(requests, ceil(2 * fastest)))
    step = requests / steps
    worth = np.zeros((steps + 1, *risk.shape[:-1], credit + 2))
    for i in range(steps):
        price = worth[i, ..., 1:] - worth[i, ..., :-1]
        each = np.maximum(0.0, (1 - share) - share * price[..., None] * risk[..., None, :])
        if outlook.blind:
            saved = np.maximum(0.0, each - outlook.price) @ outlook.share
        else:
            saved = np.maximum(0.0, each @ outlook.share - outlook.price)
        worth[i + 1, ..., 1:] = worth[i, ..., 1:] + step * saved
    return worth, step


def least_limit(outlook: Outlook, share: float) -> float:
    """The smallest limit of risk at which asking the way pays; infinite where it never does."""
    order = np.argsort(outlook.risk)
    risk, part = outlook.risk[order], outlook.share[order]
    total, weighted = np.cumsum(part), np.cumsum(part * risk)
    need = outlook.price / (1 - share)  # Σ part · (1 − risk / limit) over risks below the limit
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = np.where(total > need, weighted / (total - need), np.inf)
    return float(limit.min())
