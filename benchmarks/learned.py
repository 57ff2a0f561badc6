"""What `learned` saves: on recorded reviews, with and without the candidates of vendors; where texts tell nothing;
and on a made-up table of a million rows.

    python benchmarks/learned.py saving [--seeds 5] [--alone]       cost, and runs that broke the promise
    python benchmarks/learned.py nothing [--seeds 3]                texts shuffled: with it against without it
    python benchmarks/learned.py million [--rows 1000000]           seconds, rows a second, memory, saving at .90
    python benchmarks/learned.py growing [--seeds 5]                20,000 rows answered, then 2,000 more

The recorded table is `../shared/data/recorded/shop_sentiment.parquet`; where it is not there, nothing is measured.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from common import behind, panels

from smart_llm import procedures
from smart_llm.learned.learner import Learner, Shelf
from smart_llm.procedures.ladder.grown import affordable
from smart_llm.scores.traits import answer_key
from smart_llm.simulation.drive import Population, simulate
from smart_llm.simulation.recorded import Recorded, load
from smart_llm.simulation.replay import pose, run_trials
from smart_llm.simulation.taught import School, Taught
from smart_llm.types import AGREE, BAD, NOT_ASKED, Problem, Traits

TABLE = Path(__file__).parents[1] / ".." / "shared" / "data" / "recorded" / "shop_sentiment.parquet"
VENDORS = ["google-nl", "amazon-comprehend", "open-source"]
TARGETS = ("0.8", "0.9", "0.95")


def recorded() -> pl.DataFrame:
    """The table; ends where it is not there."""
    if not TABLE.is_file():
        sys.exit(f"{TABLE} is not there: nothing is measured.")
    return pl.read_parquet(TABLE)


def costs(frame: pl.DataFrame, candidates: list[str], seeds: int, target: str) -> tuple[np.ndarray, int]:
    """Cost ratio by seed, and how many runs broke the promise."""
    table = load(frame, reference="baidu", candidates=candidates)
    problem = pose(table, Fraction(target), Fraction("0.95"), 0)
    outcomes = list(run_trials("ladder", problem, table.population, seeds, table.school))
    whole = table.population.cost[:, 0].sum()
    return np.array([each.cost / whole for each in outcomes]), sum(each.misses > problem.promised for each in outcomes)


def saving(seeds: int, alone: bool) -> None:
    """At each target; a plot of every seed's."""
    frame, found = recorded(), dict[tuple[str, str], np.ndarray]()
    for candidates in [["learned"]] if alone else [["learned"], [*VENDORS, "learned"], VENDORS]:
        for target in TARGETS:
            ratios, broken = costs(frame, candidates, seeds, target)
            told = f"{ratios.mean():.4f} (worst {ratios.max():.4f}): saving {1 / ratios.mean():.1f} ×"
            print(f"{'+'.join(candidates):48} {target:5} {told}, {broken} of {seeds} broken", flush=True)
            found["+".join(candidates), target] = ratios

    def draw(axis: Any, title: str) -> None:
        for name in dict.fromkeys(name for name, _ in found):
            points = [(float(target), 1 / ratio) for target in TARGETS for ratio in found[name, target]]
            axis.plot(*zip(*points, strict=True), "o", ms=4, alpha=0.6, label=name)
        axis.set(yscale="log", xlabel="agreement", ylabel=title)

    panels("learned", ["saving ×, one point a seed"], draw)


def nothing(seeds: int) -> None:
    """The same reviews, each with the text of another one."""
    frame, rng = recorded(), np.random.default_rng(7)
    own = frame["input"].is_not_null().to_numpy()
    texts = np.array(frame["input"].to_list(), dtype=object)
    texts[own] = rng.permutation(texts[own])
    frame = frame.with_columns(input=pl.Series(texts.tolist(), dtype=pl.String))
    for target in TARGETS:
        both, _ = costs(frame, [*VENDORS, "learned"], seeds, target)
        without, _ = costs(frame, VENDORS, seeds, target)
        told = f"{both.mean():.4f} against {without.mean():.4f}: {both.mean() / without.mean():.4f}"
        print(f"texts shuffled {target:5} {told}", flush=True)


