"""Does what ships keep its promise? Random made-up tables, and the worst of them again with many fresh runs.

    python benchmarks/promise.py [--quick] [--jobs 2] [--seed 1] [--cells 200] [--runs 300] [--worst 10]
        [--again 20000] [--only TEXT …] [--procedure ladder] [--json FILE] [--parts FILE]

1. *Scan.* Cells drawn at random (the same for the same --seed, and those of `--cells 100` are the first of
   `--cells 200`): rows, agreement, confidence, bad rows from just over the allowance to three times as many, prices,
   one to four candidates, and everything `made_up` knows. Every one gets a few runs, the quarter that looks worst three
   times as many besides. Runs of large tables take long, so that there are fewer tables of them, and fewer runs.
2. *Again.* The worst of them, and the cells whose promise was once broken (`KNOWN`), on fresh seeds, so that having
   been chosen does not count. BROKEN: the lower limit of the exact 99 % interval (Clopper and Pearson, two-sided) is
   above 1 − confidence. One such cell, and the exit code is 1.

"Worst" is the posterior probability that the rate is above 1 − confidence, so that run counts are taken into account.
A cell where candidates answer more rows than may be bad in at most 1 − confidence of the runs could not break its
promise (`no power`): it proves nothing, and neither would a procedure that grants nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, heading, options, show, spread
from made_up import Cell, Tally, allowed, bad_rows, first_seed, runs
from scipy.stats import beta

from smart_llm import procedures
from smart_llm.stats.clopper_pearson import interval

LEVEL = 0.99
USUAL = 0.6
ROWS = {30: 3, 50: 4, 80: 6, 100: 6, 150: 5, 200: 6, 300: 5, 500: 3, 1000: 2, 2000: 1, 5000: 0.5}
"""How often each is drawn: a run takes .01 to .05 CPU-seconds at 100 rows, .3 to .5 at 5,000."""
AGREEMENTS = {"0.5": 1, "0.6": 1, "0.7": 2, "0.8": 3, "0.9": 3, "0.95": 2, "0.98": 1}
CONFIDENCES = {"0.5": 1, "0.7": 1, "0.8": 1, "0.9": 1, "0.95": 1, "0.99": 1}
OVER = {1.0: 2, 1.05: 2, 1.1: 2, 1.2: 2, 1.35: 2, 1.6: 2, 2.0: 2, 3.0: 1}
PRICES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.36, 0.4, 0.5, 0.7, 0.9)
PRICE_ODDS = np.array([2, 2, 2, 2, 2, 3, 2, 2, 1, 0.5, 0.5]) / 19
COUNTS = {1: 0.35, 2: 0.3, 3: 0.2, 4: 0.15}
ODDS: dict[str, dict[Any, float]] = {
    "answers": {"distinct": 0.4, "labels": 0.4, "rare": 0.1, "usual": 0.1},
    "scores": {
        "none": 0.35, "blind": 0.13, "trap": 0.08, "split": 0.08, "ties": 0.1,
        "top": 0.1, "keen": 0.08, "gaps": 0.04, "lone": 0.04,
    },
    "placed": {"apart": 0.4, "together": 0.3, "beside": 0.3},
    "text": {"none": 0.7, "blind": 0.1, "tells": 0.1, "lures": 0.1},
    "defers": {"none": 0.7, "some": 0.15, "beside": 0.15},
    "costs": {"even": 0.7, "uneven": 0.15, "dear": 0.15},
    "blocks": {False: 0.85, True: 0.15},
    "factors": {1.0: 0.8, 0.3: 0.1, 3.0: 0.1},
}  # fmt: skip
LOST = {(0.0, None): 14, (0.1, None): 2, (0.5, None): 1, (1.0, None): 0.5, (0.1, 0.05): 2, (0.04, 0.05): 1}
"""Rows without an answer as a part of the allowance, and what is set aside for them (None: as many)."""

KNOWN = (
    Cell(200, "0.9", "0.95", (25,), (0.3,)),
    Cell(200, "0.9", "0.8", (25,), (0.3,)),
    Cell(200, "0.9", "0.9", (24,), (0.3,)),
    Cell(100, "0.8", "0.95", (31,), (0.3,)),
    Cell(300, "0.9", "0.95", (36,), (0.3,)),
    Cell(1000, "0.9", "0.95", (112,), (0.3,)),
    Cell(1000, "0.9", "0.95", (118,), (0.3,)),
    Cell(80, "0.8", "0.9", (21, 48), (0.4, 0.36), answers="labels", scores="blind"),
    Cell(80, "0.8", "0.9", (21, 48, 48), (0.4, 0.36, 0.38), answers="labels", scores="blind"),
)
"""Cells whose promise was broken once (by ladder/3: .0654, .25, .138, .062, .066, .059, .059, .145, .145)."""
COLUMNS = ("", "runs", "broken", "rate", "low", "high", "allowed", "granted", "risked", "cost", "seconds", "cell")


def main() -> None:
    """Scan, again, judge, print."""
    args = arguments()
    heading(args)
    name = procedures.resolve(args.procedure)
    cells = [c for c in (*KNOWN, *drawn(args.cells, args.seed)) if any(part in c.name for part in args.only)]
    tallies = scan(cells, name, args)
    scanned = sorted((figures(c, t) for c, t in zip(cells, tallies, strict=True)), key=lambda each: -each["odds"])
    print(f"\nScan: {summary(scanned)}")
    chosen = [c for c in cells if c in KNOWN]
    chosen += sorted((c for c in cells if c not in KNOWN), key=rank(cells, tallies))[: args.worst]
    fresh = measured([(c, "again", args.again) for c in chosen], name, args)
    again = [figures(c, t) for c, t in zip(chosen, fresh, strict=True)]
    print(f"\nAgain on fresh seeds, known cells and the {args.worst} worst: {summary(again)}")
    show(again, COLUMNS)
    broken = [each for each in again if each["low"] > each["allowed"]]
    print(f"{name}: {'BROKEN' if broken else 'holds'}: {len(broken)} of {len(again)} cells are broken promises")
    finish({"benchmark": "promise", "procedure": name, "scan": scanned, "again": again}, args.json)
    sys.exit(bool(broken))


def arguments() -> Any:
    """The options."""
    parser = scan_options(
        __doc__.partition("\n")[0],
        cells=(200, "cells drawn at random, besides those known"),
        runs=(300, "of a cell in the scan (fewer on large tables)"),
        worst=(10, "how many cells run again, besides those known"),
        again=(20_000, "fresh runs of each"),
    )
    args = parser.parse_args()
    if args.quick:
        args.cells, args.runs, args.worst, args.again = 20, 40, 2, 300
    return args


def scan_options(description: str, **numbers: tuple[int, str]) -> argparse.ArgumentParser:
    """The options of a scan over made-up cells."""
    parser = options(description)
    parser.set_defaults(jobs=2)
    parser.add_argument("--seed", type=int, default=1, help="which cells are drawn, and on which seeds they run")
    for option, (value, what) in numbers.items():
        parser.add_argument(f"--{option}", type=int, default=value, help=f"{what} (default {value})")
    parser.add_argument("--only", nargs="+", default=[""], help="only cells whose name contains one of these")
    parser.add_argument("--procedure", default="ladder")
    parser.add_argument(
        "--parts", type=Path, help="keep finished work here, and go on from it (delete it for new code)"
    )
    return parser


# --------------------------------------------------------------------------- cells


def drawn(count: int, seed: int) -> list[Cell]:
    """A random spread of cells."""
    return [draw(np.random.default_rng([seed, number]), number) for number in range(count)]


def draw(rng: np.random.Generator, number: int) -> Cell:
    """One cell; tables that allow no bad row at all are drawn again."""
    rows, agreement = pick(rng, ROWS), pick(rng, AGREEMENTS)
    most = allowed(rows, agreement)
    if most < 1:
        return draw(rng, number)
    part, told = pick(rng, LOST)
    lost = int(np.ceil(part * most))
    first = bad_rows(rows - lost, most - lost, pick(rng, OVER))
    others = rng.choice((1.0, 1.0, 1.3, 2.0, 3.0, 4.0), size=pick(rng, COUNTS) - 1)
    bad = (first, *(int(min(rows - lost - 1, round(first * times))) for times in others))
    prices = tuple(float(price) for price in rng.choice(PRICES, size=len(bad), p=PRICE_ODDS))
    odd = {what: pick(rng, odds) for what, odds in ODDS.items()}
    odd["factors"] = () if odd["factors"] == 1.0 else (odd["factors"],) * len(bad)
    reserve = None if told is None else int(told * most)
    return Cell(rows, agreement, pick(rng, CONFIDENCES), bad, prices, **odd, lost=lost, reserve=reserve, number=number)


def pick(rng: np.random.Generator, odds: dict[Any, float]) -> Any:
    """One of the keys."""
    return list(odds)[rng.choice(len(odds), p=np.array(list(odds.values())) / sum(odds.values()))]


# --------------------------------------------------------------------------- runs


def scan(cells: Sequence[Cell], name: str, args: Any) -> list[Tally]:
    """A few runs of every cell, and more of those that look worst."""
    first = measured([(c, "scan", enough(c, args.runs)) for c in cells], name, args)
    worst = sorted(cells, key=rank(cells, first))[: len(cells) // 4]
    more = measured([(c, "scan on", 3 * enough(c, args.runs)) for c in worst], name, args)
    further = dict(zip(worst, more, strict=True))
    return [tally + further.get(cell, Tally()) for cell, tally in zip(cells, first, strict=True)]


def enough(cell: Cell, count: int) -> int:
    """Runs of a cell in the scan."""
    return count if cell.rows <= 300 else -(-count // (2 if cell.rows <= 1000 else 6))


def measured(work: Sequence[tuple[Cell, str, int]], name: str, args: Any) -> list[Tally]:
    """The tally of each (cell, stage, runs)."""
    pieces = []
    for at, (cell, stage, count) in enumerate(work):
        size, first = max(10, min(250, 25_000 // cell.rows)), first_seed(cell, args.seed, stage)
        pieces += [(at, (cell, name, first + k, min(size, count - k))) for k in range(0, count, size)]
    totals = [Tally() for _ in work]
    for (at, _), part in zip(pieces, resumed([piece for _, piece in pieces], args), strict=True):
        totals[at] += part
    return totals


def resumed(pieces: Sequence[tuple[Cell, str, int, int]], args: Any) -> Iterator[Tally]:
    """The tally of each piece; those finished in an earlier attempt come from the file of --parts."""
    known = finished(args.parts)
    fresh = spread(runs, [piece for piece in pieces if title(piece) not in known], args.jobs)
    for piece in pieces:
        if title(piece) in known:
            yield Tally(**known[title(piece)])
            continue
        yield (part := next(fresh))
        if args.parts:
            with args.parts.open("a") as file:
                file.write(json.dumps({"piece": title(piece), "tally": asdict(part)}) + "\n")


def title(piece: tuple[Cell, str, int, int]) -> str:
    """What a piece of work is kept under."""
    cell, name, first, count = piece
    return f"{name} {first} + {count} {cell.name}"


def finished(file: Path | None) -> dict[str, Any]:
    """Pieces kept earlier."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    return {line["piece"]: line["tally"] for line in map(json.loads, lines)}


