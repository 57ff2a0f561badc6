"""Recorded answers of real models, no scores used: cost against what a promise costs at least.

    python benchmarks/recorded.py [--quick] [--trials 200] [--procedure NAME …] [--task NAME …] [--allowed .1 …]
    python benchmarks/recorded.py --file TABLE --reference MODEL

`one_look` is the yardstick (benchmarks/one_look.py), `hindsight` the best mix with everything known and nothing
proved, `floor` an early prototype's cost. Table order is shuffled per trial: procedures that hand rows out in file
order would otherwise see one order only.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from common import (
    CONFIDENCE,
    REFERENCES,
    allowance,
    finish,
    known,
    missed,
    need_data,
    options,
    panels,
    ratio,
    show,
    spread,
    timed,
)
from one_look import yardstick

from smart_llm.simulation.drive import Population, prospects
from smart_llm.simulation.recorded import Recorded, load
from smart_llm.simulation.replay import pose, without_scores
from smart_llm.stats.clopper_pearson import upper_limit
from smart_llm.stats.hindsight import best_mix
from smart_llm.types import BAD

AGREEMENTS = ("0.80", "0.90", "0.95")
COLUMNS = (
    "task",
    "agreement",
    "procedure",
    "cost",
    "se",
    "max",
    "floor",
    "one_look",
    "readme",
    "to_look",
    "hindsight",
    "violations",
    "upper",
    "profiled",
    "seconds",
)
FLOOR = {  # prototype's cost / README's one look, at .80 .90 .95
    "hellaswag": ((0.247, 0.572, 0.825), (0.239, 0.414, 0.737)),
    "gsm8k": ((0.124, 0.308, 0.778), (0.101, 0.174, 0.408)),
    "media_bias": ((0.163, 0.612, 0.841), (0.138, 0.505, 0.782)),
    "nq_open_qa": ((0.286, 0.733, 0.896), (0.171, 0.560, 0.801)),
    "product_attributes": ((0.203, 0.635, 0.841), (0.167, 0.563, 0.804)),
    "trec_relevance": ((0.584, 0.817, 0.921), (0.522, 0.771, 0.895)),
    "crux_output": ((0.637, 0.874, 0.950), (0.403, 0.745, 0.897)),
}


def main() -> None:
    """Run, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--procedure", nargs="+", default=["ladder"])
    parser.add_argument("--task", nargs="+", default=list(REFERENCES), choices=REFERENCES)
    parser.add_argument("--agreement", nargs="+", default=list(AGREEMENTS))
    parser.add_argument("--file", type=Path, help="any recorded table, with --reference")
    parser.add_argument("--reference")
    args = parser.parse_args()
    folder = args.file.parent if args.file else need_data("recorded")
    files = {str(args.file): args.reference} if args.file else {t: REFERENCES[t] for t in args.task}
    trials = 6 if args.quick else args.trials
    work = [
        (task, args.file or folder / f"{task}.parquet", reference, agreement, procedure, trials)
        for procedure in known(args.procedure)
        for task, reference in files.items()
        for agreement in args.agreement
    ]
    cells = list(spread(cell, work, args.jobs))
    show(cells, COLUMNS)
    summary = [summarise(name, cells) for name in known(args.procedure)]
    show(summary, list(summary[0]))
    panels("recorded", list(args.agreement), lambda axis, a: draw(axis, [c for c in cells if c["agreement"] == a]))
    finish({"benchmark": "recorded", "trials": trials, "cells": cells, "summary": summary}, args.json)


