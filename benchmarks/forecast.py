"""Forecasts against what happens: do nominal 95 % intervals of the cost, made from a pilot, hold the actual cost?

    python benchmarks/forecast.py [--quick] [--jobs 2] [--runs 50] [--seed 1] [--pilot 50] [--cells …] [--seconds S]

A simulated run: a table, a pilot of so many random rows, the forecast that `smart plan --pilot` makes of them, and
then the run itself (the shipped default) with those rows set aside: its whole cost, the pilot's calls included, lies in
the interval or not. Runs take turns over the cells: synthetic tables, drawn anew for every run, and recorded answers of
real models where ../shared is there. The figures asked for: at least 44 of 50 inside, median width at most .40 of the
cost of the reference on every row. `guess` is the interval from priors alone, for comparison.

plain   two candidates, 3 % and 10 % bad, no scores        scored  the same with scores that know something
line    one candidate, as many bad as allowed              poor    30 % and 45 % bad
five    five candidates of all prices and rates            defers  a tenth of the answers break the contract
like    two candidates that are bad on the same rows       dear    a candidate at half the reference's price
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from common import CONFIDENCE, DATA, REFERENCES, finish, options, panels, show, spread

from smart_llm import procedures
from smart_llm.planning.forecast import Effort, guess, simulated
from smart_llm.simulation.drive import Population, seen_of, simulate
from smart_llm.simulation.recorded import load
from smart_llm.types import AGREE, BAD, DEFER, Answers, Problem, Traits


@dataclass(frozen=True)
class Cell:
    """A kind of table. rates: prices of the candidates, the reference's is 1; bad: their shares of bad rows."""

    name: str
    rows: int
    agreement: str
    prices: tuple[float, ...] = ()
    bad: tuple[float, ...] = ()


SYNTHETIC = [
    Cell("plain", 2000, "0.90", (0.1, 0.03), (0.03, 0.10)),
    Cell("scored", 3000, "0.90", (0.1, 0.03), (0.04, 0.15)),
    Cell("line", 2000, "0.95", (0.08,), (0.05,)),
    Cell("poor", 2000, "0.90", (0.1, 0.03), (0.30, 0.45)),
    Cell("five", 4000, "0.90", (0.4, 0.2, 0.1, 0.05, 0.02), (0.02, 0.05, 0.08, 0.15, 0.30)),
    Cell("defers", 2000, "0.90", (0.1,), (0.04,)),
    Cell("like", 2000, "0.85", (0.1, 0.05), (0.10, 0.14)),
    Cell("dear", 2000, "0.95", (0.5,), (0.02,)),
]
RECORDED = [
    Cell("hellaswag", 0, "0.90"),
    Cell("gsm8k", 0, "0.95"),
    Cell("media_bias", 0, "0.80"),
    Cell("product_attributes", 0, "0.90"),
    Cell("trec_relevance", 0, "0.80"),
]


def table(cell: Cell, seed: int) -> Population:
    """The cell's table; synthetic ones are drawn."""
    if not cell.rows:
        path = DATA / "recorded" / f"{cell.name}.parquet"
        return load(path, reference=REFERENCES[cell.name]).population
    rng = np.random.default_rng([seed, cell.rows, len(cell.bad)])
    place = rng.random((cell.rows, len(cell.bad)))
    if cell.name == "like":
        place[:] = place[:, :1]
    power = 2.0 if cell.name == "scored" else 0.0
    chance = np.array(cell.bad) * (1 + power) * place**power
    drawn = rng.random((cell.rows, 1)) if cell.name == "like" else rng.random(place.shape)
    marks = np.column_stack([np.zeros(cell.rows), np.where(drawn < chance, BAD, AGREE)]).astype(np.int8)
    if cell.name == "defers":
        marks[rng.random(cell.rows) < 0.1, 1] = DEFER
    score = np.full(marks.shape, np.nan)
    if cell.name == "scored":
        score[:, 1:] = np.log(1 - place / 2)
    cost = np.r_[1.0, cell.prices] * rng.lognormal(0, 0.4, (cell.rows, 1))
    truth = rng.integers(1, 5, cell.rows)
    key = np.where(marks == BAD, truth[:, None] % 4 + 1, truth[:, None]).astype(np.int64)
    return Population(marks, cost, score, Traits(key, np.full(marks.shape, 3.0), cost[:, 0] * 100))


