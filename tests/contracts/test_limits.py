"""The contract of every upper limit for the number of bad rows, whatever its method: each must pass the same suite.

A limit is looked at where it is used: a stopping table's where it stops, the Clopper–Pearson one once, after
independent draws. What it misses is computed exactly, for every number of bad rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from smart_llm.stats import clopper_pearson
from smart_llm.stats.design import design
from smart_llm.stats.dual import Beta, Costs
from smart_llm.stats.sequential import GO_ON, Table

ROWS = 14
CONFIDENCES = (0.5, 0.7, 0.9, 0.95)
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Limit:
    """name; upper(seen, confidence): limits for the number of bad rows, for 0 … seen bad rows among those seen;
    missed(upper, bad, confidence): exact probability that with so many bad rows a limit below them is ever used;
    stages(confidence): at how many rows seen it is used."""

    name: str
    upper: Callable[[int, float], Numbers]
    missed: Callable[[Callable[[int, float], Numbers], int, float], float]
    stages: Callable[[float], tuple[int, ...]]


def table(confidence: float) -> Table:
    """A design of the kind in use."""
    return design(ROWS, 4, 1 - confidence, (Beta(1.0, 0.5, 1.5),), Costs(0.01, 0.9)).table


def stops(confidence: float) -> tuple[int, ...]:
    """Used at the looks of the table."""
    return table(confidence).looks


def granted(seen: int, confidence: float) -> Numbers:
    """A stopping table as a limit: where all rows left are handed over, at most the allowance of them are bad."""
    plan, bad = table(confidence), np.arange(seen + 1)
    look = plan.looks.index(seen)
    whole = np.array([plan.share(look, d, ROWS - seen) == ROWS - seen for d in bad])
    return bad + np.where(whole, min(plan.floor, ROWS - seen), float(ROWS - seen))


def stopped_wrongly(upper: Callable[[int, float], Numbers], bad: int, confidence: float) -> float:
    """P(the limit is below `bad` where the table stops): counts of those who go on pushed from look to look."""
    plan, alive, before, missed = table(confidence), np.array([1.0]), 0, 0.0
    for k, seen in enumerate(plan.looks):
        if seen > before:
            old, new = np.arange(before + 1), np.arange(seen + 1)
            left = np.clip(bad - old, 0, ROWS - before)[:, None]
            alive = alive @ hypergeom.pmf(new[None, :] - old[:, None], ROWS - before, left, seen - before)
        stop = np.array([plan.share(k, d, ROWS - seen) != GO_ON for d in range(seen + 1)])
        missed += float(alive[stop & (upper(seen, confidence) < bad)].sum())
        alive, before = np.where(stop, 0.0, alive), seen
    return missed


def once(confidence: float) -> tuple[int, ...]:
    """Used once, after a number of draws fixed beforehand."""
    return (10,)


def proportion(seen: int, confidence: float) -> Numbers:
    """`clopper_pearson.upper_limit`, in rows."""
    return ROWS * clopper_pearson.upper_limit(np.arange(seen + 1), seen, confidence)


def drawn_wrongly(upper: Callable[[int, float], Numbers], bad: int, confidence: float) -> float:
    """P(the limit is below `bad`) after draws with replacement."""
    missed = 0.0
    for seen in once(confidence):
        chance = binom.pmf(np.arange(seen + 1), seen, bad / ROWS)
        missed = max(missed, float(chance[upper(seen, confidence) < bad - 1e-9].sum()))
    return missed


LIMITS = (
    Limit("stopping table", granted, stopped_wrongly, stops),
    Limit("Clopper-Pearson", proportion, drawn_wrongly, once),
)


def grows_with_counts(limit: Limit) -> None:
    """More bad rows among as many seen: never a lower limit."""
    for confidence in CONFIDENCES:
        assert all((np.diff(limit.upper(seen, confidence)) >= 0).all() for seen in limit.stages(confidence))


def grows_with_confidence(limit: Limit) -> None:
    """More confidence at the same counts: never a lower limit."""
    for low, high in pairwise(CONFIDENCES):
        shared = set(limit.stages(low)) & set(limit.stages(high))
        assert all((limit.upper(seen, low) <= limit.upper(seen, high)).all() for seen in shared)


def covers_what_is_seen(limit: Limit) -> None:
    """Never below the share of bad rows seen, nor above what is possible."""
    for confidence in CONFIDENCES:
        for seen in limit.stages(confidence):
            bad, upper = np.arange(seen + 1), limit.upper(seen, confidence)
            floor = ROWS * bad / seen if limit.name == "Clopper-Pearson" else bad  # its draws may repeat rows
            assert (upper >= floor - 1e-9).all()
            assert (upper <= ROWS).all()


def covers_the_truth(limit: Limit) -> None:
    """For every number of bad rows: missed at most as often as said."""
    for confidence in CONFIDENCES:
        assert all(limit.missed(limit.upper, bad, confidence) <= 1 - confidence + 1e-9 for bad in range(ROWS + 1))


SUITE = (grows_with_counts, grows_with_confidence, covers_what_is_seen, covers_the_truth)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda each: each.name)
@pytest.mark.parametrize("demand", SUITE, ids=lambda each: each.__name__)
def test_every_limit_keeps_the_contract(limit: Limit, demand: Callable[[Limit], None]) -> None:
    """Monotone in counts and in confidence, never below what is seen, exact coverage."""
    demand(limit)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda each: each.name)
def test_the_suite_is_not_vacuous(limit: Limit) -> None:
    """At confidence .5 something is missed: the coverage that is computed is of a limit that can be wrong."""
    assert max(limit.missed(limit.upper, bad, 0.5) for bad in range(ROWS + 1)) > 0.05


@pytest.mark.parametrize("limit", LIMITS, ids=lambda each: each.name)
def test_a_limit_that_is_too_low_fails(limit: Limit) -> None:
    """One row in three taken off every limit: coverage breaks."""
    low = Limit("too low", lambda seen, conf: np.floor(limit.upper(seen, conf) * 2 / 3), limit.missed, limit.stages)
    with pytest.raises(AssertionError):
        covers_the_truth(low)


def test_limits_turned_around_fail() -> None:
    """A limit that falls with the counts, and one that falls with the confidence, are found out."""
    falling = Limit("falling", lambda seen, conf: proportion(seen, conf)[::-1], drawn_wrongly, once)
    doubting = Limit("doubting", lambda seen, conf: proportion(seen, 1.4 - conf), drawn_wrongly, once)
    with pytest.raises(AssertionError):
        grows_with_counts(falling)
    with pytest.raises(AssertionError):
        grows_with_confidence(doubting)
    with pytest.raises(AssertionError):
        covers_what_is_seen(Limit("nothing", lambda seen, conf: np.zeros(seen + 1), drawn_wrongly, once))
