"""What `--ways auto` saves on short rows under long instructions, over many orders, and where the rest goes.

    python benchmarks/ways_auto.py [--quick] [--orders 12] [--rows 5000] [--errors .02 .05 .08 .1] [--packs same worse]

One candidate at a twentieth of the reference's price, 400 tokens of instructions, 30 of a row: asked row by row, in
packs of 8 and of 32 (what `--ways auto` spells out for it). It errs on a share of the rows, in packs on no more
(*same*, the mock's default) or on .5 % more, and one pack in 500 goes wrong as a whole (*worse*). Its score knows
something of its errors, as log-probabilities do, or nothing. Agreement .90. All runs of an order have the same order:
*given* has the candidate row by row, *auto* its three ways, *told* has packs of 32 alone and tries nothing. Spent on:
the reference's answers to pilot rows, and to evidence; the candidate's calls; the reference's answers at delivery.
Prices: tokens sent, those of our frame included, and ten of an answer.

*bound*: what both runs cost at least if the best way and its share of bad rows were known beforehand and everything
were delivered: the candidate's calls, and as many reference answers as any test must see in the mean that accepts this
candidate and keeps one on the boundary out with the confidence asked for (Wald 1945: log(1/α) ÷ the Kullback–Leibler
distance of the two shares); as a ratio of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from common import CONFIDENCE, finish, missed, options, show, spread, timed

from smart_llm.simulation.drive import Population
from smart_llm.types import BAD, Problem

PACKS = (1, 8, 32)
INSTRUCTIONS, ROW, FRAME, AROUND, ANSWER = 400, 30, 150, 8, 10
"""Tokens."""
PRICE = 1 / 20
WRONG = {"same": (0.0, 0.0), "worse": (0.005, 0.002)}
"""Further bad rows in packs, and packs that go wrong together."""
BAD_SHARE = Fraction(1, 10)
"""That may differ."""
KNOWS = 1.5
"""Deviations by which errors have a lower score."""
COLUMNS = ("errs", "packs", "score", "orders", "given", "auto", "told", "ratio", "bound", "at most .45", "violations")
SPENT = ("pilot", "evidence", "calls", "deferred")
"""On what."""


def main() -> None:
    """Run, print."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=12)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--errors", type=float, nargs="+", default=[0.02, 0.05, 0.08, 0.1])
    parser.add_argument("--packs", nargs="+", choices=WRONG, default=list(WRONG))
    args = parser.parse_args()
    orders, rows = (2, 2000) if args.quick else (args.orders, args.rows)
    kinds = [(wrong, knows) for wrong in args.packs for knows in (KNOWS, 0.0)]
    cells = list(spread(cell, [(rows, errs, *kind, orders) for kind in kinds for errs in args.errors], args.jobs))
    show(cells, COLUMNS)
    print("\nspent on, reference-only = 1")
    show([{**each, **each["spent"][run], "run": run} for each in cells for run in RUNS], (*COLUMNS[:3], "run", *SPENT))
    finish({"benchmark": "ways_auto", "rows": rows, "cells": cells}, args.json)


RUNS = {"given": (1,), "auto": (1, 2, 3), "told": (3,)}
"""The ways that each has, by their number."""


def cell(work: tuple[int, float, str, float, int]) -> dict[str, Any]:
    """One kind of candidate: what runs cost, order by order."""
    rows, errs, wrong, knows, orders = work
    spent, broken = {run: np.zeros((orders, len(SPENT))) for run in RUNS}, 0
    for seed in range(orders):
        people = made(rows, errs, WRONG[wrong], knows, seed)
        for run, ways in RUNS.items():
            told, missed_any = played(people, ways, seed)
            spent[run][seed] = told
            broken += missed_any
    cost = {run: each.sum(axis=1) for run, each in spent.items()}
    return {
        "errs": errs,
        "packs": wrong,
        "score": "knows" if knows else "blank",
        "orders": orders,
        **{run: float(each.mean()) for run, each in cost.items()},
        "ratio": float(cost["auto"].mean() / cost["given"].mean()),
        "bound": bound(rows, errs, WRONG[wrong]),
        "at most .45": int((cost["auto"] / cost["given"] <= 0.45).sum()),
        "violations": broken,
        "spent": {run: dict(zip(SPENT, each.mean(axis=0).tolist(), strict=True)) for run, each in spent.items()},
    }


def played(people: Population, ways: Sequence[int], seed: int) -> tuple[list[float], bool]:
    """One run with these ways of the candidate: what was spent on what, and whether the promise was broken."""
    here, rows = some(people, ways), len(people.marks)
    packs, kin = ((1.0, *(float(PACKS[way - 1]) for way in ways)), (0, *[1] * len(ways))) if len(ways) > 1 else ((), ())
    names, rates = tuple(f"pack {PACKS[way - 1]}" for way in ways), tuple(here.cost[0].tolist())
    asked = Problem(rows, 1 - BAD_SHARE, CONFIDENCE, "reference", names, rates, seed, packs=packs, kin=kin)
    outcome, _ = timed("ladder", asked, here)
    evidence = outcome.verdict.evidence.get("mix", outcome.verdict.evidence)
    pilot = evidence["pilot"]["rows"] if isinstance(evidence["pilot"], dict) else evidence["pilot"]
    bought = [pilot, outcome.profiled - pilot, 0.0, outcome.reference_rows - outcome.profiled]
    bought[2] = outcome.cost - sum(bought)
    return [each / rows for each in bought], missed(outcome, asked)


def bound(rows: int, errs: float, wrong: tuple[float, float]) -> float:
    """See above: auto's over given's; 1 where nothing can be delivered whole."""
    share, most = 1 - (1 - errs) * (1 - wrong[0]) * (1 - wrong[1]), float(BAD_SHARE)
    found = []
    for bad, price in ((errs, PRICE), (share, PRICE * tokens(PACKS[-1]) / tokens(1))):
        if bad >= most:
            return 1.0
        apart = bad * np.log(bad / most) if bad else 0.0
        apart += (1 - bad) * np.log((1 - bad) / (1 - most))
        found.append(price + np.log(1 / (1 - float(CONFIDENCE))) / apart / rows)
    return float(found[1] / found[0])


def tokens(pack: int) -> float:
    """Of a row in packs of this size."""
    return INSTRUCTIONS + ROW + ANSWER if pack == 1 else (INSTRUCTIONS + FRAME) / pack + ROW + AROUND + ANSWER


def made(rows: int, errs: float, worse: tuple[float, float], knows: float, seed: int) -> Population:
    """The candidate in its three ways. worse: see `WRONG`."""
    rng = np.random.default_rng([seed, rows])
    own = rng.random(rows) < errs
    marks, cost, score = [np.zeros(rows, bool)], [1.0], [np.full(rows, np.nan)]
    calls = [np.arange(rows)]
    for pack in PACKS:
        call = np.empty(rows, np.int64)
        call[rng.permutation(rows)] = np.arange(rows) // pack
        wrong = own.copy()
        if pack > 1:
            wrong |= (rng.random(rows) < worse[0]) | (rng.random(rows // pack + 1) < worse[1])[call]
        marks.append(wrong)
        cost.append(PRICE * tokens(pack) / tokens(1))
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


def some(people: Population, ways: Sequence[int]) -> Population:
    """The reference and these ways."""
    keep, calls = [0, *ways], people.calls
    assert calls is not None
    return Population(people.marks[:, keep], people.cost[:, keep], people.score[:, keep], None, calls[:, keep])


if __name__ == "__main__":
    main()
