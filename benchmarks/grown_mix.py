"""The promise about tables that grow after a mix, and what it costs: pairs of runs of the shipped procedure.

The adversary knows the tables of the mix before it settles how many rows are bad: as many as make it err most, or make
it hand over more bad rows than the whole grown table may have most often, or just as many as are allowed. Of two
candidates one is bad where the other is not. When the first run has ended, it settles the rows added: as many bad ones
as are left over after those the mix has handed over, the first ones in the order of delivery. So every rate must be at
most 1 − confidence, up to chance.

    python benchmarks/grown_mix.py promise [--runs 1000] [--rows 700] [--grown 0.1]
    python benchmarks/grown_mix.py cost [--runs 20] [--rows 20000] [--grown 0.1] [--price 0.1]

cost: candidates that are bad on .2 to .95 of the share that may differ; calls of the second run ÷ those of the first,
continued, and begun anew with all answers of the first run at hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from common import behind

from smart_llm import procedures
from smart_llm.procedures.ladder.grown import affordable
from smart_llm.simulation.drive import Outcome, Population, simulate
from smart_llm.stats.clopper_pearson import interval
from smart_llm.stats.sampling import uniforms
from smart_llm.stats.sequential import Table, worst_error
from smart_llm.types import AGREE, BAD, Answers, Ask, Problem

LADDER = procedures.get("ladder")
CELLS = ("worst", "beyond", "between", "allowed", "two")
"""How many rows are bad in the first part: where the mix errs most; where it hands over more than all that the grown
table may have most often; half-way between; as many as are allowed; worst, with two candidates."""
PILOT_BAD = 0.05
"""Of the first rows: a candidate that looks good is followed far."""
KNOWN: dict[tuple[str, int, int], int] = {}


def population(rows: int, prices: tuple[float, ...]) -> Population:
    """Nobody is wrong yet."""
    shape = (rows, len(prices))
    return Population(np.full(shape, AGREE, np.int8), np.tile(prices, (rows, 1)), np.full(shape, np.nan))


@dataclass
class Settling:
    """A population that an adversary settles once it is fixed what is looked at. most: bad rows that the whole grown
    table may have."""

    population: Population
    cell: str
    most: int
    rng: np.random.Generator
    asked: list[int] = field(default_factory=list)
    settled: bool = False

    def answer(self, ask: Ask) -> Answers:
        """What the models asked say; rows asked about before the evidence make a candidate look good."""
        marks = self.population.marks
        if not self.settled and ask.fixed is not None:
            self._settle(ask.fixed)
        elif not self.settled:
            fresh = ask.positions
            self.asked += fresh.tolist()
            marks[fresh, 1:] = np.where(self.rng.random((len(fresh), marks.shape[1] - 1)) < PILOT_BAD, BAD, AGREE)
        return self.population.answer(ask)

    def _settle(self, fixed: Mapping[str, Any]) -> None:
        self.settled, told = True, fixed["finalists"]
        rows = told[0]["worst"]["bad"] + told[0]["worst"]["good"]
        bad = self._count(told[0], rows)
        order = self.rng.permutation(np.setdiff1d(np.arange(len(self.population.marks)), self.asked))
        self.population.marks[order[:bad], 1] = BAD
        if self.cell == "two":
            self.population.marks[order[-bad:], 2] = BAD

    def _count(self, told: Mapping[str, Any], rows: int) -> int:
        allowance = int(told["allowance"])
        if self.cell in ("worst", "two"):
            return int(told["worst"]["bad"])
        if self.cell == "allowed":
            return allowance
        most = self.most if self.cell == "beyond" else (allowance + self.most) // 2
        key = (str(told["shares"]), rows, most)
        if key not in KNOWN:
            table = Table(tuple(told["looks"]), tuple(np.array(row, np.int64) for row in told["shares"]), allowance)
            KNOWN[key] = worst_error(rows, most, table).bad
        return KNOWN[key]


def second(first: Outcome, problem: Problem, added: int, prices: tuple[float, ...]) -> tuple[int, Problem, bool]:
    """Misses of the table that has grown; what was promised of it; whether the first run was continued."""
    earlier = behind(first.verdict.evidence, problem.candidates)
    later = replace(problem, rows=added, set_aside=problem.rows, seed=problem.seed + 10**6, grown=earlier)
    look = None if earlier is None else affordable(later, earlier)
    if earlier is None or look is None:
        whole = replace(problem, rows=problem.rows + added, seed=later.seed)
        anew = Settling(population(whole.rows, prices), "worst", whole.promised, np.random.default_rng(later.seed))
        return simulate(LADDER, whole, anew.population, anew).misses, whole, False
    rows, bad = population(added, prices), max(0, later.promised - first.misses + 1 + look[0])
    ahead = np.argsort(uniforms(later.seed, "shares", added))
    rows.marks[ahead[:bad], 1:] = BAD
    return first.misses + simulate(LADDER, later, rows).misses, later, True


def violations(cell: str, runs: int, rows: int, share: float, target: str, trust: str) -> tuple[int, int, int, int]:
    """Pairs of runs; first promises broken, second ones, and first runs that were continued."""
    prices = (1.0, 0.1, 0.1) if cell == "two" else (1.0, 0.1)
    names, added = tuple(f"m{j}" for j in range(1, len(prices))), int(rows * share)
    broken = np.zeros(3, int)
    for seed in range(runs):
        problem = Problem(rows, Fraction(target), Fraction(trust), "r", names, prices, seed)
        most = replace(problem, rows=rows + added).promised
        told = Settling(population(rows, prices), cell, most, np.random.default_rng([seed, 1]))
        first = simulate(LADDER, problem, told.population, told)
        missed, whole, continued = second(first, problem, added, prices)
        broken += [first.misses > problem.promised, missed > whole.promised, continued]
    return runs, *broken.tolist()


def promise(runs: int, rows: int, share: float) -> None:
    """Every cell, at two targets."""
    print(f"{rows} rows, grown by {share}\ncell      agreement confidence  first   second  90 % limits      continued")
    for cell in CELLS:
        for target, trust in (("0.8", "0.95"), ("0.9", "0.9")):
            count, first, later, continued = violations(cell, runs, rows, share, target, trust)
            low, high = interval(later, count, 0.9)
            rates = f"{first / count:.4f}  {later / count:.4f}  {float(low):.4f}–{float(high):.4f}"
            print(f"{cell:9} {target:>9} {trust:>10}  {rates}  {continued:>8}", flush=True)


def cost(runs: int, rows: int, share: float, price: float) -> None:
    """What the second run pays, by the first one's cost."""
    print(f"{rows} rows, grown by {share}, price {price}\nagreement  bad   first ÷ alone  second ÷ first  anew ÷ first")
    added = int(rows * share)
    for target in ("0.9", "0.95"):
        for part in (0.2, 0.5, 0.8, 0.95):
            found = [pair(Fraction(target), part, rows, added, price, seed) for seed in range(runs)]
            first, later, anew = np.array(found).T
            told = f"{first.mean() / rows:13.3f}  {later.sum() / first.sum():14.3f}  {anew.sum() / first.sum():12.3f}"
            print(f"{target:>9}  {part:<4}  {told}", flush=True)


