"""Everybody on the same recorded answers at the same confidence: cost against agreement, violations beside it.

    python benchmarks/peers.py [--quick] [--trials 200] [--task hellaswag …] [--agreement .80 .90 .95] [--small]
    python benchmarks/peers.py --file TABLE --reference MODEL

ours      the default procedure, told nothing but the candidates' names and prices
mix       the same without scores: a blind share of the rows
shuffled  ours, with scores and traits dealt out to other rows: knows nothing, must cost next to nothing
smart     the published procedure (`smart/2024`)
bargain   `bargain==0.1.3` (PyPI) with each candidate as its proxy in turn, every other setting its default; `bargain
          best` is the candidate with the least mean cost, which nobody could have told it. Left out, with a word, where
          the package is not installed. It is slow, so it gets --peer-trials.

--small cuts a table to 1,500 random rows (another cut in each trial) and reprices two candidates (--reprice) to a third
of the reference. A row's cost counts every call made for it; `reference only` is 1 by definition.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from common import CONFIDENCE, REFERENCES, finish, missed, need_data, options, panels, ratio, show, spread, timed

from smart_llm import procedures
from smart_llm.engine.drive import Population
from smart_llm.engine.recorded import Recorded, load
from smart_llm.engine.replay import pose, without_scores
from smart_llm.stats.clopper_pearson import upper_limit
from smart_llm.types import AGREE, Traits

try:
    import BARGAIN
except ImportError:
    BARGAIN = None

OURS = "ladder/3"
SMALL = 1500
VERDICTS = ("nq_open_qa",)
"""Tasks whose answers are verdicts on the reference's: only the text may be looked at."""
COLUMNS = ("task", "agreement", "who", "cost", "se", "max", "violations", "lower", "trials", "routed")


