"""Everybody on the same recorded answers at the same confidence: cost against agreement, violations beside it.

    python benchmarks/peers.py [--quick] [--seeds 200] [--task hellaswag …] [--agreement .80 .90 .95] [--jobs 2]
    python benchmarks/peers.py --file TABLE --reference MODEL
    python benchmarks/peers.py --small [--reprice MODEL MODEL]

ours      the default procedure, told nothing but the candidates' names and prices
mix       the same without scores: a blind share of the rows
shuffled  ours, with scores and traits dealt out to other rows: knows nothing, must cost next to nothing
smart     the published procedure (`smart/2024`); it takes rows in file order, so on a whole table all seeds are alike
bargain   `bargain==0.1.3` (PyPI) with each candidate that has scores as its proxy in turn, every other setting its
          default. `bargain best` is the candidate with the least mean cost, which nobody could have told it; `bargain
          any` one drawn blindly (the mean over candidates). Left out, with a word, where it cannot be imported: `pip
          install --target FOLDER bargain==0.1.3 tqdm`, and FOLDER on PYTHONPATH.

--file takes any recorded table (`smart replay` says what its columns are). --small cuts a table to 1,500 random rows
(another cut for each seed) and reprices two candidates to a third of the reference, unless told otherwise the two that
agree most. A row's cost counts every call made for it; `reference only` is 1 by definition. Below the table: what
matters of it as ratios of mean costs, ± the standard error of the paired difference over the seeds both have.
"""

# ruff: noqa: E402 (the number of threads must be set before numpy is loaded: processes are the parallel ones here)

from __future__ import annotations

import os

for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from common import CONFIDENCE, REFERENCES, finish, missed, need_data, options, panels, ratio, show, spread, timed

from smart_llm import procedures
from smart_llm.simulation.drive import Population
from smart_llm.simulation.recorded import Recorded, load
from smart_llm.simulation.replay import pose, without_scores
from smart_llm.stats.clopper_pearson import upper_limit
from smart_llm.types import AGREE

try:
    import BARGAIN
except ImportError as error:
    BARGAIN, WHY = None, str(error)

OURS = "ladder"
SMALL = 1500
CHUNK = 10
PEERS = ("smart", "bargain")
VERDICTS = ("nq_open_qa",)
"""Tasks whose answers are verdicts on the reference's: only the text may be looked at."""
COLUMNS = ("task", "agreement", "who", "cost", "se", "max", "violations", "lower", "seeds", "routed", "seconds")
RATIOS = (("ours", "bargain best"), ("ours", "mix"), ("shuffled", "mix"), ("ours", "smart"))