def part(population: Population, rows: Any) -> Population:
    """Some of its rows."""
    traits = population.traits
    told = None if traits is None else seen_of(traits, rows, np.ones(population.marks.shape[1], bool))
    return Population(population.marks[rows], population.cost[rows], population.score[rows], told)


def one(work: tuple[Cell, int, int, float]) -> dict[str, Any]:
    """One run: forecast, and what it really cost, as shares of the reference on every row."""
    cell, seed, pilot, seconds = work
    whole = table(cell, seed)
    rows = len(whole.marks)
    order = np.random.default_rng([seed, 77]).permutation(rows)
    aside, left = np.sort(order[:pilot]), np.sort(order[pilot:])
    names = tuple(f"m{j}" for j in range(1, whole.marks.shape[1]))
    rates = tuple(whole.cost.mean(axis=0).tolist())
    task = Problem(rows - pilot, Fraction(cell.agreement), CONFIDENCE, "r", names, rates, seed, set_aside=pilot)
    shown = part(whole, aside)
    sheet = Answers(shown.marks, shown.cost, shown.score, shown.traits)
    told = simulated("ladder", task, sheet, effort=Effort(seconds=seconds), seed=seed)
    alone, spent = float(whole.cost[:, 0].sum()), float(shown.cost.sum())
    done = simulate(procedures.get("ladder"), replace(task, seed=seed + 10**6), part(whole, left))
    cost = (spent + done.cost) / alone
    # the forecast is of the rows left; the pilot is paid and known
    share = shown.cost[:, 0].mean() * len(left) / alone
    known, blind = spent / alone, guess(task)
    low, high = known + told.low * share, known + told.high * share
    return {
        "cell": f"{cell.name} {cell.agreement}",
        "cost": cost,
        "expected": known + told.expected * share,
        "low": low,
        "high": high,
        "width": high - low,
        "inside": bool(low <= cost <= high),
        "guess_inside": bool(blind.low <= cost <= blind.high),
        "guess_width": blind.high - blind.low,
        "simulated": told.runs,
    }


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__ or "")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--pilot", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1e9, help="seconds of simulating a forecast may take")
    parser.add_argument("--cells", nargs="*", default=[], help="only cells whose name contains one of these")
    asked = parser.parse_args()
    there = [*SYNTHETIC, *(RECORDED if (DATA / "recorded").exists() else [])]
    cells = [cell for cell in there if not asked.cells or any(part in cell.name for part in asked.cells)]
    count = 4 if asked.quick else asked.runs
    work = [(cells[k % len(cells)], asked.seed + k, asked.pilot, asked.seconds) for k in range(count)]
    runs = list(spread(one, work, asked.jobs))
    show(runs, ["cell", "cost", "expected", "low", "high", "inside", "simulated", "guess_inside", "guess_width"])
    figures = {
        "benchmark": "forecast",
        "runs": len(runs),
        "pilot": asked.pilot,
        "inside": sum(each["inside"] for each in runs),
        "median_width": float(np.median([each["width"] for each in runs])),
        "mean_error": float(np.mean([each["expected"] - each["cost"] for each in runs])),
        "guess_inside": sum(each["guess_inside"] for each in runs),
        "guess_median_width": float(np.median([each["guess_width"] for each in runs])),
        "each": runs,
    }
    print(
        f"inside {figures['inside']} of {figures['runs']} (asked: 44 of 50), median width "
        f"{figures['median_width']:.3f} (asked: .40); from priors alone {figures['guess_inside']} inside, "
        f"{figures['guess_median_width']:.3f} wide"
    )
    panels("forecast", ["cost ÷ reference-only"], lambda axis, _: draw(axis, runs))
    finish(figures, asked.json)


def draw(axis: Any, runs: list[dict[str, Any]]) -> None:
    """Every run's interval and actual cost, by cost."""
    runs = sorted(runs, key=lambda each: float(each["cost"]))
    places = range(len(runs))
    axis.vlines(places, [r["low"] for r in runs], [r["high"] for r in runs], color="gray", label="95 % interval")
    axis.plot(places, [r["cost"] for r in runs], "k.", ms=4, label="actual cost")


if __name__ == "__main__":
    main()
