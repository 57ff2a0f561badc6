"""How many audited misses a window may show before nothing more is accepted, exactly, by the binomial law.

Answers are accepted by any rule, and each accepted one is audited with probability p by a coin of its own. The audits
of the bad ones among them, numbered as they come, are then independent of all else, whatever the rule and the traffic
(lemma 14 of docs/claims.md).
"""

from __future__ import annotations

from functools import lru_cache

from smart_llm.stats.special import bdtr, betaincinv

MARGIN = 1e-9
"""Relative: more than the error of the binomial distribution function that is used."""


def upper_chance(allowance: int, credit: int, share: float, *, delivered: bool) -> float:
    """How likely more than `allowance` bad answers are delivered when acceptance ends with the (credit + 1)-th audited
    bad one.

    share: the probability p of an audit. delivered: an audited answer has gone out already (mode "behind"), so it uses
    the allowance; otherwise the reference's answer goes out in its place (mode "before").

    Guarantee: P(more than `allowance` delivered bad answers) is at most this, for every rule and every traffic.
    Assumes: coins independent of everything before them, tossed after the decision to accept.
    Rounds: up, by the relative error of the distribution function.
    Source: lemma 14; attained where bad answers never end.
    """
    if credit < 0:
        return 0.0
    trials = allowance if delivered else allowance + 1 + credit
    return 1.0 if credit >= trials else min(1.0, float(bdtr(credit, trials, share)) * (1 + MARGIN))


@lru_cache(maxsize=4096)
def audit_credit(allowance: int, share: float, alpha: float, *, delivered: bool) -> int:
    """The largest number of audited misses with which acceptance may go on; −1: nothing may be accepted.

    Guarantee, Assumes, Source: as `upper_chance`, which is at most alpha there. Rounds: the number down.
    """
    if allowance < 0 or upper_chance(allowance, 0, share, delivered=delivered) > alpha:
        return -1
    low, high = 0, 1
    while upper_chance(allowance, high, share, delivered=delivered) <= alpha:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if upper_chance(allowance, middle, share, delivered=delivered) <= alpha:
            low = middle
        else:
            high = middle
    return low


def share_needed(allowance: int, credit: int, alpha: float, *, delivered: bool) -> float:
    """The smallest probability of an audit with which that credit may be given; 1 where none is small enough.

    Guarantee: none; `audit_credit` of what is made of it decides, and gives this credit. Rounds: up.
    """
    trials = allowance if delivered else allowance + 1 + credit
    return float(betaincinv(credit + 1, trials - credit, 1 - alpha * (1 - 4 * MARGIN))) if credit < trials else 1.0
