"""Many ways of answering: what choosing among 24 of them costs beside being told the best one.

    python benchmarks/ways.py [--quick] [--jobs 2] [--trials 12] [--worlds 6] [--rows 5000 100000] [--task NAME …]

Three recorded candidates, eight ways each: asked row by row, in packs of 8 and of 32, each of these with the whole
prompt and with a short one, and with the beginning of the text row by row and in packs of 8. A *world* draws how much
worse each way is: a share of further bad rows, uniform between 0 and what `WAYS` says; half of those of a pack are
whole packs that go wrong together. Prices are those recorded times what `WAYS` says. Rows are drawn with replacement
from the recorded ones; which of them share a call is a random cut, fixed per world. The run that is told the best way
has that candidate alone: of the ways whose cost with everything known is least, the one whose runs cost least in the
mean, at other seeds than those that are compared (the least of several means of the same runs would be too low). Unit:
the reference on every row.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from common import CONFIDENCE, REFERENCES, finish, missed, need_data, options, panels, ratio, show, spread, timed

from smart_llm.procedures.ladder.sieve import HOPE
from smart_llm.simulation.drive import Population
from smart_llm.simulation.recorded import load
from smart_llm.types import AGREE, BAD, Problem

WAYS = (
    (1, 1.0, 0.0),
    (8, 0.30, 0.01),
    (32, 0.18, 0.03),
    (1, 0.60, 0.04),
    (8, 0.20, 0.05),
    (32, 0.14, 0.07),
    (1, 0.50, 0.06),
    (8, 0.18, 0.07),
)
"""Rows in a call, price beside the first way, and the largest share of further bad rows."""
TASKS = {
    "mmlu": ("llama3.2-3b", "gpt-4o-mini", "llama3.1-8b"),
    "hellaswag": ("qwen-1_8b", "qwen-7b", "qwen-14b"),
    "gsm8k": ("Meta-Llama-3.1-8B-Instruct", "gpt-4o-mini-2024-07-18", "gemini-1.5-flash"),
    "crux_output": ("gpt-4o-mini-2024-07-18", "gemini-1.5-flash", "claude-3-haiku-20240307"),
    "media_bias": ("zephyr-7b-beta", "mixtral-8x7b-instruct", "gpt-3.5-turbo"),
}
CLOSE = 3
"""Ways that are tried alone, to find the best one."""
COLUMNS = ("task", "rows", "world", "told", "chosen", "over", "se", "kept", "violations", "seconds")


def main() -> None:
    """Run, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--worlds", type=int, default=6)
    parser.add_argument("--rows", type=int, nargs="+", default=[5000, 100_000])
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--agreement", default="0.90")
    args = parser.parse_args()
    need_data("recorded")
    trials, worlds = (3, 1) if args.quick else (args.trials, args.worlds)
    rows = [2000] if args.quick else args.rows
    work = [(task, n, w, args.agreement, trials) for n in rows for task in args.task for w in range(worlds)]
    cells = list(spread(cell, work, args.jobs))
    show(cells, COLUMNS)
    summary = [
        {
            "rows": n,
            "told": float(np.mean([each["told"] for each in cells if each["rows"] == n])),
            "over": float(np.mean([each["over"] for each in cells if each["rows"] == n])),
            "worst": max(each["over"] for each in cells if each["rows"] == n),
            "violations": sum(each["violations"] for each in cells if each["rows"] == n),
            "runs": trials * sum(each["rows"] == n for each in cells),
        }
        for n in rows
    ]
    show(summary, list(summary[0]))
    panels("ways", [f"{n:,} rows" for n in rows], lambda axis, title: draw(axis, title, cells))
    finish({"benchmark": "ways", "trials": trials, "cells": cells, "summary": summary}, args.json)


