"""Does the promise per label hold where it is hardest, and what does it cost?

    python benchmarks/per_label.py [--quick] [--jobs 2] [--runs 2000] [--cells TEXT …] [--procedure NAME …]

Tables whose rare labels are spoilt just beyond what is allowed: label L has `times` × B_L + 1 bad rows, B_L = 20 % of
its rows (`--per-label 0.8`); label 1 is the common one. A run violates when the table's promise or any label's is
broken: they share one α. Every run draws a new table and a new seed; the interval is Clopper and Pearson's, 95 %.

one       one rare label        several   the rare labels all at their boundaries at once
table     the table's own promise is at its boundary as well (B + 1 bad rows in all)
two       two candidates, each spoilt on another rare label

and where the bad rows stand in the order of the score: `best` first of all, `trap` first of all and the least sure
fifth of every label is bad as well (so that the pilot trusts the score), `random`, `tied` (all scores equal).

alone     only the rare label has bad rows, and the candidate costs next to nothing: nothing else stops the look
look      the look of `per-label/3` alone: always the candidate's own score, rows looked at in turn by seed
careless  control, must fail: this look with a label's bad rows estimated by their share of those labelled, without a
          limit (`alone` only: elsewhere the table's and the other labels' stopping rows lie in the way)
ladder    the default, without the promise per label: what it protects from (its own promise is not judged here)

Exit code 1 when `per-label/3` fails (pooled above .05, or a cell's lower limit above .05), or `careless` does not.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
from common import allowance, draw_rates, figures, finish, judge, options, panels, pose, ratio, show, spread

from smart_llm import procedures
from smart_llm.procedures import per_label as per_label_3
from smart_llm.simulation.drive import Population, simulate
from smart_llm.stats.sampling import permutation
from smart_llm.types import AGREE, BAD, Answers, Ask, Mix, Problem, Score, SidePromise, Traits, Verdict

COLUMNS = ("cell", "procedure", "runs", "violations", "rate", "low", "high")
COLUMNS += ("table_broken", "label_broken", "certified", "own_score", "cost", "seconds")
CHUNK = 50
SHARE, LEAST = "0.8", 0.05
"""Promised share of a label's rows, and the share of the table from which on a label is promised anything."""
CHEAP = 0.005
"""Price of the candidate of `alone`: delivering a few rows must pay, or they are not delivered."""


@dataclass(frozen=True)
class Cell:
    """A kind of table. rare: shares of the rare labels; table: the allowed disagreement of the whole table."""

    kind: str
    rows: int
    rare: tuple[float, ...]
    times: float
    place: str
    table: str = "0.15"

    @property
    def name(self) -> str:
        """What --cells matches."""
        shares = "+".join(f"{share:g}" for share in self.rare)
        return f"{self.kind} N={self.rows} L={shares} D=B×{self.times:g}+1 {self.place}"

    @property
    def least(self) -> int:
        """Rows a label needs to be promised anything."""
        return round(LEAST * self.rows)


PLACES = ("best", "trap", "random", "tied")
CELLS = [
    *(Cell("one", 2000, (r,), t, place) for r in (0.1, 0.3) for t in (1.0, 1.1, 1.3, 2.0) for place in PLACES),
    *(Cell("one", 2000, (LEAST,), t, place) for t in (1.0, 1.3) for place in ("trap", "tied")),
    *(Cell("alone", 2000, (r,), t, "trap") for r in (LEAST, 0.1, 0.3) for t in (1.0, 1.3)),
    *(Cell("several", 2000, (0.15,) * 3, t, place) for t in (1.0, 1.3) for place in PLACES),
    *(Cell("several", 2000, (0.1,) * 6, 1.1, place) for place in ("trap", "tied")),
    *(Cell("table", 2000, (0.1,), 1.0, place, "0.05") for place in PLACES),
    *(Cell("two", 2000, (0.15, 0.15), t, place) for t in (1.0, 1.3) for place in ("trap", "tied")),
    *(Cell("one", rows, (0.2,), 1.1, place) for rows in (500, 10000) for place in ("trap", "tied")),
]
QUICK = [
    Cell("alone", 1000, (0.1,), 1.3, "trap"),
    Cell("one", 1000, (0.3,), 1.1, "trap"),
    Cell("several", 1000, (0.15,) * 3, 1.1, "tied"),
]


