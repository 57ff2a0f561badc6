"""Is a promise kept? As many runs as it takes to tell, by a sequential test (Wald 1945).

The evidence is the likelihood of what was seen if the promise is broken as often as the fault to be found breaks it,
divided by that if it is broken as often as it may be. By Ville's inequality a procedure that keeps its promise reaches
`GUILTY` with probability at most 1 / 1,000, and one with that fault falls to `CLEARED` with at most the probability
that goes with it. The better a promise is kept, the sooner a test ends; seeds are fixed, so it always ends the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

GUILTY = log(1000)
CLEARED = log(1 / 100)
ENOUGH = 5_000
"""Runs after which a procedure that is neither counts as keeping its promise: one close to the line."""


@dataclass(frozen=True)
class Trial:
    """Runs so far, how many broke the promise, and the log-likelihood ratio. The counts are for whoever reads a
    failure."""

    runs: int = 0
    broken: int = 0
    evidence: float = 0.0

    def after(self, runs: int, broken: int, allowed: float, fault: float) -> Trial:
        """With so many more. allowed, fault: shares of runs that break the promise."""
        more = broken * log(fault / allowed) + (runs - broken) * log((1 - fault) / (1 - allowed))
        return Trial(self.runs + runs, self.broken + broken, self.evidence + more)


def tried(broken: Callable[[int], bool], allowed: float) -> Trial:
    """Runs with seeds 0, 1, … until it is settled. A procedure that breaks its promise three times as often as it may
    is found guilty with probability .99."""
    trial = Trial()
    while CLEARED < trial.evidence < GUILTY and trial.runs < ENOUGH:
        trial = trial.after(1, int(broken(trial.runs)), allowed, 3 * allowed)
    return trial
