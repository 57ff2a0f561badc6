"""What the benchmarks share: where the data is, the populations, a table, a plot, the options, two processes at most.

Each script prints a table, then its figures as JSON (last line, or to the file named by --json), and draws a plot into
benchmarks/out/. Without ../shared the ones that need it say so and end.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from smart_llm import procedures
from smart_llm.simulation.drive import Outcome, Population, simulate
from smart_llm.stats.clopper_pearson import interval
from smart_llm.stats.grown import excess
from smart_llm.stats.sequential import Table
from smart_llm.types import AGREE, BAD, Gate, Grown, Problem, Score, Tier

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
OUT = ROOT / "benchmarks" / "out"
CONFIDENCE = Fraction(95, 100)

REFERENCES = {
    "hellaswag": "qwen-72b",
    "gsm8k": "gpt-4o-2024-08-06",
    "media_bias": "gpt-4-1106-preview",
    "nq_open_qa": "gpt-4",
    "product_attributes": "gpt-4-0613",
    "trec_relevance": "gpt-4o",
    "crux_output": "gpt-4o-2024-08-06",
}
"""Recorded task → its reference model."""


def options(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small part of it, in well under a minute")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1; 2 on a machine to yourself)")
    parser.add_argument("--json", type=Path, help="write the figures here instead of to stdout")
    return parser


def need_data(part: str) -> Path:
    """The folder of shared data; ends the script with a clear message where it is absent."""
    folder = DATA / part
    if not folder.exists():
        print(f"skipped: needs ../shared/data/{part} beside the project, which is not there.")
        sys.exit(0)
    return folder


def spread(function: Callable[[Any], Any], work: Iterable[Any], jobs: int) -> Iterator[Any]:
    """Results in order; a line on stderr per result, because some take a while."""
    work = list(work)
    with multiprocessing.Pool(jobs) if jobs > 1 else _Here() as pool:
        for done, result in enumerate(pool.imap(function, work), 1):
            print(f"\r{done}/{len(work)}", end="", file=sys.stderr, flush=True)
            yield result
    print(file=sys.stderr)


class _Here:
    """A pool of one: this process."""

    imap = staticmethod(map)

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def heading(args: argparse.Namespace) -> None:
    """The date and the command, as `RESULTS.md` cites them: every option that decides the figures."""
    told = {name: value for name, value in vars(args).items() if name not in ("json", "jobs", "quick", "parts")}
    words = [f"--{name} {_words(value)}" for name, value in told.items() if value not in (None, "", [], [""])]
    print(" ".join([f"{date.today()} · python benchmarks/{Path(sys.argv[0]).name}", *words]), flush=True)


def _words(value: Any) -> str:
    """As one would type it."""
    return shlex.join(map(str, value if isinstance(value, list) else [value]))


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """A table of these columns; floats with three digits that matter."""
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [list(columns), *cells]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def finish(figures: dict[str, Any], target: Path | None) -> None:
    """The figures as JSON, to a file or as stdout's last line."""
    text = json.dumps(figures, default=float)
    if target:
        target.write_text(text + "\n")
    else:
        print(text)


def panels(name: str, titles: Sequence[str], draw: Callable[[Any, str], None]) -> None:
    """A plot of side-by-side panels, as benchmarks/out/NAME.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(titles), figsize=(1 + 4.2 * len(titles), 4), squeeze=False)
    for axis, title in zip(axes[0], titles, strict=True):
        draw(axis, title)
        axis.set_title(title)
    axes[0][-1].legend(fontsize=7)
    OUT.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(OUT / f"{name}.png", dpi=110)
    pyplot.close(figure)


# --------------------------------------------------------------------------- boundaries

ALPHA = 0.05
"""How often a promise at `CONFIDENCE` may be broken."""


def figures(cell: str, procedure: str, runs: int, seconds: float, violations: float, **sums: float) -> dict[str, Any]:
    """A cell's figures: how often the promise was broken, with Clopper and Pearson's 95 % limits. sums: of whatever was
    added up over the runs; each becomes a mean."""
    low, high = interval(int(violations), runs, 0.95)
    return {
        "cell": cell,
        "procedure": procedure,
        "runs": runs,
        "violations": int(violations),
        "rate": violations / runs,
        "low": float(low),
        "high": float(high),
        **{name: each / runs for name, each in sums.items()},
        "seconds": seconds / runs,
    }


def judge(procedure: str, cells: list[dict[str, Any]], fresh: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """In no cell is the lower limit above α (fresh runs decide where there are some), pooled the rate is at most α."""
    latest = {each["cell"]: each for each in [*cells, *fresh]}.values()
    above = [each["cell"] for each in latest if each["low"] > ALPHA]
    pooled = sum(each["violations"] for each in cells) / sum(each["runs"] for each in cells)
    worst = max(latest, key=lambda each: float(each["rate"]))
    holds = not above and pooled <= ALPHA
    text = (
        f"{procedure}: {'holds' if holds else 'FAILS'}: pooled {pooled:.4f} over {len(cells)} cells, worst "
        f"{worst['rate']:.4f} ({worst['cell']}), lower limit above {ALPHA} in {len(above)}, run again {len(fresh)}"
    )
    return {"procedure": procedure, "holds": holds, "pooled": pooled, "above": above, "text": text}


def draw_rates(axis: Any, cells: list[dict[str, Any]]) -> None:
    """Rate of broken promises and interval of every cell."""
    places = np.arange(len(cells))
    rate = np.array([each["rate"] for each in cells])
    spans = [rate - [each["low"] for each in cells], [each["high"] for each in cells] - rate]
    axis.errorbar(rate, places, xerr=np.maximum(spans, 0), fmt="o", ms=3, label="violation rate, 95 %")
    axis.axvline(ALPHA, color="red", lw=1, label="allowed")
    axis.set_yticks(places, [each["cell"] for each in cells], fontsize=3)


# --------------------------------------------------------------------------- populations


def paper_models(task: str) -> tuple[int, list[tuple[str, float, float]]]:
    """Rows of a published task, and (model, USD per row, agreement), reference first."""
    with (need_data("paper") / "llm_statistics.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["dataset"] == task]
    lines.sort(key=lambda line: line["model"] != "gpt-4")
    models = [
        (line["model"], float(line["cost"]) / int(line["nr_processed"]), float(line["conformity"])) for line in lines
    ]
    return int(lines[0]["nr_items"]), models


def paper_population(task: str, disagreement: str, seed: int) -> tuple[Problem, Population]:
    """The paper's experiment: every row and model an independent draw (in random order already)."""
    rows, models = paper_models(task)
    agreement = np.array([share for _, _, share in models])
    marks = np.where(np.random.default_rng([seed, rows]).random((rows, len(models))) < agreement, AGREE, BAD)
    return pose(marks, [price for _, price, _ in models], disagreement, seed)