def main() -> None:
    """Run, judge, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="per cell and procedure, in steps of 50")
    parser.add_argument("--cells", nargs="+", default=[""], help="only cells whose name contains one of these")
    parser.add_argument("--procedure", nargs="+", default=["per-label/3", "look", "careless", "ladder"])
    args = parser.parse_args()
    runs = min(args.runs, 100) if args.quick else args.runs
    cells = [c for c in (QUICK if args.quick else CELLS) if any(part in c.name for part in args.cells)]
    pairs = [(c, n) for n in args.procedure for c in cells if n != "careless" or c.kind == "alone"]
    work = [(c, n, s) for c, n in pairs for s in range(0, enough(n, runs), CHUNK)]
    parts = list(spread(chunk, work, args.jobs))
    results = [gather(c, n, [p for p in parts if p["key"] == (c.name, n)]) for c, n in pairs]
    show(results, COLUMNS)
    names = list(dict.fromkeys(n for _, n in pairs))
    verdicts = [judge(n, [e for e in results if e["procedure"] == n]) for n in names]
    print(*(verdict["text"] for verdict in verdicts), sep="\n")
    panels("per_label", names, lambda axis, n: draw_rates(axis, [e for e in results if e["procedure"] == n]))
    finish({"benchmark": "per_label", "runs": runs, "cells": results, "verdicts": verdicts}, args.json)
    wrong = [v for v in verdicts if v["holds"] == (v["procedure"] == "careless") and v["procedure"] != "ladder"]
    sys.exit(1 if wrong and not args.quick else 0)


def enough(procedure: str, runs: int) -> int:
    """A tenth of the runs for the default: nobody doubts that it breaks a promise it never made."""
    return max(CHUNK, runs // 10) if procedure == "ladder" else runs


# --------------------------------------------------------------------------- tables


def table(cell: Cell, seed: int) -> Population:
    """The cell's table of one seed."""
    common = 1 - sum(cell.rare)
    counts = [round(share * cell.rows) for share in cell.rare]
    spoilt = [min(1.0, (cell.times * int((1 - float(SHARE)) * n + 1e-9) + 1) / n) for n in counts]
    bad = sum(round(rate * n) for rate, n in zip(spoilt, counts, strict=True))
    left = (allowance(cell.rows, cell.table) + 1 - bad) / (cell.rows - sum(counts)) if cell.kind == "table" else 0.0
    left = 0.03 if cell.kind not in ("table", "alone") else left
    labels = [(common, max(0.0, left)), *zip(cell.rare, spoilt, strict=True)]
    if cell.kind == "alone":
        people = made(cell.rows, [labels], place=cell.place, seed=seed)
        return replace(people, cost=np.broadcast_to(np.array(prices(1, CHEAP)), people.marks.shape))
    if cell.kind != "two":
        return made(cell.rows, [labels], place=cell.place, seed=seed)
    other = [labels[0], (cell.rare[0], 0.03), labels[2]]
    return made(cell.rows, [[*labels[:2], (cell.rare[1], 0.03)], other], place=cell.place, seed=seed)


def population(rows: int, rare: float, spoilt: float, common_bad: float, *, place: str, seed: int) -> Population:
    """One candidate, label 2 rare. spoilt, common_bad: shares of the rows of either label it gets wrong."""
    return made(rows, [[(1 - rare, common_bad), (rare, spoilt)]], place=place, seed=seed)


def made(rows: int, candidates: Sequence[Sequence[tuple[float, float]]], *, place: str, seed: int) -> Population:
    """For each candidate the labels 1, 2, … as (share of the rows, share of those it gets wrong); the first label takes
    what rounding leaves."""
    draw = np.random.default_rng([seed, rows])
    counts = [round(share * rows) for share, _ in candidates[0][1:]]
    label = np.repeat(np.arange(len(counts) + 1) + 1, [rows - sum(counts), *counts])
    columns = [column(label, [rate for _, rate in each], place, draw) for each in candidates]
    bad, score = (np.column_stack(part) for part in zip(*columns, strict=True))
    wrong = label[:, None] % len(candidates[0]) + 1
    key = np.column_stack([label, np.where(bad, wrong, label[:, None])]).astype(np.int64)
    marks = np.column_stack([np.full(rows, AGREE), np.where(bad, BAD, AGREE)]).astype(np.int8)
    score = np.column_stack([np.full(rows, np.nan), score])
    mixed = draw.permutation(rows)
    cost = np.broadcast_to(np.array(prices(len(candidates))), marks.shape)
    traits = Traits(key[mixed], np.ones(key.shape), np.full(rows, np.nan))
    return Population(marks[mixed], cost, score[mixed], traits)