def main() -> None:
    """Run, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--peer-trials", type=int, default=20, help="of bargain and smart")
    parser.add_argument("--task", nargs="+", default=["hellaswag"], choices=REFERENCES)
    parser.add_argument("--agreement", nargs="+", default=["0.80", "0.90", "0.95"])
    parser.add_argument("--who", nargs="+", default=["ours", "mix", "shuffled", "smart", "bargain"])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} random rows, two candidates repriced")
    parser.add_argument("--reprice", nargs="+", default=["qwen-14b", "yi-6b"], help="with --small: to a third")
    parser.add_argument("--file", type=Path, help="any recorded table, with --reference")
    parser.add_argument("--reference")
    args = parser.parse_args()
    if args.quick:
        args.trials, args.peer_trials, args.agreement = 4, 1, ["0.90"]
    if "bargain" in args.who and BARGAIN is None:
        print("bargain left out: it is not installed (pip install bargain==0.1.3).", file=sys.stderr)
        args.who.remove("bargain")
    folder = args.file.parent if args.file else need_data("recorded")
    files = {args.file: args.reference} if args.file else {folder / f"{t}.parquet": REFERENCES[t] for t in args.task}
    work = [(path, ref, a, who, args) for path, ref in files.items() for a in args.agreement for who in args.who]
    cells = [line for lines in spread(cell, work, args.jobs) for line in lines]
    show(cells, COLUMNS)
    panels(
        "peers", [path.stem for path in files], lambda axis, task: draw(axis, [c for c in cells if c["task"] == task])
    )
    finish({"benchmark": "peers", "small": args.small, "cells": cells}, args.json)


def cell(work: tuple[Path, str, str, str, Any]) -> list[dict[str, Any]]:
    """One table at one agreement for one of the peers: a line, or one per candidate and the best of them."""
    path, reference, agreement, who, args = work
    table = prepared(load(path, reference=reference), path.stem)
    trials = args.peer_trials if who in ("bargain", "smart") else args.trials
    runs = {
        "ours": lambda t, s: ours(t, agreement, s, OURS),
        "mix": lambda t, s: ours(blind(t), agreement, s, OURS),
        "shuffled": lambda t, s: ours(dealt(t, s), agreement, s, OURS),
        "smart": lambda t, s: ours(blind(t), agreement, s, "smart/2024"),
    }
    if who != "bargain":
        return [line(path.stem, agreement, who, [runs[who](cut(table, args, s), s) for s in range(trials)])]
    lines = []
    for j, name in enumerate(table.models[1:], 1):
        if np.isnan(table.population.score[:, j]).all():
            continue  # it needs a score
        results = [bargain(cut(table, args, s), agreement, s, j) for s in range(trials)]
        lines.append(line(path.stem, agreement, f"bargain {name}", results))
    best = min(lines, key=lambda each: each["cost"], default=None)
    return [*lines, best | {"who": "bargain best"}] if best else []


def line(task: str, agreement: str, who: str, results: list[tuple[float, bool, bool]]) -> dict[str, Any]:
    """The figures of some runs: (cost, target missed, routed by row)."""
    costs, broken, routed = (np.array(part, dtype=float) for part in zip(*results, strict=True))
    trials, count = len(costs), int(broken.sum())
    return {
        "task": task,
        "agreement": agreement,
        "who": who,
        "cost": float(costs.mean()),
        "se": float(costs.std(ddof=1) / np.sqrt(trials)) if trials > 1 else None,
        "max": float(costs.max()),
        "violations": count,
        "lower": 1 - float(upper_limit(trials - count, trials, 0.95)),
        "trials": trials,
        "routed": float(routed.mean()),
    }


def ours(table: Recorded, agreement: str, seed: int, name: str) -> tuple[float, bool, bool]:
    """One run of one of our procedures."""
    problem = pose(table, Fraction(agreement), CONFIDENCE, seed)
    outcome, _ = timed(procedures.resolve(name), problem, table.population)
    return ratio(outcome, table.population), missed(outcome, problem), hasattr(outcome.verdict.rule, "tiers")


def prepared(table: Recorded, task: str) -> Recorded:
    """The table as its scores may see it."""
    traits = table.population.traits
    if task not in VERDICTS or traits is None:
        return table
    known = (traits.key != 0) * np.arange(1, 1 + traits.key.shape[1])  # answered or not, nothing else
    hidden = Traits(known.astype(np.int64), np.full(traits.length.shape, np.nan), traits.text)
    return replace(table, population=replace(table.population, traits=hidden))


def blind(table: Recorded) -> Recorded:
    """The table without anything to score by."""
    return replace(table, population=without_scores(table.population))


def dealt(table: Recorded, seed: int) -> Recorded:
    """The table with every row's scores and traits dealt to another row (each model's answers by themselves)."""
    rng, here = np.random.default_rng([seed, 3]), table.population
    order = [rng.permutation(len(table.items)) for _ in table.models]
    deal: Callable[[Any], Any] = lambda part: np.stack([part[o, j] for j, o in enumerate(order)], axis=1)  # noqa: E731
    traits = here.traits
    if traits is not None:
        traits = Traits(deal(traits.key), deal(traits.length), traits.text[order[0]])
    return replace(table, population=replace(here, score=deal(here.score), traits=traits))


def cut(table: Recorded, args: Any, seed: int) -> Recorded:
    """The table, or a small one cut from it, with dear candidates."""
    if not args.small:
        return table
    rows = np.random.default_rng([seed, 5]).choice(len(table.items), min(SMALL, len(table.items)), replace=False)
    here = table.population
    cost = here.cost[rows].copy()
    for j, name in enumerate(table.models):
        if name in args.reprice:
            cost[:, j] = cost[:, 0] / 3
    traits = here.traits
    if traits is not None:
        traits = Traits(traits.key[rows], traits.length[rows], traits.text[rows])
    items = tuple(table.items[row] for row in rows)
    return replace(table, items=items, population=Population(here.marks[rows], cost, here.score[rows], traits))


def bargain(table: Recorded, agreement: str, seed: int, candidate: int) -> tuple[float, bool, bool]:
    """One run of BARGAIN's accuracy method, its default settings, this candidate as its proxy.

    Predictions are marks, so that "correct" is mark AGREE; scores and marks come from the recorded table.
    """
    here = table.population
    marks, score = here.marks[:, candidate].astype(int), here.score[:, candidate]

    class Proxy(BARGAIN.Proxy):
        def get_preds_and_scores(self, indxs: Any, data_records: Any) -> Any:
            return marks[np.asarray(indxs, int)], score[np.asarray(indxs, int)]

    class Reference(BARGAIN.Oracle):
        def is_answer_correct(self, data_indxs: Any, data_records: Any, proxy_output_at_indxs: Any) -> Any:
            return np.asarray(proxy_output_at_indxs) == AGREE

        def get_pred(self, data_records: Any, indxs: Any = None) -> Any:
            return np.full(len(data_records), AGREE)

    method = BARGAIN.BARGAIN_A(
        Proxy(False), Reference(False), float(agreement), float(1 - CONFIDENCE), verbose=False, seed=seed
    )
    output, asked = method.process([str(i) for i in range(len(marks))], return_oracle_usage=True)
    cost = here.cost[:, candidate].sum() + here.cost[np.array(asked), 0].sum()
    misses = int((np.array(output) != AGREE).sum())
    broken = len(marks) - misses < Fraction(agreement) * len(marks)
    return float(cost / here.cost[:, 0].sum()), bool(broken), True


def draw(axis: Any, cells: list[dict[str, Any]]) -> None:
    """Cost against agreement, one line per peer."""
    for who in dict.fromkeys(each["who"] for each in cells):
        own = [each for each in cells if each["who"] == who]
        style = "o-" if who == "ours" else ".--"
        axis.plot([float(c["agreement"]) for c in own], [c["cost"] for c in own], style, label=who)
    axis.axhline(1.0, color="grey", lw=0.5, label="reference only")
    axis.set_xlabel("agreement promised")
    axis.set_ylabel("cost ÷ reference on every row")


if __name__ == "__main__":
    main()
