"""What a run costs at most: cost ÷ reference-only, also where candidates are useless or cost far more than expected.

    python benchmarks/ceiling.py [--quick] [--jobs 2] [--seed 1] [--cells 400] [--runs 20] [--worst 10] [--again 400]
        [--only TEXT …] [--procedure ladder] [--json FILE] [--parts FILE]

A grid: rows 30 … 10,000, one to four candidates, their quality, how many times the expected price their calls really
cost, with and without scores; for every cell prices, agreement and confidence are drawn at random. --cells takes so
many of the grid's cells at random (0: all), `KNOWN` ones besides. Costs come from the population, what the procedure is
told from the guess, as when a model says 3,000 tokens where 17 were expected. The cells with the highest mean, and
those with the most expensive run, go again on fresh seeds, which decide.

quality  hopeless  all answers bad      chance  half of them   mediocre  a few more than allowed   good  two fifths
         of the allowance               mixed   each candidate another
draws    a candidate answers a row several times, to see how sure it is: its price is a multiple, its score has ties

Holds where the mean is at most 1.02 and no run costs more than 1.05 (`MEAN`, `WORST`); exit code 1 where a mean on
fresh seeds is above by more than 2.6 standard errors, or a run above.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
from common import finish, heading, show
from made_up import Cell, Tally, allowed
from promise import measured, scan_options

from smart_llm import procedures

MEAN, WORST = 1.02, 1.05
SURE = 2.6
ROWS = (30, 50, 80, 100, 200, 500, 1000, 3000, 10_000)
COUNTS = (1, 2, 3, 4)
QUALITIES = ("hopeless", "chance", "mediocre", "good", "mixed")
FACTORS = (0.3, 1.0, 3.0, 10.0, 60.0, 180.0)
SCORES = ("none", "blind", "keen", "draws")
PRICES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9)
DRAWS = (2, 4, 8)
CALLS = (0.001, 0.005, 0.01, 0.025)
COLUMNS = ("", "runs", "mean", "error", "worst", "granted", "seconds", "cell")

PROMISE = {"agreement": "0.9", "confidence": "0.95"}
KNOWN = (
    Cell(80, bad=(79, 79, 79, 79), prices=(0.2, 0.3, 0.4, 0.5), **PROMISE),
    Cell(80, bad=(79, 79, 79), prices=(0.3, 0.5, 0.7), **PROMISE),
    Cell(100, bad=(99,), prices=(0.5,), **PROMISE),
    Cell(1000, bad=(999, 999, 999), prices=(0.3, 0.5, 0.7), **PROMISE),
    Cell(1000, bad=(20,), prices=(0.04,), scores="keen", factors=(60.0,), **PROMISE),
    Cell(1000, bad=(20,), prices=(0.04,), scores="keen", factors=(155.0,), **PROMISE),
)
"""Cells that cost too much once (ladder/3: means 1.10, 1.09, 1.055, 1.033, 1.9, 4.3; single runs 2.7, 6.5)."""


def main() -> None:
    """Scan, again, print."""
    args = arguments()
    heading(args)
    name = procedures.resolve(args.procedure)
    cells = [c for c in (*KNOWN, *grid(args.cells, args.seed)) if any(part in c.name for part in args.only)]
    first = measured([(c, "ceiling", enough(c, args.runs)) for c in cells], name, args)
    scanned = [figures(c, t) for c, t in zip(cells, first, strict=True)]
    overview(scanned, cells)
    chosen = worst_of(cells, scanned, args.worst)
    fresh = measured([(c, "ceiling again", enough(c, args.again)) for c in chosen], name, args)
    again = [figures(c, t) for c, t in zip(chosen, fresh, strict=True)]
    print("\nAgain on fresh seeds: known cells, and those with the highest mean or the most expensive run")
    show(again, COLUMNS)
    above = [each for each in again if each[""] != "holds"]
    print(f"{name}: {'ABOVE' if above else 'holds'}: {len(above)} of {len(again)} cells cost more than they may")
    finish({"benchmark": "ceiling", "procedure": name, "cells": scanned, "again": again}, args.json)
    sys.exit(bool(above))


def arguments() -> Any:
    """The options."""
    parser = scan_options(
        __doc__.partition("\n")[0],
        cells=(400, "cells of the grid, besides those known; 0: all"),
        runs=(20, "of every cell (fewer on large tables)"),
        worst=(10, "how many cells run again, by their mean and by their most expensive run"),
        again=(400, "fresh runs of each (fewer on large tables)"),
    )
    args = parser.parse_args()
    if args.quick:
        args.cells, args.runs, args.worst, args.again = 40, 4, 2, 30
    return args


def enough(cell: Cell, count: int) -> int:
    """Fewer runs of large tables: they differ little, and take a second."""
    return count if cell.rows <= 1000 else max(min(4, count), count // 5)


# --------------------------------------------------------------------------- cells


def grid(count: int, seed: int) -> list[Cell]:
    """The grid, or so many of its cells at random."""
    whole = list(product(ROWS, COUNTS, QUALITIES, FACTORS, SCORES))
    order = np.random.default_rng(seed).permutation(len(whole))[: count or None]
    return [cell_of(np.random.default_rng([seed, int(k)]), int(k), *whole[k]) for k in order]


def cell_of(
    rng: np.random.Generator, number: int, rows: int, count: int, quality: str, factor: float, scores: str
) -> Cell:
    """A place of the grid, with prices and a promise drawn for it."""
    agreement, confidence = str(rng.choice(("0.7", "0.8", "0.9", "0.95"))), str(rng.choice(("0.8", "0.9", "0.95")))
    prices = np.sort(rng.choice(PRICES, size=count, replace=False))
    if scores == "draws":
        prices = prices * (1 + int(rng.choice(DRAWS)))
    factors = np.full(count, factor)
    if count > 1 and rng.random() < 0.5:  # only one of them is not as expected
        factors[np.arange(count) != rng.integers(count)] = 1.0
    return Cell(
        rows,
        agreement,
        confidence,
        bad=tuple(bad_of(rng, quality, rows, agreement) for _ in range(count)),
        prices=tuple(round(float(price), 3) for price in prices),
        answers=str(rng.choice(("distinct", "labels"))),
        scores="ties" if scores == "draws" else scores,
        placed=str(rng.choice(("apart", "together"))),
        costs=str(rng.choice(("even", "even", "uneven"))),
        factors=tuple(factors.tolist()),
        number=number,
    )


def bad_of(rng: np.random.Generator, quality: str, rows: int, agreement: str) -> int:
    """Bad rows of a candidate of that quality."""
    if quality == "mixed":
        quality = str(rng.choice(QUALITIES[:-1]))
    most = allowed(rows, agreement)
    few = {"hopeless": rows - 1, "chance": rows // 2, "mediocre": round(1.3 * most) + 1, "good": round(0.4 * most)}
    return min(rows - 1, few[quality])


# --------------------------------------------------------------------------- figures


def figures(cell: Cell, tally: Tally) -> dict[str, Any]:
    """A cell's line."""
    mean = tally.cost / tally.runs
    error = max(0.0, tally.square / tally.runs - mean**2) ** 0.5 / max(1, tally.runs - 1) ** 0.5
    verdict = "MEAN" if mean - SURE * error > MEAN else "WORST" if tally.dearest > WORST else "holds"
    shares = {"granted": tally.granted / tally.runs, "seconds": tally.seconds / tally.runs}
    line = {"": verdict, "runs": tally.runs, "mean": mean, "error": error, "worst": tally.dearest}
    return line | shares | {"cell": cell.name}


