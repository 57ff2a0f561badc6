"""The paper's experiment: saving by task, allowed disagreement and procedure, on the paper's populations.

    python benchmarks/paper_table.py [--quick] [--seeds 20] [--procedure NAME …] [--task NAME …] [--allowed .05 …]

Saving is reference-only cost ÷ mean cost over the seeds, ± one standard error. `target` is the figure to reach: for
`smart/2024:model-mix` the published one with its unit cost repaired, for the default the floor of this project.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import finish, known, missed, options, panels, paper_population, ratio, show, spread, timed

TASKS = ("imdb", "sms_spam", "ag_news")
ALLOWED = ("0.02", "0.04", "0.05", "0.06", "0.08", "0.10", "0.12", "0.14", "0.16", "0.18", "0.20")
COLUMNS = (
    "task",
    "allowed",
    "procedure",
    "saving",
    "se",
    "target",
    "agreement_mean",
    "violations",
    "profiled",
    "worst_ratio",
    "seconds",
)
REPAIRED = {"imdb": (23.3, 29.9), "sms_spam": (16.0, 24.7), "ag_news": (21.8, 29.9)}
FLOORS = {"imdb": (1.6, 10, 22.8, 28.2), "sms_spam": (1.23, 2.4, 10.2, 21.8), "ag_news": (1.36, 3.7, 18.8, 28.3)}
PUBLISHED = {"imdb": (1.36, 13.1), "sms_spam": (1.16, 2.1), "ag_news": (1.13, 2.5)}


def main() -> None:
    """Run, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--procedure", nargs="+", default=["ladder", "smart/2024:model-mix", "smart/2024:profile-smart"]
    )
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--allowed", nargs="+", default=list(ALLOWED))
    args = parser.parse_args()
    seeds, allowed = (4, ("0.02", "0.05", "0.10", "0.20")) if args.quick else (args.seeds, tuple(args.allowed))
    work = [(t, a, p, seeds) for p in known(args.procedure) for t in args.task for a in allowed]
    cells = list(spread(cell, work, args.jobs))
    show(cells, COLUMNS)
    panels("paper_table", args.task, lambda axis, task: draw(axis, [each for each in cells if each["task"] == task]))
    finish({"benchmark": "paper_table", "seeds": seeds, "cells": cells}, args.json)


def cell(work: tuple[str, str, str, int]) -> dict[str, Any]:
    """One task at one allowed disagreement under one procedure."""
    task, allowed, procedure, seeds = work
    ratios, misses, broken, profiled, seconds = [], [], 0, [], []
    for seed in range(seeds):
        problem, population = paper_population(task, allowed, seed)
        outcome, took = timed(procedure, problem, population)
        ratios.append(ratio(outcome, population))
        misses.append(outcome.misses / problem.rows)
        broken += missed(outcome, problem)
        profiled.append(outcome.profiled)
        seconds.append(took)
    mean, error = float(np.mean(ratios)), float(np.std(ratios, ddof=1) / np.sqrt(seeds)) if seeds > 1 else 0.0
    return {
        "task": task,
        "allowed": allowed,
        "procedure": procedure,
        "saving": 1 / mean,
        "se": error / mean**2,
        "target": target(task, allowed, procedure),
        "agreement_mean": 1 - float(np.mean(misses)),
        "violations": broken,
        "profiled": float(np.mean(profiled)),
        "worst_ratio": max(ratios),
        "seconds": float(np.mean(seconds)),
    }


def target(task: str, allowed: str, procedure: str) -> float | None:
    """What this cell is measured against."""
    places = {"0.02": 0, "0.05": 1, "0.10": 2, "0.20": 3}
    if allowed not in places:
        return None
    if procedure == "smart/2024:model-mix":
        return (*PUBLISHED[task], *REPAIRED[task])[places[allowed]]
    return None if procedure.startswith("smart/") else FLOORS[task][places[allowed]]


def draw(axis: Any, cells: list[dict[str, Any]]) -> None:
    """Saving against allowed disagreement, one line per procedure."""
    for name in dict.fromkeys(each["procedure"] for each in cells):
        own = [each for each in cells if each["procedure"] == name]
        axis.errorbar(
            [float(each["allowed"]) for each in own],
            [each["saving"] for each in own],
            yerr=[each["se"] for each in own],
            marker="o",
            ms=3,
            label=name,
        )
    axis.set_yscale("log")
    axis.set_xlabel("allowed disagreement")
    axis.set_ylabel("saving (reference-only ÷ cost)")


if __name__ == "__main__":
    main()
