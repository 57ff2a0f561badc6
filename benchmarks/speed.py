"""How long decisions take on the paper's largest table: N = 127,600, five candidates, CPU time.

    python benchmarks/speed.py [--quick] [--seeds 10] [--allowed .05 …] [--procedure NAME]

Every run starts with nothing remembered of the runs before. *look*: a decision between two rounds of questions;
*plan*: the one decision that makes the stopping tables, told apart because it happens once a run; *replay*: all
decisions and the delivery, on answers known beforehand. Milliseconds of CPU; use one BLAS thread.
"""

from __future__ import annotations

from functools import _lru_cache_wrapper
from time import process_time
from typing import Any

import numpy as np
from common import finish, known, options, paper_population, show, spread

from smart_llm import procedures
from smart_llm.procedures.mix import forecast as planning
from smart_llm.simulation.drive import simulate
from smart_llm.stats import sequential
from smart_llm.types import Answers, Ask, Problem, Procedure, Verdict

COLUMNS = ("allowed", "runs", "looks", "look_median", "look_worst", "plan_median", "plan_worst", "replay", "worst")


def main() -> None:
    """Run, print."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--task", default="ag_news", choices=("imdb", "sms_spam", "ag_news"))
    parser.add_argument("--allowed", nargs="+", default=["0.02", "0.05", "0.10", "0.20"])
    parser.add_argument("--procedure", default="ladder")
    args = parser.parse_args()
    (name,) = known([args.procedure])
    seeds = 2 if args.quick else args.seeds
    cells = list(spread(cell, [(args.task, each, name, seeds) for each in args.allowed], args.jobs))
    show(cells, COLUMNS)
    finish({"benchmark": "speed", "procedure": name, "task": args.task, "cells": cells}, args.json)


def cell(work: tuple[str, str, str, int]) -> dict[str, Any]:
    """One allowed disagreement."""
    task, allowed, name, seeds = work
    looks: list[float] = []
    plans: list[float] = []
    replays: list[float] = []
    for seed in range(seeds):
        problem, population = paper_population(task, allowed, seed)
        forget()
        watch = Stopwatch(procedures.get(name))
        start = process_time()
        simulate(watch.procedure, problem, population)
        replays.append(1000 * (process_time() - start))
        looks += watch.looks
        plans.append(watch.plan)
    return {
        "allowed": allowed,
        "runs": seeds,
        "looks": len(looks) / seeds,
        "look_median": float(np.median(looks)),
        "look_worst": max(looks),
        "plan_median": float(np.median(plans)),
        "plan_worst": max(plans),
        "replay": float(np.mean(replays)),
        "worst": max(replays),
    }


def forget() -> None:
    """Empty every memory of forecasts and designs, so that no run profits from the one before."""
    for module in (planning, sequential):
        for each in vars(module).values():
            if isinstance(each, _lru_cache_wrapper):
                each.cache_clear()


class Stopwatch:
    """A procedure whose decisions are timed. A decision that makes a design counts as `plan`, not among `looks`."""

    def __init__(self, procedure: Procedure) -> None:
        self.inner, self.looks, self.plan = procedure, [0.0][:0], 0.0

    def procedure(self, problem: Problem) -> Any:
        """The same questions and verdict."""
        conversation = self.inner(problem)
        answers: Answers | None = None
        while True:
            made, start = planning.design_for.cache_info().misses, process_time()
            try:
                ask: Ask = next(conversation) if answers is None else conversation.send(answers)
            except StopIteration as stop:
                verdict: Verdict = stop.value
                return verdict
            finally:
                took = 1000 * (process_time() - start)
                if planning.design_for.cache_info().misses > made:
                    self.plan += took
                else:
                    self.looks.append(took)
            answers = yield ask


if __name__ == "__main__":
    main()
