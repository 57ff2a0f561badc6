"""A table that grew: rows that were answered stay as they are, and one small look decides about the rows added.

The earlier run has fixed its tiers, its gate and what its taught candidate knows before its own look. The same order
rows that were added; how far down they may be delivered is found by a look at them, and both looks together keep the
level (`stats.grown`, lemma 17). How many rows are looked at follows from sizes alone: nothing the earlier look has
shown goes in. No pilot is needed, nobody is taught again, and no answer is paid for twice.

After a mix the rows added are answered by the candidate that the mix has used, or would have, as far as a look at them
allows: one tier whose score is blank. This choice may go by all that the mix has shown, since the look at the rows
added is drawn afterwards; how many rows are looked at, and with how much credit, follows from the mix's tables.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from smart_llm.procedures.ladder.look import cascade
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.ways import Way
from smart_llm.stats import grown
from smart_llm.stats.sampling import permutation
from smart_llm.types import Answers, Ask, Grown, Problem, Verdict


def procedure(problem: Problem, earlier: Grown, name: str) -> Generator[Ask, Answers, Verdict]:
    """One look at rows that were added, by the earlier run's tiers."""
    look = affordable(problem, earlier)
    if look is None:
        raise ValueError("no look is worth its rows; do not begin with the earlier run")
    last = earlier.tiers[-1]
    way = Way(
        last.candidate, last.score, last.peers, np.zeros((1, 1)), (look,), heads=earlier.tiers[:-1], gate=earlier.gate
    )
    order = permutation(problem.seed, "order", problem.rows)
    return (yield from cascade(Pilot.of(problem, ()), order, way, name))


def affordable(problem: Problem, earlier: Grown) -> tuple[int, int] | None:
    """(credit, rows) of the look; None where none is worth its rows, and there are too many to ask about all."""
    share = problem.promised / (problem.rows + problem.set_aside)
    if problem.allowance < 0 or not problem.promised:
        return None
    return grown.look(earlier.parts, problem.rows, problem.allowance, problem.alpha, share)
