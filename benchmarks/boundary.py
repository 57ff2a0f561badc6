"""Where promises break: tables with just more bad rows than allowed, and mixes on tables with many more.

    python benchmarks/boundary.py [--quick] [--jobs 2] [--runs 2000] [--cells TEXT …] [--procedure NAME …]

Every run draws a new table with exactly D bad rows per candidate and a new seed; the exact interval on the violation
rate of each cell is two-sided, 95 %. `tailless` is a deliberately broken procedure: a correct limit on the bad rows,
but the share is handed out as if a blind share always drew its expected number of them. It must fail, else this
benchmark is blind. Exit code 1 when the default fails, or `tailless` does not.

Kinds of tables: `one` candidate; several with bad rows `independent`, the `same`, `nested` (each 1.3 × the one before)
or `disjoint`; `block`: one candidate whose bad rows stand in one block (duplicates of one text).
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import allowance, draw_rates, figures, finish, judge, missed, options, panels, pose, ratio, show, spread
from one_look import upper_limits

from smart_llm import procedures
from smart_llm.simulation.drive import Outcome, simulate
from smart_llm.stats.sampling import permutation
from smart_llm.types import BAD, Answers, Ask, Mix, Problem, Verdict

COLUMNS = ("cell", "procedure", "runs", "violations", "rate", "low", "high", "certified", "mixed", "cost", "seconds")
CHUNK = 100


@dataclass(frozen=True)
class Cell:
    """A kind of table: `factor` × B bad rows per candidate ("+1": B + 1)."""

    kind: str
    candidates: int
    rows: int
    factor: str
    disagreement: str = "0.05"

    @property
    def name(self) -> str:
        """What --cells matches."""
        sign = "" if self.factor == "+1" else "×"
        return f"{self.kind}{self.candidates} N={self.rows} D=B{sign}{self.factor} B/N={self.disagreement}"

    @property
    def bad(self) -> list[int]:
        """D of each candidate."""
        allowed = allowance(self.rows, self.disagreement)
        first = allowed + 1 if self.factor == "+1" else max(allowed + 1, round(allowed * float(self.factor)))
        growth = 1.3 if self.kind == "nested" else 1.0
        return [min(self.rows, round(first * growth**j)) for j in range(self.candidates)]


FACTORS = ("+1", "1.05", "1.1", "1.2", "1.3", "2", "5")
CELLS = [
    *(Cell("one", 1, 2000, factor) for factor in FACTORS),
    *(Cell("one", 1, rows, factor) for rows in (500, 10000) for factor in ("+1", "1.1", "1.3", "2", "5")),
    *(Cell("one", 1, rows, factor) for rows in (10000, 50000) for factor in ("1.02", "1.05")),
    *(Cell("one", 1, rows, factor) for rows in (50000, 127600) for factor in ("+1", "2")),
    *(Cell("one", 1, 2000, factor, "0.2") for factor in ("+1", "2")),
    *(Cell("independent", m, 2000, "+1") for m in (2, 3, 4)),
    *(Cell("independent", 4, 10000, factor) for factor in ("+1", "2")),
    *(Cell("nested", 4, 2000, factor) for factor in ("+1", "1.1", "2")),
    *(Cell(kind, m, 2000, factor) for kind, m in (("same", 4), ("disjoint", 2)) for factor in ("+1", "2")),
    *(Cell("block", 1, 2000, factor) for factor in ("+1", "1.3", "2")),
]
QUICK = [Cell("one", 1, 500, "+1"), Cell("one", 1, 2000, "5"), Cell("independent", 4, 500, "+1")]


def main() -> None:
    """Run, judge, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="per cell and procedure, in steps of 100")
    parser.add_argument("--cells", nargs="+", default=[""], help="only cells whose name contains one of these")
    parser.add_argument("--procedure", nargs="+", default=["ladder", "smart/2024:model-mix", "tailless"])
    args = parser.parse_args()
    names = [name if name == "tailless" else procedures.resolve(name) for name in args.procedure]
    cells = [c for c in (QUICK if args.quick else CELLS) if any(part in c.name for part in args.cells)]
    runs = min(args.runs, 200) if args.quick else args.runs
    work = [(c, n, s, CHUNK) for c in cells for n in names for s in range(0, enough(c, n, runs), CHUNK)]
    parts = list(spread(chunk, work, args.jobs))
    results = [gather(c, n, [p for p in parts if p["key"] == (c.name, n)]) for n in names for c in cells]
    show(results, COLUMNS)
    verdicts = [judge(name, [each for each in results if each["procedure"] == name]) for name in names]
    for verdict in verdicts:
        print(verdict["text"])
    panels("boundary", names, lambda axis, name: draw_rates(axis, [e for e in results if e["procedure"] == name]))
    finish({"benchmark": "boundary", "runs": runs, "cells": results, "verdicts": verdicts}, args.json)
    wrong = [v for v in verdicts if v["holds"] == (v["procedure"] == "tailless")]
    sys.exit(1 if any(not v["procedure"].startswith("smart/") for v in wrong) and not args.quick else 0)


