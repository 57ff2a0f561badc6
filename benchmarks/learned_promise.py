"""The promise with a candidate that an adversary teaches: the shipped procedure, run over and over on boundary cases.

The adversary sees every row that the candidate was taught with, says what it likes of them, chooses the rows that are
asked about next, and settles the candidate's answer and score on every row left when the look is known and before it
is drawn: exactly so many bad rows, wherever they hurt most. It does not know the order. So every rate below must be at
most 1 − confidence, up to chance; `attained` is built to come close to it.

With --grown the table then grows by that share, by rows whose answers the same adversary settles, knowing how many bad
rows the first run has delivered; what may not be broken is the promise about all rows.

    python benchmarks/learned_promise.py [--runs 1000] [--rows 700] [--earlier 0] [--grown 0.1]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction

import numpy as np
from common import behind

from smart_llm import procedures
from smart_llm.procedures.ladder.grown import affordable
from smart_llm.procedures.ladder.taught import GROWTH
from smart_llm.simulation.drive import Outcome, Population, simulate
from smart_llm.stats.clopper_pearson import interval
from smart_llm.types import AGREE, BAD, LESSON, NOT_ASKED, Answers, Ask, Least, Problem, Traits

CELLS = ("attained", "twice", "tied", "spread", "margin", "blocks")
"""Where the bad rows stand: first in the order, just so many that the bound is attained; twice as many; with one score
for all rows; anywhere; after as many good rows as may be delivered; in blocks of rows that are alike."""


LADDER = procedures.get("ladder")
ENOUGH = 90
"""Rows from which on it seems to be good; with fewer, more lessons look worth while."""


class Adversary:
    """A population of one candidate, which says the worst that it may."""

    def __init__(self, rows: int, cell: str, tricks: int, earlier: int = 0) -> None:
        """earlier: labels known before, of rows that are said to be like those left."""
        self.cell, self.rng, self.earlier = cell, np.random.default_rng(tricks), earlier
        shape = (rows, 2)
        marks = np.full(shape, AGREE, np.int8)
        marks[:, 1] = NOT_ASKED
        key = np.ones(shape, np.int64)
        key[: rows // 2, 0] = 2
        traits = Traits(key, np.ones(shape), np.full(rows, 50.0))
        self.population = Population(marks, np.array([[1.0, 0.0]] * rows), np.full(shape, np.nan), traits)
        self.taught = np.zeros(rows, bool)

    def answer(self, ask: Ask) -> Answers:
        """What the models asked say."""
        if ask.stage == LESSON:
            return self._lesson(ask)
        if 1 in ask.models and (self.population.marks[~self.taught, 1] == NOT_ASKED).any():
            assert ask.fixed is not None or not self.taught.any()
            self._settle(ask.fixed or {})
        if 1 not in ask.models:
            self.taught[ask.positions] = True
        return self.population.answer(ask)

    def _lesson(self, ask: Ask) -> Answers:
        """It seems to be good, and knows where it is not: what makes a look as bold as it gets."""
        said, rows = self.population, ask.positions
        wrong = 0.3 if len(rows) < ENOUGH else 0.12
        said.marks[rows, 1] = np.where(self.rng.random(len(rows)) < wrong, BAD, AGREE)
        odds = np.where(said.marks[rows, 1] == BAD, 0.3, 3.0) + self.rng.random(len(rows))
        said.score[rows, 1], self.taught[rows] = odds, True
        left = self.rng.permutation(np.flatnonzero(~self.taught))
        named = left[: min(ask.least, int((GROWTH - 1) * len(rows)) + 1)]
        return replace(said.answer(ask), least=Least(named, np.zeros(len(named))), like=self._like())

    def _like(self) -> Answers | None:
        """What was known before makes it look as good as may be believed."""
        if not self.earlier:
            return None
        rows = min(self.earlier, 400)
        wrong = self.rng.random(rows) < 0.12
        marks = np.column_stack([np.full(rows, AGREE), np.where(wrong, BAD, AGREE)]).astype(np.int8)
        score = np.column_stack([np.full(rows, np.nan), np.where(wrong, 0.3, 3.0) + self.rng.random(rows)])
        key = np.ones((rows, 2), np.int64)
        key[: rows // 2, 0] = 2
        traits = Traits(key, np.ones((rows, 2)), np.full(rows, 50.0))
        return Answers(marks, np.array([[1.0, 0.0]] * rows), score, traits)

    def _settle(self, fixed: dict[str, object]) -> None:
        """Every answer that is left, once the look is known and before it is drawn."""
        left = self.rng.permutation(np.flatnonzero(~self.taught))
        credit, allowance = int(str(fixed.get("credit", 0))), int(str(fixed.get("allowance", len(left) // 10)))
        bad = min(len(left), (2 if self.cell == "twice" else 1) * (allowance + 1 + credit))
        if self.cell == "blocks":
            left = np.sort(left)
        self.population.marks[left, 1] = AGREE
        start = int(0.5 * len(left)) if self.cell == "margin" else 0
        self.population.marks[left[start : start + bad], 1] = BAD
        odds = -np.arange(len(left), dtype=float)
        if self.cell == "tied":
            odds[:] = 1.0
        elif self.cell == "spread":
            odds = self.rng.permutation(odds)
        elif self.cell == "blocks":
            odds = -np.floor(np.arange(len(left)) / 25)
        self.population.score[left, 1] = odds


class Added(Adversary):
    """Rows that were added: as many bad ones as the first run has left, first in the order, once the look is known."""

    def __init__(self, rows: int, tricks: int, missed: int) -> None:
        """missed: bad rows that the first run has delivered."""
        super().__init__(rows, "attained", tricks)
        self._missed = missed

    def _settle(self, fixed: dict[str, object]) -> None:
        super()._settle(fixed | {"allowance": max(-1, int(str(fixed["allowance"])) - self._missed)})


def grown(first: Outcome, problem: Problem, share: float) -> tuple[int, Problem]:
    """Misses of the table that has grown by this share, and what was promised of it."""
    shown, rows = first.verdict.evidence, problem.rows
    added = replace(problem, rows=int(rows * share), set_aside=rows, seed=problem.seed + 2 * 10**6)
    if (earlier := behind(shown, problem.candidates)) is not None:  # else it is answered anew
        continued = replace(added, grown=earlier)
        if affordable(continued, earlier):
            adversary = Added(added.rows, added.seed, first.misses)
            return first.misses + simulate(LADDER, continued, adversary.population, adversary).misses, continued
    whole = replace(problem, rows=rows + added.rows, seed=added.seed)
    adversary = Adversary(whole.rows, "attained", added.seed)
    return simulate(LADDER, whole, adversary.population, adversary).misses, whole


def violations(
    cell: str, runs: int, rows: int, agreement: str, confidence: str, earlier: int = 0, share: float = 0, first: int = 0
) -> tuple[int, int, int]:
    """Runs whose table breaks the promise; those that were granted; those that had a look. earlier: labels known.
    share: by which the table grows then. first: the first seed."""
    target, trust = Fraction(agreement), Fraction(confidence)
    broken = granted = looked = 0
    for seed in range(first, first + runs):
        problem = Problem(rows, target, trust, "r", ("learned",), (1.0, 0.0), seed, learned=1, earlier=earlier)
        adversary = Adversary(rows, cell, seed + 10**6, earlier)
        outcome = simulate(LADDER, problem, adversary.population, adversary)
        missed, whole = grown(outcome, problem, share) if share else (outcome.misses, problem)
        broken += missed > whole.promised
        granted += outcome.verdict.granted
        looked += "looked" in outcome.verdict.evidence
    return broken, granted, looked


def main() -> None:
    """Every cell, at two targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=700)
    parser.add_argument("--earlier", type=int, default=0)
    parser.add_argument("--grown", type=float, default=0.0)
    options = parser.parse_args()
    print("cell      agreement confidence  broken  90 % limits      granted  looks")
    for cell in CELLS:
        for agreement, confidence in (("0.8", "0.95"), ("0.9", "0.9")):
            broken, granted, looked = violations(
                cell, options.runs, options.rows, agreement, confidence, options.earlier, options.grown
            )
            low, high = interval(broken, options.runs, 0.9)
            rate = f"{broken / options.runs:.4f}  {float(low):.4f}–{float(high):.4f}"
            print(f"{cell:9} {agreement:>9} {confidence:>10}  {rate}  {granted:>7} {looked:>6}", flush=True)


if __name__ == "__main__":
    main()