def cell(work: tuple[str, int, int, str, int]) -> dict[str, Any]:
    """One world: what runs that choose cost, and what runs that are told cost."""
    task, rows, world, agreement, trials = work
    people, packs, kin = made(task, rows, world)

    def alone(j: int, seed: int) -> float:
        """What a run costs that has this way alone."""
        single = only(people, j)
        return ratio(timed("ladder", problem(single, (1.0, packs[j]), (), agreement, seed), single)[0], single)

    others = range(trials, 2 * trials)
    known = min(best(people, agreement), key=lambda j: np.mean([alone(j, seed) for seed in others]))
    told = [alone(known, seed) for seed in range(trials)]
    chosen, broken, kept, seconds = [], 0, [], 0.0
    for seed in range(trials):
        asked = problem(people, packs, kin, agreement, seed)
        outcome, took = timed("ladder", asked, people)
        chosen.append(ratio(outcome, people))
        broken += missed(outcome, asked)
        kept.append(int((np.bincount(outcome.delivered_by, minlength=len(packs))[1:] > 0).sum()))
        seconds += took
    over = np.array(chosen) - np.array(told)
    return {
        "task": task,
        "rows": rows,
        "world": world,
        "told": float(np.mean(told)),
        "chosen": float(np.mean(chosen)),
        "over": float(np.mean(over)),
        "se": float(np.std(over, ddof=1) / np.sqrt(trials)) if trials > 1 else None,
        "kept": float(np.mean(kept)),
        "violations": broken,
        "seconds": seconds / trials,
    }


def made(task: str, rows: int, world: int) -> tuple[Population, tuple[float, ...], tuple[int, ...]]:
    """A population of all ways, the rows that share a call, and the model behind each way."""
    rng = np.random.default_rng([len(task), world, rows])
    table = load(
        need_data("recorded") / f"{task}.parquet", reference=REFERENCES.get(task, "gpt-4o"), candidates=TASKS[task]
    )
    drawn = rng.integers(0, len(table.items), rows)
    known = table.population
    marks, cost, score = [known.marks[drawn, 0]], [known.cost[drawn, 0]], [known.score[drawn, 0]]
    calls, packs, kin = [np.arange(rows)], [1.0], [0]
    for model in range(1, known.marks.shape[1]):
        for pack, price, most in WAYS:
            call = np.empty(rows, np.int64)
            call[rng.permutation(rows)] = np.arange(rows) // pack
            extra = rng.uniform(0, most) * (0.5 if pack > 1 else 1.0)
            worse = rng.random(rows) < extra
            if pack > 1:
                worse |= (rng.random(rows // pack + 1) < extra)[call]
            own = known.marks[drawn, model]
            marks.append(np.where(worse & (own == AGREE), BAD, own).astype(np.int8))
            cost.append(known.cost[drawn, model] * price)
            score.append(known.score[drawn, model])
            calls.append(call)
            packs.append(float(pack))
            kin.append(model)
    shape = tuple(np.stack(each, axis=1) for each in (marks, cost, score, calls))
    return Population(shape[0], shape[1], shape[2], None, shape[3]), tuple(packs), tuple(kin)


def problem(people: Population, packs: tuple[float, ...], kin: tuple[int, ...], agreement: str, seed: int) -> Problem:
    """What is asked of it."""
    rates = tuple(float(rate) for rate in people.cost.mean(axis=0))
    names = tuple(f"way {j}" for j in range(1, len(rates)))
    rows = len(people.marks)
    return Problem(rows, Fraction(agreement), CONFIDENCE, "reference", names, rates, seed, packs=packs, kin=kin)


def best(people: Population, agreement: str) -> list[int]:
    """The ways that cost least with everything known, by the sieve's own formula."""
    price = people.cost.sum(axis=0) / people.cost[:, 0].sum()
    bad = (people.marks == BAD).mean(axis=0)
    cost = price + HOPE * np.maximum(0, 1 - (1 - float(agreement)) / np.maximum(bad, 1e-9))
    return (1 + np.argsort(cost[1:])[:CLOSE]).tolist()


def only(people: Population, way: int) -> Population:
    """The reference and one way."""
    keep = [0, way]
    assert people.calls is not None
    return replace(
        people,
        marks=people.marks[:, keep],
        cost=people.cost[:, keep],
        score=people.score[:, keep],
        calls=people.calls[:, keep],
    )


def draw(axis: Any, title: str, cells: list[dict[str, Any]]) -> None:
    """Cost of choosing against cost when told."""
    here = [each for each in cells if f"{each['rows']:,} rows" == title]
    for task in dict.fromkeys(each["task"] for each in here):
        own = [each for each in here if each["task"] == task]
        axis.scatter([each["told"] for each in own], [each["chosen"] for each in own], s=14, label=task)
    top = max((each["chosen"] for each in here), default=1.0)
    axis.plot([0, top], [0, top], linewidth=0.8, color="grey")
    axis.set_xlabel("told the best way")
    axis.set_ylabel("choosing among 24")
    axis.legend(fontsize=6)


if __name__ == "__main__":
    main()