def column(label: Any, rates: Sequence[float], place: str, draw: np.random.Generator) -> tuple[Any, Any]:
    """Which rows one candidate gets wrong, and its score of each."""
    bad, score = np.zeros(len(label), bool), 0.5 * draw.random(len(label))
    for which, rate in enumerate(rates, 1):
        places = draw.permutation(np.flatnonzero(label == which))
        count = round(rate * len(places))
        bad[places[:count]] = True
        if place in ("best", "trap"):
            score[places[:count]] += 1
        if place == "trap" and count:
            tail = places[max(count, round(0.8 * len(places))) :]
            bad[tail], score[tail] = True, score[tail] - 1
    return bad, np.zeros(len(label)) if place == "tied" else score


def prices(candidates: int, first: float = 0.1) -> list[float]:
    """The reference at 1, candidates from a tenth on."""
    return [1.0, *(first + 0.01 * j for j in range(candidates))]


def broken(people: Population, by: Any, *, share: float, agreement: float, least: int) -> tuple[bool, bool]:
    """(the table's promise is broken, some label's is)."""
    assert people.traits is not None
    missed = people.marks[np.arange(len(by)), by] == BAD
    labels = people.traits.key[:, 0]
    table_missed = missed.sum() > len(by) - np.ceil(agreement * len(by) - 1e-9)
    each = [
        missed[labels == key].sum() > np.floor((1 - share) * (labels == key).sum() + 1e-9)
        for key in np.unique(labels[labels > 0])
        if (labels == key).sum() >= least
    ]
    return bool(table_missed), any(each)


# --------------------------------------------------------------------------- runs


def look(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """See the top."""
    sizes = np.geomspace(0.05, 0.25, 5) * problem.rows
    way = per_label_3.Way(1, Score(), (), int(sizes[problem.seed % 5]), 0.0)
    order = permutation(problem.seed, "order", problem.rows)
    pilot = yield from per_label_3.first_pilot(problem, order)
    if pilot is None or problem.side is None:
        return Verdict(False, Mix(), order[:0], "look", {})
    return (yield from per_label_3.look(pilot, problem.side, way, order))


def careless(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Broken on purpose: see the top."""
    with patch.object(per_label_3, "label_credit", lambda seen, share, alpha: int((1 - share) * seen)):
        return (yield from look(problem))


RUN = {"look": look, "careless": careless}


def chunk(work: tuple[Cell, str, int]) -> dict[str, Any]:
    """Some runs of one cell under one procedure."""
    cell, name, first = work
    procedure = RUN.get(name) or procedures.get(procedures.resolve(name))
    side = SidePromise(Fraction(SHARE), cell.least, tuple(range(1, len(cell.rare) + 2)))
    start, total = perf_counter(), np.zeros(6)
    for seed in range(first, first + CHUNK):
        people = table(cell, seed)
        problem, _ = pose(people.marks, people.cost[0].tolist(), cell.table, seed)
        outcome = simulate(procedure, problem if name == "ladder" else replace(problem, side=side), people)
        misses = broken(
            people, outcome.delivered_by, share=float(SHARE), agreement=float(problem.agreement), least=cell.least
        )
        own = outcome.verdict.evidence.get("score") == [["own", 1.0]]
        total += [any(misses), *misses, outcome.verdict.granted, own, ratio(outcome, people)]
    return {"key": (cell.name, name), "total": total, "seconds": perf_counter() - start}


def gather(cell: Cell, procedure: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell's figures."""
    violations, tables, labels, certified, own, cost = sum(part["total"] for part in parts)
    means = {"table_broken": tables, "label_broken": labels, "certified": certified, "own_score": own, "cost": cost}
    seconds = sum(part["seconds"] for part in parts)
    return figures(cell.name, procedure, CHUNK * len(parts), seconds, violations, **means)


if __name__ == "__main__":
    main()