# --------------------------------------------------------------------------- figures


def odds_of(cell: Cell, tally: Tally) -> float:
    """Posterior log-odds that the rate is above what is allowed. The prior is that of cells as they come: about
    `USUAL` of what is allowed, worth two broken promises."""
    before = 2 / (USUAL * cell.alpha)
    posterior = beta(2 + tally.broken, before - 2 + tally.runs - tally.broken)
    return float(posterior.logsf(cell.alpha) - posterior.logcdf(cell.alpha))


def rank(cells: Sequence[Cell], tallies: Sequence[Tally]) -> Any:
    """Sorting key: the worst first."""
    odds = {cell: -odds_of(cell, tally) for cell, tally in zip(cells, tallies, strict=True)}
    return odds.__getitem__


def figures(cell: Cell, tally: Tally) -> dict[str, Any]:
    """A cell's line."""
    low, high = interval(tally.broken, tally.runs, LEVEL)
    share = {what: getattr(tally, what) / tally.runs for what in ("granted", "risked", "cost", "seconds")}
    verdict = "BROKEN" if low > cell.alpha else "no power" if share["risked"] <= cell.alpha else "holds"
    rate = tally.broken / tally.runs
    line = {"": verdict, "cell": cell.name, "allowed": cell.alpha, "runs": tally.runs, "broken": tally.broken}
    return line | {"rate": rate, "low": float(low), "high": float(high), **share, "odds": odds_of(cell, tally)}


def summary(lines: Sequence[dict[str, Any]]) -> str:
    """Pooled over cells: how often promises were broken, compared with how often they may be."""
    count, broken = sum(each["runs"] for each in lines), sum(each["broken"] for each in lines)
    may = sum(each["runs"] * each["allowed"] for each in lines)
    powerless = sum(each[""] == "no power" for each in lines)
    granted, cost = (sum(each[what] * each["runs"] for each in lines) / count for what in ("granted", "cost"))
    return (
        f"{len(lines)} cells ({powerless} without power), {count} runs, {broken} broken, {broken / may:.3f} of what is "
        f"allowed; granted in {granted:.3f} of runs, mean cost {cost:.3f}"
    )


if __name__ == "__main__":
    main()
