"""What `--ways auto` saves on short rows under long instructions, over many orders.

    python benchmarks/ways_auto.py [--quick] [--orders 12] [--rows 5000] [--errors .02 .05 .08 .1]

One candidate at a twentieth of the reference's price, 400 tokens of instructions, 30 of a row: asked row by row, in
packs of 8 and of 32 (what `--ways auto` spells out for it). It errs on a share of the rows, in packs on .5 % more, and
one pack in 500 goes wrong as a whole. Its score knows something of its errors, as log-probabilities do, or nothing.
Agreement .90. The two runs, with and without ways, have the same order. Prices: tokens sent, those of our frame
included, and ten of an answer.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from common import CONFIDENCE, finish, missed, options, ratio, show, spread, timed

from smart_llm.simulation.drive import Population
from smart_llm.types import BAD, Problem

PACKS = (1, 8, 32)
INSTRUCTIONS, ROW, FRAME, AROUND, ANSWER = 400, 30, 150, 8, 10
"""Tokens."""
PRICE = 1 / 20
WORSE, TOGETHER = 0.005, 0.002
BAD_SHARE = Fraction(1, 10)
"""That may differ."""
KNOWS = 1.5
"""Deviations by which errors have a lower score."""
COLUMNS = ("errs", "score", "orders", "given", "auto", "ratio", "worst ratio", "at most .45", "violations")


def main() -> None:
    """Run, print."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=12)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--errors", type=float, nargs="+", default=[0.02, 0.05, 0.08, 0.1])
    args = parser.parse_args()
    orders, rows = (2, 2000) if args.quick else (args.orders, args.rows)
    work = [(rows, errs, knows, orders) for knows in (KNOWS, 0.0) for errs in args.errors]
    cells = list(spread(cell, work, args.jobs))
    show(cells, COLUMNS)
    finish({"benchmark": "ways_auto", "rows": rows, "cells": cells}, args.json)


def cell(work: tuple[int, float, float, int]) -> dict[str, Any]:
    """One kind of candidate: what runs cost with and without ways, order by order."""
    rows, errs, knows, orders = work
    costs, broken = [], 0
    for seed in range(orders):
        people = made(rows, errs, knows, seed)
        pair = []
        for ways in (1, len(PACKS)):
            here = some(people, ways)
            rates = tuple(here.cost[0].tolist())
            names, packs = tuple(f"pack {pack}" for pack in PACKS[:ways]), (1.0, *map(float, PACKS[:ways]))
            told = (packs, (0, *[1] * ways)) if ways > 1 else ((), ())
            asked = Problem(
                rows, 1 - BAD_SHARE, CONFIDENCE, "reference", names, rates, seed, packs=told[0], kin=told[1]
            )
            outcome, _ = timed("ladder", asked, here)
            pair.append(ratio(outcome, here))
            broken += missed(outcome, asked)
        costs.append(pair)
    given, auto = np.array(costs).T
    return {
        "errs": errs,
        "score": "knows" if knows else "blank",
        "orders": orders,
        "given": float(given.mean()),
        "auto": float(auto.mean()),
        "ratio": float(auto.mean() / given.mean()),
        "worst ratio": float((auto / given).max()),
        "at most .45": int((auto / given <= 0.45).sum()),
        "violations": broken,
    }


def made(rows: int, errs: float, knows: float, seed: int) -> Population:
    """The candidate in its three ways."""
    rng = np.random.default_rng([seed, rows])
    own = rng.random(rows) < errs
    marks, cost, score = [np.zeros(rows, bool)], [1.0], [np.full(rows, np.nan)]
    calls = [np.arange(rows)]
    alone = INSTRUCTIONS + ROW + ANSWER
    for pack in PACKS:
        call = np.empty(rows, np.int64)
        call[rng.permutation(rows)] = np.arange(rows) // pack
        wrong = own.copy()
        if pack > 1:
            wrong |= (rng.random(rows) < WORSE) | (rng.random(rows // pack + 1) < TOGETHER)[call]
        sent = alone if pack == 1 else (INSTRUCTIONS + FRAME) / pack + ROW + AROUND + ANSWER
        marks.append(wrong)
        cost.append(PRICE * sent / alone)
        score.append(rng.normal(size=rows) - knows * wrong if knows else np.full(rows, np.nan))
        calls.append(call)
    table = np.stack(marks, axis=1).astype(np.int8) * BAD
    return Population(
        table.astype(np.int8),
        np.broadcast_to(np.array(cost), table.shape),
        np.stack(score, axis=1),
        None,
        np.stack(calls, axis=1),
    )


def some(people: Population, ways: int) -> Population:
    """The reference and the first ways."""
    keep = 1 + ways
    calls = people.calls
    assert calls is not None
    return Population(people.marks[:, :keep], people.cost[:, :keep], people.score[:, :keep], None, calls[:, :keep])


if __name__ == "__main__":
    main()