def main() -> None:
    """Run, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--seeds", "--trials", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed: others than those a choice was made on")
    parser.add_argument("--peer-seeds", "--peer-trials", type=int, help="of bargain and smart (default: as many)")
    parser.add_argument("--task", nargs="+", default=["hellaswag"], choices=REFERENCES)
    parser.add_argument("--agreement", nargs="+", default=["0.80", "0.90", "0.95"])
    parser.add_argument("--who", nargs="+", default=["ours", "mix", "shuffled", "smart", "bargain"])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} random rows, two candidates repriced")
    parser.add_argument("--reprice", nargs="+", help="with --small: to a third")
    parser.add_argument("--file", type=Path, help="any recorded table, with --reference")
    parser.add_argument("--reference")
    args = parser.parse_args()
    if bool(args.file) != bool(args.reference):
        parser.error("--file and --reference belong together")
    if args.quick:
        args.seeds, args.agreement = 4, ["0.90"]
    if "bargain" in args.who and BARGAIN is None:
        print(f"bargain left out, it cannot be imported ({WHY}): see the top of this file.", file=sys.stderr)
        args.who.remove("bargain")
    files = [(args.file, args.reference)] if args.file else recorded(args.task)
    keys = [(path, a, who) for path, ref in files for a in args.agreement for who in everyone(path, ref, args)]
    if not keys:
        sys.exit("Nobody left to compare.")
    work = [(*key, dict(files)[key[0]], args, s) for key in keys for s in range(0, seeds(key[2], args), CHUNK)]
    parts = list(spread(chunk, work, args.jobs))
    cells = [line(*key, [p for p in parts if p["key"] == key]) for key in keys]
    report(cells, args)


def recorded(tasks: list[str]) -> list[tuple[Path, str]]:
    """(file, reference) of recorded tasks."""
    folder = need_data("recorded")
    return [(folder / f"{task}.parquet", REFERENCES[task]) for task in tasks]


def everyone(path: Path, reference: str, args: Any) -> list[str]:
    """The peers by name; bargain once for each candidate that has scores."""
    table = prepared(path, reference)
    told = [m for j, m in enumerate(table.models) if j and not np.isnan(table.population.score[:, j]).all()]
    absent = set(args.reprice or ()) - set(table.models)
    if absent:
        sys.exit(f"--reprice: {path.name} has no {', '.join(sorted(absent))}; it has {', '.join(table.models)}.")
    return [name for who in args.who for name in ([f"bargain {m}" for m in told] if who == "bargain" else [who])]


def seeds(who: str, args: Any) -> int:
    """How many runs."""
    return args.peer_seeds or args.seeds if who.startswith(PEERS) else args.seeds


def report(cells: list[dict[str, Any]], args: Any) -> None:
    """Print the table and what matters of it, draw, hand out the figures."""
    tasks, kinds = list(dict.fromkeys(c["task"] for c in cells)), list(dict.fromkeys(c["agreement"] for c in cells))
    groups = [[c for c in cells if (c["task"], c["agreement"]) == (task, a)] for task in tasks for a in kinds]
    cells = [each for group in groups for each in [*group, *summary(group)]]
    show([{**each, "cost": f"{each['cost']:.4f}"} for each in cells], COLUMNS)
    ratios = [text for group in groups for text in compared([*group, *summary(group)])]
    print(*ratios, sep="\n")
    titles = [title for task in tasks for title in (task, f"{task}: violations")]
    panels("peers-small" if args.small else "peers", titles, lambda axis, title: draw(axis, title, cells))
    finish({"benchmark": "peers", "small": args.small, "cells": cells, "ratios": ratios}, args.json)


def summary(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of bargain's candidates the best one, and one drawn blindly."""
    lines = [each for each in group if each["who"].startswith("bargain ")]
    if not lines:
        return []
    best = min(lines, key=lambda each: float(each["cost"]))
    costs = np.mean([each["costs"] for each in lines], axis=0)
    blind = {"who": "bargain any", "cost": float(costs.mean()), "costs": costs.tolist(), "se": None, "max": None}
    return [best | {"who": "bargain best"}, best | blind | {"violations": None, "lower": None, "seconds": None}]


def compared(group: list[dict[str, Any]]) -> list[str]:
    """What matters, in words: who is cheaper than whom, over the seeds both have; and the promise."""
    who, texts = {each["who"]: each for each in group}, []
    where = f"{group[0]['task']} {group[0]['agreement']}"
    for one, other in RATIOS:
        if one not in who or other not in who:
            continue
        count = min(len(who[one]["costs"]), len(who[other]["costs"]))
        a, b = (np.array(who[name]["costs"][:count]) for name in (one, other))
        error = (a - b).std(ddof=1) / np.sqrt(count) / b.mean() if count > 1 else float("nan")
        texts.append(f"{where}: {one} ÷ {other} = {a.mean() / b.mean():.3f} ± {error:.3f} ({count} seeds)")
    broken = [name for name, each in who.items() if each["lower"] is not None and each["lower"] > 1 - CONFIDENCE]
    return [*texts, f"{where}: the promise is broken too often by {', '.join(broken)}"] if broken else texts


# --------------------------------------------------------------------------- runs


def chunk(work: tuple[Path, str, str, str, Any, int]) -> dict[str, Any]:
    """Some seeds of one table at one agreement for one of the peers."""
    from time import perf_counter

    path, agreement, who, reference, args, first = work
    table, start = prepared(path, reference), perf_counter()
    numbers = range(args.first + first, args.first + min(first + CHUNK, seeds(who, args)))
    results = [one_run(who, cut(table, args, seed), agreement, seed) for seed in numbers]
    return {"key": (path, agreement, who), "results": results, "seconds": perf_counter() - start}


