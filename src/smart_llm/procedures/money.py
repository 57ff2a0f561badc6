"""What a run may spend on candidates before anything is certified, and which candidates are not delivered at all.

Unit of money: one reference call, of which a table costs N without SMART, one for each of its different requests.
Everything here bounds what a run costs; the promise does not depend on it.
"""

from __future__ import annotations

from math import inf, isfinite

from smart_llm.stats.special import betainc
from smart_llm.types import Problem

OPENING = 0.01
"""× N: what the first rows may cost in candidate calls."""
PURSE = 0.019
"""× N: what a whole pilot may cost in candidate calls."""
CAP = 0.045
"""× N: what candidate calls may cost before anything is certified, where nothing is gained for certain."""
SURPRISE = 200.0
"""× its guess: what a call is taken to cost at most while none has been made (a model that talks or thinks)."""
FAR_OFF = 5.0
"""× its guess: where a price that was found out makes all other guesses doubtful."""
AS_EXPENSIVE = 0.95
"""Reference calls: a candidate at this price saves nothing worth the trouble."""
BELIEF = 0.5
"""Calls' worth of belief in the guess beside what calls have cost."""
LIKELY = 0.75
"""A candidate is delivered only where its agreement is above the floor with this probability."""
HARDLY = 0.05
"""A candidate whose agreement is above the floor with less than this probability is asked about no more pilot rows."""


def price_of(guess: float, calls: int, spent: float, beside: float) -> float:
    """Price of a candidate's call in reference calls: what its calls have cost against what the reference's calls on
    the same rows have cost, with a little belief in the guess.

    guess: in reference calls. spent, beside: USD of these `calls` of the candidate and of the reference.
    """
    if calls == 0 or beside <= 0:
        return guess
    return (spent / beside * calls + guess * BELIEF) / (calls + BELIEF)


def at_most(problem: Problem, candidate: int) -> float:
    """What one call of a candidate is taken to cost at most before any was made, in reference calls. A bound that
    follows from what was asked for is not relied on here: servers bill more than that."""
    bound = problem.bounds[candidate] if problem.bounds else inf
    return max(SURPRISE * problem.rates[candidate], bound if isfinite(bound) else 0.0) / problem.rates[0]


def may_try(problem: Problem, candidate: int) -> bool:
    """Whether one call of a candidate keeps within the cap, where it is known what a call costs at most."""
    bound = problem.bounds[candidate] if problem.bounds else inf
    return not isfinite(bound) or bound / problem.rates[0] <= CAP * problem.alone


def likely_above(floor: float, agreed: int, bad: int) -> bool:
    """Whether a candidate with these numbers of agreeing and bad rows is likely to agree on more than `floor` of such
    rows: the probability of that is at least `LIKELY`. Without rows it is not."""
    return chance_above(floor, agreed, bad) >= LIKELY


def chance_above(floor: float, agreed: int, bad: int) -> float:
    """How probable it is that a candidate agrees on more than `floor` of such rows: posterior, Jeffreys' prior."""
    return float(1 - betainc(agreed + 0.5, bad + 0.5, floor))