def pair(target: Fraction, part: float, rows: int, added: int, price: float, seed: int) -> tuple[float, float, float]:
    """Calls that a first run costs, and a second one that continues it, and one that does not."""
    whole = population(rows + added, (1.0, price))
    whole.marks[:, 1] = np.where(
        np.random.default_rng(seed).random(rows + added) < part * float(1 - target), BAD, AGREE
    )
    problem = Problem(rows, target, Fraction("0.95"), "r", ("m1",), (1.0, price), seed, reserve=0)
    first = simulate(LADDER, problem, of(whole, slice(0, rows)))
    there = np.zeros((rows + added, 2), bool)
    there[np.arange(rows), first.delivered_by] = True
    there[first.verdict.profiled] = True
    anew = simulate(LADDER, replace(problem, rows=rows + added, seed=seed + 10**6), whole)
    asked = np.zeros_like(there)
    asked[np.arange(rows + added), anew.delivered_by] = True
    asked[anew.verdict.profiled] = True
    fresh = float(whole.cost[asked & ~there].sum())
    earlier = behind(first.verdict.evidence, problem.candidates)
    later = replace(problem, rows=added, set_aside=rows, seed=seed + 10**6, grown=earlier)
    if earlier is None or affordable(later, earlier) is None:
        return first.cost, fresh, fresh
    return first.cost, simulate(LADDER, later, of(whole, slice(rows, None))).cost, fresh


def of(whole: Population, rows: slice) -> Population:
    """These rows of it."""
    return Population(whole.marks[rows], whole.cost[rows], whole.score[rows])


def main() -> None:
    """As the first lines of the module say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("promise", "cost"))
    parser.add_argument("--runs", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--grown", type=float, default=0.1)
    parser.add_argument("--price", type=float, default=0.1)
    options = parser.parse_args()
    if options.what == "promise":
        promise(options.runs or 1000, options.rows or 700, options.grown)
    else:
        cost(options.runs or 20, options.rows or 20_000, options.grown, options.price)


if __name__ == "__main__":
    main()