def one_run(who: str, table: Recorded, agreement: str, seed: int) -> tuple[float, bool, bool]:
    """(cost, target missed, routed by row)."""
    if who.startswith("bargain "):
        return bargain(table, agreement, seed, table.models.index(who.removeprefix("bargain ")))
    seen = {"ours": table, "mix": blind(table), "smart": blind(table), "shuffled": dealt(table, seed)}[who]
    return ours(seen, agreement, seed, "smart/2024" if who == "smart" else OURS)


def line(path: Path, agreement: str, who: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all runs."""
    results = [each for part in parts for each in part["results"]]
    costs, broken, routed = (np.array(column, dtype=float) for column in zip(*results, strict=True))
    count, violations = len(costs), int(broken.sum())
    return {
        "task": path.stem,
        "agreement": agreement,
        "who": who,
        "cost": float(costs.mean()),
        "se": float(costs.std(ddof=1) / np.sqrt(count)) if count > 1 else None,
        "max": float(costs.max()),
        "violations": violations,
        "lower": 1 - float(upper_limit(count - violations, count, 0.95)),
        "seeds": count,
        "routed": float(routed.mean()),
        "seconds": sum(part["seconds"] for part in parts) / count,
        "costs": costs.tolist(),
    }


def ours(table: Recorded, agreement: str, seed: int, name: str) -> tuple[float, bool, bool]:
    """One run of one of our procedures."""
    problem = pose(table, Fraction(agreement), CONFIDENCE, seed)
    outcome, _ = timed(procedures.resolve(name), problem, table.population)
    return ratio(outcome, table.population), missed(outcome, problem), hasattr(outcome.verdict.rule, "tiers")


@lru_cache(maxsize=8)
def prepared(path: Path, reference: str) -> Recorded:
    """The table as its scores may see it."""
    table = load(path, reference=reference)
    traits = table.population.traits
    if path.stem not in VERDICTS or traits is None:
        return table
    known = (traits.key != 0) * np.arange(1, 1 + traits.key.shape[1])  # answered or not, nothing else
    hidden = replace(traits, key=known.astype(np.int64), length=np.full(traits.length.shape, np.nan))
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
        traits = replace(traits.rows(order[0]), key=deal(traits.key), length=deal(traits.length))
    return replace(table, population=replace(here, score=deal(here.score), traits=traits))


def cut(table: Recorded, args: Any, seed: int) -> Recorded:
    """The table, or a small one cut from it, with dear candidates."""
    if not args.small:
        return table
    rows = np.random.default_rng([seed, 5]).choice(len(table.items), min(SMALL, len(table.items)), replace=False)
    here = table.population
    cost = here.cost[rows].copy()
    for j in dear(table, args):
        cost[:, j] = cost[:, 0] / 3
    traits = here.traits and here.traits.rows(rows)
    items = tuple(table.items[row] for row in rows)
    return replace(table, items=items, population=Population(here.marks[rows], cost, here.score[rows], traits))


def dear(table: Recorded, args: Any) -> list[int]:
    """The candidates to reprice: those named, else the two that agree most."""
    if args.reprice:
        return [table.models.index(name) for name in args.reprice]
    agreeing = (table.population.marks[:, 1:] == AGREE).mean(axis=0)
    return [int(j) + 1 for j in np.argsort(-agreeing, kind="stable")[:2]]


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


def draw(axis: Any, title: str, cells: list[dict[str, Any]]) -> None:
    """Cost, or the share of runs that broke the promise, against agreement; one line per peer."""
    task, _, violations = title.partition(": ")
    cells = [each for each in cells if each["task"] == task and not (violations and each["violations"] is None)]
    for who in dict.fromkeys(each["who"] for each in cells):
        own = [each for each in cells if each["who"] == who]
        values = [each["violations"] / each["seeds"] if violations else each["cost"] for each in own]
        axis.plot([float(c["agreement"]) for c in own], values, "o-" if who == "ours" else ".--", label=who)
    level = float(1 - CONFIDENCE) if violations else 1.0
    axis.axhline(level, color="grey", lw=0.5, label="allowed" if violations else "reference only")
    axis.set_xlabel("agreement promised")
    axis.set_ylabel("share of runs below it" if violations else "cost ÷ reference on every row")
    axis.legend(fontsize=6)


if __name__ == "__main__":
    main()