def enough(cell: Cell, procedure: str, runs: int) -> int:
    """A tenth of the runs where the published procedure, beside ours for comparison only, takes half a second each."""
    return runs // 10 if procedure.startswith("smart/") and cell.rows >= 10000 else runs


# --------------------------------------------------------------------------- one run


def chunk(work: tuple[Cell, str, int, int]) -> dict[str, Any]:
    """Some runs of one cell under one procedure."""
    from time import perf_counter

    cell, name, first, count = work
    procedure = tailless if name == "tailless" else procedures.get(name)
    start, total = perf_counter(), np.zeros(4)
    for seed in range(first, first + count):
        problem, population = pose(table(cell, seed), prices(cell), cell.disagreement, seed)
        outcome = simulate(procedure, problem, population)
        cost = ratio(outcome, population)
        total += [missed(outcome, problem), outcome.verdict.granted, mixed(outcome, problem), cost]
    return {"key": (cell.name, name), "runs": count, "total": total, "seconds": perf_counter() - start}


def prices(cell: Cell) -> list[float]:
    """The reference at 1, candidates from a twenty-fifth on."""
    return [1.0, *(0.04 * (j + 1) for j in range(cell.candidates))]


def table(cell: Cell, seed: int) -> Any:
    """Marks, shape (N, 1 + m): exactly D bad rows per candidate, placed as the kind says."""
    rng = np.random.default_rng([seed, cell.rows, cell.candidates])
    marks = np.zeros((cell.rows, 1 + cell.candidates), np.int8)
    order, start = rng.permutation(cell.rows), 0
    for j, bad in enumerate(cell.bad, 1):
        if cell.kind == "independent":
            order = rng.permutation(cell.rows)
        elif cell.kind == "block":
            order = np.roll(np.arange(cell.rows), -int(rng.integers(cell.rows - bad + 1)))
        marks[order[start : start + bad], j] = BAD
        start += bad if cell.kind == "disjoint" else 0
    return marks


def mixed(outcome: Outcome, problem: Problem) -> bool:
    """Whether the rows left were shared between models."""
    left = np.ones(problem.rows, dtype=bool)
    left[outcome.verdict.profiled] = False
    by = outcome.delivered_by[left]
    return bool(outcome.verdict.granted and by.size and by.min() < by.max())


def tailless(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Broken on purpose: half the rows profiled, an exact limit U at the whole α, and the share B ÷ (U − d)."""
    half = permutation(problem.seed, "order", problem.rows)[: problem.rows // 2]
    answers = yield Ask(half, tuple(range(1 + len(problem.candidates))), "profile")
    bad = (answers.marks[:, 1:] == BAD).sum(axis=0)
    best, left = int(bad.argmin()) + 1, problem.rows - len(half)
    bad_left = upper_limits(problem.rows, len(half), bad.min(keepdims=True))[0] - bad.min()
    rows = left if bad_left <= problem.allowance else int(left * problem.allowance / bad_left)
    return Verdict(True, Mix(((best, rows),)), half, "tailless", {})


# --------------------------------------------------------------------------- all runs


def gather(cell: Cell, procedure: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell's figures."""
    violations, certified, shared, cost = sum(part["total"] for part in parts)
    runs, seconds = (sum(part[name] for part in parts) for name in ("runs", "seconds"))
    return figures(cell.name, procedure, runs, seconds, violations, certified=certified, mixed=shared, cost=cost)


if __name__ == "__main__":
    main()