def worst_of(cells: Sequence[Cell], lines: Sequence[dict[str, Any]], count: int) -> list[Cell]:
    """Those known, those of the highest mean, and those of the most expensive run."""
    kept = [cell for cell in cells if cell in KNOWN]
    for what in ("mean", "worst"):
        order = sorted(range(len(cells)), key=lambda k: -lines[k][what])
        kept += [cells[k] for k in order if cells[k] not in kept][:count]
    return kept


def overview(lines: Sequence[dict[str, Any]], cells: Sequence[Cell]) -> None:
    """Shares of cells within the limits, and the worst of them, by rows and by what calls cost."""
    print(f"\n{len(lines)} cells: {within(lines)}")
    pairs = list(zip(cells, lines, strict=True))
    for title, key in GROUPS.items():
        groups = {value: [line for cell, line in pairs if key(cell) == value] for value in sorted(set(map(key, cells)))}
        print()
        show([{title: value} | extremes(group) for value, group in groups.items()], (title, *extremes(lines)))


def within(lines: Sequence[dict[str, Any]]) -> str:
    """How many keep to the limits."""
    mean, worst, both = (
        sum(map(kept, lines)) / len(lines)
        for kept in (
            lambda each: each["mean"] <= MEAN,
            lambda each: each["worst"] <= WORST,
            lambda each: each["mean"] <= MEAN and each["worst"] <= WORST,
        )
    )
    return f"mean ≤ {MEAN} in {mean:.3f} of them, worst run ≤ {WORST} in {worst:.3f}, both in {both:.3f}"


def extremes(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of a group of cells."""
    return {
        "cells": len(lines),
        "mean ≤ limit": share(each["mean"] <= MEAN for each in lines),
        "worst ≤ limit": share(each["worst"] <= WORST for each in lines),
        "highest mean": max(each["mean"] for each in lines),
        "worst run": max(each["worst"] for each in lines),
    }


def share(yes: Iterable[bool]) -> float:
    """Of those that are true."""
    return float(np.mean(list(yes)))


def one_call(cell: Cell) -> str:
    """What a single call of the most expensive candidate costs, as a share of reference-only: who asks, pays it."""
    factors = cell.factors or (1.0,) * len(cell.prices)
    part = max(price * factor for price, factor in zip(cell.prices, factors, strict=True)) / cell.rows
    return next((f"to {limit:.3f}" for limit in CALLS if part <= limit), f"upwards of {CALLS[-1]:.3f}")


GROUPS = {
    "rows": lambda cell: cell.rows,
    "candidates": lambda cell: len(cell.prices),
    "factor": lambda cell: max(cell.factors, default=1.0),
    "one call": one_call,
}


if __name__ == "__main__":
    main()
