"""Rows asked in packs, and whole packs go wrong together: is the promise kept on the boundary?

    python benchmarks/packs.py [--quick] [--jobs 2] [--runs 1000] [--cells TEXT …]

One candidate, asked in packs that are cut at random once per table, as the hash of table, task and way does; whole
packs are bad until D rows are: just over the allowance (B + 1), or twice it. Agreement .95, or .90 for 500 rows.
`by profiling` is a deliberately wrong packing, cut from the order of profiling: what is profiled shares calls with
other profiled rows, drawn from all over the table, and is answered well; what is left is packed as it stands in
the table, like beside like, and goes wrong there. It must fail, else this benchmark is blind. The exact interval of
each cell's violation rate is two-sided, 95 %. Exit code 1 when the default fails, or the wrong packing does not.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import allowance, figures, finish, judge, missed, options, pose, ratio, show, spread

from smart_llm import procedures
from smart_llm.simulation.drive import Population, simulate
from smart_llm.types import BAD, Answers, Ask, Marks

COLUMNS = ("cell", "procedure", "runs", "violations", "rate", "low", "high", "certified", "cost", "seconds")
PRICE = 0.02
CHUNK = 100
RIGHT, WRONG = "ladder", "by profiling"


@dataclass(frozen=True)
class Cell:
    """A kind of table: rows, rows in a call, bad rows in terms of the allowance."""

    rows: int
    pack: int
    factor: str

    @property
    def name(self) -> str:
        """What --cells matches."""
        return f"N={self.rows} pack={self.pack} D={'B+1' if self.factor == '+1' else f'{self.factor}B'}"

    @property
    def disagreement(self) -> str:
        """B ÷ N."""
        return "0.1" if self.rows < 1000 else "0.05"

    @property
    def bad(self) -> int:
        """D."""
        most = allowance(self.rows, self.disagreement)
        return most + 1 if self.factor == "+1" else int(most * float(self.factor))


CELLS = [Cell(n, k, factor) for n in (500, 2000, 20_000) for k in (5, 20, 50) for factor in ("+1", "2")]
QUICK = [Cell(500, 5, "+1"), Cell(500, 50, "2")]


@dataclass(frozen=True, slots=True)
class Regrouped(Population):
    """A population whose profiled rows were answered in other company. shown: the marks then."""

    shown: Marks | None = None

    def answer(self, ask: Ask) -> Answers:
        """What the models asked say in that company."""
        if ask.stage == "deliver" or self.shown is None:
            return Population.answer(self, ask)
        return Population(self.shown, self.cost, self.score).answer(ask)


def main() -> None:
    """Run, judge, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="per cell and packing, in steps of 100")
    parser.add_argument("--cells", nargs="+", default=[""], help="only cells whose name contains one of these")
    args = parser.parse_args()
    cells = [c for c in (QUICK if args.quick else CELLS) if any(part in c.name for part in args.cells)]
    runs = min(args.runs, 200) if args.quick else args.runs
    work = [(c, name, s) for name in (RIGHT, WRONG) for c in cells for s in range(0, runs, CHUNK)]
    parts = list(spread(chunk, work, args.jobs))
    results = [gather(c, name, [p for p in parts if p["key"] == (c, name)]) for name in (RIGHT, WRONG) for c in cells]
    show(results, COLUMNS)
    verdicts = [judge(name, [each for each in results if each["procedure"] == name]) for name in (RIGHT, WRONG)]
    for verdict in verdicts:
        print(verdict["text"])
    finish({"benchmark": "packs", "runs": runs, "cells": results, "verdicts": verdicts}, args.json)
    sys.exit(1 if any(each["holds"] == (each["procedure"] == WRONG) for each in verdicts) and not args.quick else 0)


def chunk(work: tuple[Cell, str, int]) -> dict[str, Any]:
    """Some runs of one cell."""
    from time import perf_counter

    cell, name, first = work
    procedure = procedures.get(procedures.resolve("ladder"))
    start, total = perf_counter(), np.zeros(3)
    for seed in range(first, first + CHUNK):
        people = table(cell, seed, wrong=name == WRONG)
        problem, _ = pose(people.marks, [1.0, PRICE], cell.disagreement, seed)
        outcome = simulate(procedure, _packed(problem, cell.pack), people)
        total += [missed(outcome, problem), outcome.verdict.granted, ratio(outcome, people)]
    return {"key": (cell, name), "runs": CHUNK, "total": total, "seconds": perf_counter() - start}


def _packed(problem: Any, pack: int) -> Any:
    from dataclasses import replace

    return replace(problem, packs=(1.0, float(pack)), kin=(0, 1))


def table(cell: Cell, seed: int, *, wrong: bool) -> Population:
    """Whole packs bad until D rows are; of the wrong packing, none of the rows that are profiled."""
    rng = np.random.default_rng([seed, cell.rows, cell.pack])
    call = np.empty(cell.rows, np.int64)
    call[rng.permutation(cell.rows)] = np.arange(cell.rows) // cell.pack
    marks = np.zeros((cell.rows, 2), np.int8)
    packs = rng.permutation(int(call.max()) + 1)
    rank = np.empty(len(packs), np.int64)
    rank[packs] = np.arange(len(packs))
    marks[np.argsort(rank[call], kind="stable")[: cell.bad], 1] = BAD
    cost, score = np.broadcast_to(np.array([1.0, PRICE]), marks.shape), np.full(marks.shape, np.nan)
    calls = np.stack([np.arange(cell.rows), call], axis=1)
    return Regrouped(marks, cost, score, None, calls, np.zeros_like(marks) if wrong else None)


def gather(cell: Cell, name: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table."""
    violations, certified, cost = sum(part["total"] for part in parts)
    runs, seconds = (sum(part[each] for part in parts) for each in ("runs", "seconds"))
    return figures(cell.name, name, runs, seconds, violations, certified=certified, cost=cost)


if __name__ == "__main__":
    main()