def million(rows: int) -> None:
    """Drawn from the recorded table, with a number behind each text, so that none is another's."""
    frame = recorded().filter(pl.col("model") == "baidu")
    at = np.random.default_rng(3).integers(0, len(frame), rows)
    texts, answers = np.array(frame["input"].to_list(), dtype=object), np.array(frame["answer"].to_list(), dtype=object)

    def said(positions: np.ndarray) -> list[str]:
        return [f"{texts[at[row]]} {row}" for row in positions.tolist()]

    shelf, start = Shelf(rows, said), time.process_time()
    learner, taught = Learner(shelf), np.random.default_rng(4).permutation(rows)[:3000]
    shelf.space.rows(said(taught[:1]))
    learner.teach(taught, answers[at[taught]].tolist())
    print(f"taught with 3,000 rows: {time.process_time() - start:.1f} CPU-seconds, texts of the table included")
    start = time.process_time()
    learner.least_sure(taught, 1000)
    print(f"the least sure named: {time.process_time() - start:.1f} CPU-seconds")
    start = time.process_time()
    learner.said(np.arange(rows))
    spent = time.process_time() - start
    print(f"{rows:,} rows answered in {spent:.1f} CPU-seconds: {rows / spent:,.0f} rows a second")
    print(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB", flush=True)
    _run(rows, School.of([], answers.tolist(), 1, None), shelf, answers[at])


def _run(rows: int, school: School, shelf: Shelf, answers: np.ndarray) -> None:
    school, shape = replace(school, shelf=shelf, answers=tuple(answers.tolist())), (rows, 2)
    marks = np.full(shape, AGREE, np.int8)
    marks[:, 1] = NOT_ASKED
    known = {label: number + 1 for number, label in enumerate(school.known)}
    key = np.zeros(shape, np.int64)
    key[:, 0] = [known[answer] for answer in answers]
    population = Population(
        marks,
        np.array([[1.0, 0.0]] * rows),
        np.full(shape, np.nan),
        Traits(key, np.full(shape, 8.0), np.full(rows, 60.0)),
    )
    problem = Problem(rows, Fraction("0.9"), Fraction("0.95"), "r", ("learned",), (1.0, 0.0), 0, learned=1)
    outcome = next(run_trials("ladder", problem, population, 1, school))
    print(f"agreement .90: saving {rows / outcome.cost:.0f} ×, {outcome.misses / rows:.4f} of the rows differ")


OLD, NEW, ADDED = 20_000, 2_000, 20
"""Rows that are answered first, and rows that are added; how often others are, to the same ones."""


def growing(seeds: int) -> None:
    """Rows drawn from the recorded table; then more of them, by an earlier run's tiers and a look at these alone."""
    table = load(recorded(), reference="baidu", candidates=["learned"])
    told: dict[str, list[tuple[float, float, int]]] = {target: [] for target in TARGETS}
    for seed in range(seeds):
        for target in TARGETS:
            told[target].append(_grown(table, target, seed))
            first, second, broken = np.array(told[target]).T
            words = f"last {first[-1]:,.0f} and then {second[-1]:,.0f} reference calls"
            ratio = second.sum() / first.sum()
            print(f"{target:5} {len(first)} first runs, {words}: second ÷ first {ratio:.3f}, {broken.sum():.0f} of "
                  f"{ADDED * len(first)} broken", flush=True)  # fmt: skip


def _grown(table: Recorded, target: str, seed: int) -> tuple[float, float, int]:
    """Reference calls of the first run, and of the second on average, all rows added where the first one is not
    continued; how many grown tables break the promise."""
    whole, school = table.population, table.school
    assert school is not None
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(whole.marks[:, 0] == AGREE))  # a run is continued
    old, texts, price = rows[:OLD], school.shelf.texts, whole.cost[:, 0].mean()
    part = replace(school, shelf=Shelf(OLD, lambda at: texts(old[at])), answers=tuple(school.answers[k] for k in old))
    taught = Taught(_of(whole, old), part)
    problem = replace(pose(table, Fraction(target), Fraction("0.95"), seed), rows=OLD, reserve=0)
    first = simulate(procedures.get("ladder"), problem, taught.population, taught)
    grown, spent, broken = behind(first.verdict.evidence, problem.candidates), [], 0
    if grown is None:
        return first.cost / price, NEW, 0
    for again in range(ADDED):
        new = OLD + np.random.default_rng([seed, again]).choice(len(rows) - OLD, NEW, replace=False)
        later = replace(problem, rows=NEW, set_aside=OLD, seed=seed + 1000 * (again + 1), grown=grown)
        assert affordable(later, grown) is not None
        second = simulate(procedures.get("ladder"), later, _said(_of(whole, rows[new]), taught, school, rows[new]))
        spent.append(second.cost / price)
        broken += first.misses + second.misses > later.promised
    return first.cost / price, float(np.mean(spent)), broken


def _of(whole: Population, rows: np.ndarray) -> Population:
    """These rows of a population."""
    traits = whole.traits and whole.traits.rows(rows)
    return Population(whole.marks[rows], whole.cost[rows], whole.score[rows], traits)


def _said(added: Population, taught: Taught, school: School, rows: np.ndarray) -> Population:
    """Rows that the model of the earlier run answers, as it is."""
    said, labels = taught.said(school.shelf.texts(rows))
    truth = [school.answers[row] for row in rows]
    added.marks[:, school.column] = [AGREE if label == true else BAD for label, true in zip(labels, truth, strict=True)]
    added.score[:, school.column] = said.odds
    if added.traits is not None:
        added.traits.key[:, school.column] = [answer_key(label) for label in labels]
    return added


def main() -> None:
    """As the first line of the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("saving", "nothing", "million", "growing"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    print(f"# {' '.join(sys.argv)}")
    if options.what == "saving":
        saving(options.seeds, options.alone)
    elif options.what == "nothing":
        nothing(options.seeds)
    elif options.what == "growing":
        growing(options.seeds)
    else:
        million(options.rows)


if __name__ == "__main__":
    main()