def pose(marks: Any, prices: Sequence[float], disagreement: str, seed: int) -> tuple[Problem, Population]:
    """A problem on marks of shape (N, 1 + m), column 0 the reference, with the same price on every row."""
    names = tuple(f"m{j}" for j in range(1, len(prices)))
    target = 1 - Fraction(disagreement)
    problem = Problem(len(marks), target, CONFIDENCE, "reference", names, tuple(prices), seed)
    cost = np.broadcast_to(np.array(prices, dtype=float), marks.shape)
    return problem, Population(marks.astype(np.int8), cost, np.broadcast_to(np.float64("nan"), marks.shape))


def allowance(rows: int, disagreement: str) -> int:
    """B: how many rows may differ."""
    return rows - math.ceil((1 - Fraction(disagreement)) * rows)


def timed(procedure: str, problem: Problem, population: Population) -> tuple[Outcome, float]:
    """One run, and its seconds."""
    start = perf_counter()
    outcome = simulate(procedures.get(procedure), problem, population)
    return outcome, perf_counter() - start


def ratio(outcome: Outcome, population: Population) -> float:
    """Cost as a share of the reference on every row."""
    return outcome.cost / float(population.cost[:, 0].sum())


def missed(outcome: Outcome, problem: Problem) -> bool:
    """Whether the delivered table misses the target."""
    return problem.rows - outcome.misses < problem.agreement * problem.rows


def behind(evidence: Mapping[str, Any], candidates: Sequence[str]) -> Grown | None:
    """A run of the default procedure as a table continues it that has grown since; None where it had no evidence."""
    if "mix" not in evidence:
        tiers = tuple(_tier(each, candidates) for each in evidence["tiers"])
        gate = evidence["gate"]
        gated = None if gate is None else Gate(_score(gate["score"]), gate["floor"])
        return Grown(((evidence["rows_left"], evidence["credit"], evidence["looked"]),), tiers, gated)
    told = evidence["mix"]
    if not told["profiled"]["rows"]:
        return None
    tier = Tier(1 + candidates.index(told["candidate"]), Score(()), None)
    tables = [{name: each[name] for name in ("looks", "shares", "allowance")} for each in told["finalists"]]
    return Grown((), (tier,), None, handed_over(told["population"], json.dumps(tables)))


@cache
def handed_over(rows: int, told: str) -> tuple[tuple[int, float], ...]:
    """How likely a mix with these tables is to hand over more bad rows than so many. told: the tables, as JSON."""
    tables = [
        Table(tuple(each["looks"]), tuple(np.array(row, np.int64) for row in each["shares"]), each["allowance"])
        for each in json.loads(told)
    ]
    most = excess(rows, tables[0].floor, tables)
    return tuple(zip(most.counts, most.chances, strict=True))


def _tier(told: Mapping[str, Any], candidates: Sequence[str]) -> Tier:
    stop = None if told["stop"] is None else (told["stop"][0], told["stop"][1])
    peers = tuple(1 + candidates.index(peer) for peer in told["peers"])
    return Tier(1 + candidates.index(told["model"]), _score(told["score"]), stop, peers)


def _score(terms: Sequence[Sequence[Any]]) -> Score:
    return Score(tuple((name, weight) for name, weight in terms))


def known(names: Sequence[str]) -> list[str]:
    """Full names of procedures; an unknown one ends the script with what there is."""
    return [procedures.resolve(name) for name in names]
