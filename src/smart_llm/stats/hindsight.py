"""What the cheapest mix would cost if every model's true share of misses were known: a yardstick, not a method.

A mix sends the share x_m of the rows, blindly, to model m. Minimising cost under one constraint on misses (and
Σ x = 1) is a linear program with two constraints, so some optimum mixes at most two models: trying all pairs is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import inf


def best_mix(cost: Sequence[float], misses: Sequence[float], allowed: float) -> float:
    """Least cost per row of any mix of all models; index 0 is the reference, and its cost where nothing else does.

    cost: expected price of a row sent to each model. misses: share of rows on which delivering it is a miss.

    Guarantee: no blind mix with at most `allowed` expected misses is cheaper.
    Assumes: `misses` are the true shares.
    Rounds: not at all.
    Source: linear programming, basic solutions.
    """
    models = range(len(cost))
    singles = [cost[m] if misses[m] <= allowed else inf for m in models]
    pairs = [_pair(cost, misses, allowed, pair) for pair in combinations(models, 2)]
    cheapest = min([*singles, *pairs])
    return cheapest if cheapest < inf else cost[0]


def _pair(cost: Sequence[float], misses: Sequence[float], allowed: float, pair: tuple[int, int]) -> float:
    """Cost of the two models mixed so that the allowance is just used up; infinite where it lies outside them."""
    safe, bold = sorted(pair, key=lambda m: misses[m])
    if not misses[safe] <= allowed < misses[bold]:
        return inf
    share = (allowed - misses[safe]) / (misses[bold] - misses[safe])
    return share * cost[bold] + (1 - share) * cost[safe]