def cell(work: tuple[str, Path, str, str, str, int]) -> dict[str, Any]:
    """One task at one agreement under one procedure."""
    task, path, reference, agreement, procedure, trials = work
    table = load(path, reference=reference)
    table = replace(table, population=without_scores(table.population))
    ratios, broken, profiled, start = [], 0, [], perf_counter()
    for seed in range(trials):
        shuffled = shuffle(table, seed)
        problem = pose(shuffled, Fraction(agreement), CONFIDENCE, seed)
        outcome, _ = timed(procedure, problem, shuffled.population)
        ratios.append(ratio(outcome, shuffled.population))
        broken += missed(outcome, problem)
        profiled.append(outcome.profiled)
    seconds, mean = (perf_counter() - start) / trials, float(np.mean(ratios))
    look, place = one_look(table, agreement), AGREEMENTS.index(agreement) if agreement in AGREEMENTS else None
    floor, readme = FLOOR.get(task, ((None,) * 3, (None,) * 3))
    return {
        "task": task,
        "agreement": agreement,
        "procedure": procedure,
        "cost": mean,
        "se": float(np.std(ratios, ddof=1) / np.sqrt(trials)) if trials > 1 else None,
        "max": max(ratios),
        "floor": floor[place] if place is not None else None,
        "one_look": look,
        "readme": readme[place] if place is not None else None,
        "to_look": mean / look,
        "hindsight": best_mix(*prospects(table.population), allowed_share(len(table.items), agreement)),
        "violations": broken,
        "upper": float(upper_limit(broken, trials, 0.95)),
        "profiled": float(np.mean(profiled)),
        "seconds": seconds,
    }


def shuffle(table: Recorded, seed: int) -> Recorded:
    """The same rows in another file order."""
    order = np.random.default_rng([seed, 7]).permutation(len(table.items))
    here = table.population
    return replace(table, population=Population(here.marks[order], here.cost[order], here.score[order]))


def one_look(table: Recorded, agreement: str) -> float:
    """The yardstick of this table."""
    population = table.population
    problem = pose(table, Fraction(agreement), CONFIDENCE, 0)
    price = population.cost.sum(axis=0) / population.cost[:, 0].sum()
    bad = (population.marks == BAD).sum(axis=0)
    row_price = prospects(population)[0]
    return yardstick(problem.rows, problem.allowance, bad[1:].tolist(), price[1:].tolist(), row_price[1:])


def allowed_share(rows: int, agreement: str) -> float:
    """B ÷ N."""
    return allowance(rows, str(1 - Fraction(agreement))) / rows


def summarise(name: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Geometric means over a procedure's cells."""
    own = [each for each in cells if each["procedure"] == name]
    known_here = [each for each in own if each["readme"]]
    return {
        "procedure": name,
        "cells": len(own),
        "to_one_look": geometric([each["to_look"] for each in own]),
        "to_readme_look": geometric([each["cost"] / each["readme"] for each in known_here]),
        "to_hindsight": geometric([each["cost"] / each["hindsight"] for each in own]),
        "worst_to_floor": max((each["cost"] / each["floor"] for each in known_here), default=None),
        "look_off_readme": max((abs(each["one_look"] / each["readme"] - 1) for each in known_here), default=None),
        "violations": sum(each["violations"] for each in own),
    }


def geometric(values: list[float]) -> float | None:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values)))) if values else None


def draw(axis: Any, cells: list[dict[str, Any]]) -> None:
    """Cost per task beside the yardsticks."""
    tasks = list(dict.fromkeys(each["task"] for each in cells))
    for name in dict.fromkeys(each["procedure"] for each in cells):
        own = [each for each in cells if each["procedure"] == name]
        axis.plot([tasks.index(c["task"]) for c in own], [c["cost"] for c in own], "o", label=name)
    last = [each for each in cells if each["procedure"] == cells[-1]["procedure"]]
    for kind, marker in (("one_look", "_"), ("hindsight", "x"), ("floor", "+")):
        axis.plot([tasks.index(c["task"]) for c in last], [c[kind] for c in last], marker, ms=11, label=kind)
    axis.set_xticks(range(len(tasks)), [Path(task).stem for task in tasks], rotation=60, fontsize=7)
    axis.set_ylabel("cost ÷ reference on every row")


if __name__ == "__main__":
    main()
