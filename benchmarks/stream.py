"""The promise on a stream: what it costs, what drift does to it and to a router, and whether any traffic breaks it.

    python benchmarks/stream.py [--quick] [--parts cost drift traffic] [--windows 12] [--sizes 2000 10000] [--runs 2000]
    python benchmarks/stream.py --parts cost --file TABLE --reference MODEL

cost     recorded answers as a stream: the table's rows in a random order, again and again in fresh orders, as many
         windows as asked. No window knows that it has met a row before: a gateway's ledger would answer it for nothing.
         cost: of the windows after the second, as a share of the reference alone.
drift    the same rows, but from the middle of the stream on such as the candidate gets wrong come three times as often.
         Beside it a router: on the first 500 requests it sets the threshold that would have kept the promise there,
         and leaves it. misses: in the windows after the change, as a share of what is allowed.
traffic  made-up traffic (traffic.py), `--runs` windows of `--small` requests each, both modes, replies up to 5 requests
         late.
         `peeking` (the traffic knows the coin) and `careless` (audits not back do not count) are broken on purpose.

`--json` keeps the figures; `--drawn` draws those of several runs together (benchmarks/out/stream.png).
Exit code 1 where the stream fails in traffic (pooled above .05, or a cell's lower 99 % limit above it), or a broken one
does not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from broken_streams import BROKEN
from common import ALPHA, REFERENCES, finish, heading, need_data, options, panels, show, spread
from traffic import KINDS, TRUSTED, peeking

from smart_llm.procedures.stream import Stream, StreamPromise, Tried
from smart_llm.simulation.recorded import Recorded, load
from smart_llm.simulation.stream import Coming, Drive, Traffic, WindowOutcome
from smart_llm.stats.clopper_pearson import interval
from smart_llm.types import BAD, DEFER, ERROR

AGREEMENTS = ("0.80", "0.90", "0.95")
TARGETS = {
    ("hellaswag", 10_000): dict(zip(AGREEMENTS, (0.255, 0.34, 0.475), strict=True)),
    ("hellaswag", 2_000): dict(zip(AGREEMENTS, (0.30, 0.44, 0.60), strict=True)),
}
COST = ("task", "ways", "window", "agreement", "mode", "cost", "se", "target", "first", "second")
COST += ("audits", "stopped", "misses", "broken", "windows", "us")
DRIFT = ("task", "agreement", "who", "cost", "misses_before", "misses_after", "broken", "windows")
TRAFFIC = ("cell", "runs", "violations", "rate", "low", "high", "cost", "misses", "stopped")
SET_ON = 500
"""Requests on which the router sets its threshold."""
WORSE = 3.0
"""How many times as often bad answers come after the change."""
STREAMS = 25
"""Windows of one stream there, besides those in which an attacker is not shameless yet."""


def main() -> None:
    """Run, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", default=["cost", "drift", "traffic"])
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--task", nargs="+", default=["hellaswag", "media_bias", "gsm8k"], choices=REFERENCES)
    parser.add_argument("--agreement", nargs="+", default=list(AGREEMENTS))
    parser.add_argument("--mode", nargs="+", default=["behind", "before"])
    parser.add_argument("--candidate", nargs="+", help="only these ways; else all of the table")
    parser.add_argument("--runs", type=int, default=2_000, help="windows of each kind of made-up traffic")
    parser.add_argument("--small", type=int, default=100, help="requests of each of these windows")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="of made-up traffic")
    parser.add_argument("--file", type=Path, help="any recorded table, with --reference")
    parser.add_argument("--reference")
    parser.add_argument("--drawn", type=Path, nargs="+", help="run nothing: draw the figures that --json has kept here")
    args = parser.parse_args()
    if args.drawn:
        draw(joined([json.loads(path.read_text()) for path in args.drawn]))
        return
    heading(args)
    if args.quick:
        args.windows, args.sizes, args.runs, args.task = 4, [2_000], 20, args.task[:1]
    figures: dict[str, Any] = {"benchmark": "stream"}
    for part in [name for name in ("cost", "drift", "traffic") if name in args.parts]:
        figures[part] = PARTS[part](args)
    draw(figures)
    finish(figures, args.json)
    sys.exit(1 if figures.get("traffic", {}).get("wrong") and not args.quick else 0)


# --------------------------------------------------------------------------- recorded answers


@dataclass(frozen=True)
class Replayed:
    """A recorded table as traffic. order: positions of rows as they come."""

    coming: tuple[Coming, ...]
    order: Any

    def traffic(self) -> Traffic:
        """Row by row."""
        rows = iter(self.order.tolist())
        return lambda stream, draw: self.coming[next(rows)]


def requests(table: Recorded) -> tuple[Coming, ...]:
    """Every row as a request; money in calls of the reference, whose mean is 1."""
    people = table.population
    assert people.traits is not None
    cost = people.cost / people.cost[:, 0].mean()
    length, text = np.log1p(people.traits.length), np.log1p(people.traits.text)
    told = []
    for row in range(len(people.marks)):
        answers, bad = [], []
        for way in range(people.marks.shape[1] - 1):
            mark, score = people.marks[row, way + 1], float(people.score[row, way + 1])
            traits = tuple(float(np.nan_to_num(x)) for x in (length[row, way + 1], text[row]))
            key, paid = int(people.traits.key[row, way + 1]), float(cost[row, way + 1])
            answers.append(Tried(way, mark != DEFER, None if np.isnan(score) else score, paid, key, traits))
            bad.append(bool(mark == BAD))
        told.append(Coming(tuple(answers), tuple(bad), float(cost[row, 0]), bool(people.marks[row, 0] == ERROR)))
    return tuple(told)


def shuffled(coming: tuple[Coming, ...], length: int, seed: int) -> Replayed:
    """All rows in a fresh random order, again and again."""
    draw = np.random.default_rng([seed, 1])
    turns = [draw.permutation(len(coming)) for _ in range(length // len(coming) + 1)]
    return Replayed(coming, np.concatenate(turns)[:length])


def tables(args: Any) -> dict[str, Recorded]:
    """By name."""
    if args.file:
        return {str(args.file): load(args.file, reference=args.reference, candidates=args.candidate)}
    folder = need_data("recorded")
    return {
        task: load(folder / f"{task}.parquet", reference=REFERENCES[task], candidates=args.candidate)
        for task in args.task
    }


def cost(args: Any) -> list[dict[str, Any]]:
    """See the top."""
    work = [
        (name, table, size, agreement, mode, args.windows)
        for name, table in tables(args).items()
        for size in args.sizes
        for agreement in args.agreement
        for mode in args.mode
    ]
    cells = list(spread(cost_cell, work, args.jobs))
    show(cells, COST)
    return cells


def cost_cell(work: tuple[str, Recorded, int, str, str, int]) -> dict[str, Any]:
    """One task as a stream."""
    name, table, size, agreement, mode, windows = work
    coming, start = requests(table), process_time()
    replayed = shuffled(coming, size * windows, 7)
    told = Drive(stream_of(table, agreement, size, mode), replayed.traffic(), np.random.default_rng(7)).run(
        size * windows
    )
    rates = [each.rate for each in told]
    later = told[2:]
    return {
        "task": name,
        "ways": len(table.models) - 1,
        "window": size,
        "agreement": agreement,
        "mode": mode,
        "cost": float(np.mean(rates[2:])),
        "se": float(np.std(rates[2:], ddof=1) / np.sqrt(len(later))),
        "target": TARGETS.get((name, size), {}).get(agreement),
        "first": rates[0],
        "second": rates[1],
        "audits": float(np.mean([w.ended.terms.audit_share for w in later if w.ended])),
        "stopped": float(np.mean([w.ended.stopped for w in later if w.ended])),
        "misses": float(np.mean([w.misses / w.ended.terms.allowance for w in told if w.ended])),
        "broken": sum(each.broken for each in told),
        "windows": len(told),
        "us": (process_time() - start) / (size * windows) * 1e6,
        "rates": rates,
    }


def stream_of(table: Recorded, agreement: str, size: int, mode: str) -> Stream:
    """With the prices of the table's ways."""
    price = table.population.cost.mean(axis=0)
    return Stream(StreamPromise(agreement, "0.95", size, mode), (price[1:] / price[0]).tolist())


# --------------------------------------------------------------------------- drift


def drift(args: Any) -> list[dict[str, Any]]:
    """See the top; one window size, the smallest."""
    work = [
        (name, table, args.sizes[0], agreement, args.windows, who)
        for name, table in tables(args).items()
        for agreement in args.agreement
        for who in (*args.mode, "router")
    ]
    cells = list(spread(drift_cell, work, args.jobs))
    show(cells, DRIFT)
    return cells


def drift_cell(work: tuple[str, Recorded, int, str, int, str]) -> dict[str, Any]:
    """One task, by the stream or by the router. The candidate that counts is the one that agrees most."""
    name, table, size, agreement, windows, who = work
    best = 1 + int(np.argmin((table.population.marks[:, 1:] == BAD).mean(axis=0)))
    replayed = changing(requests(table), size * windows, best - 1)
    if who == "router":
        told = routed(replayed, size, float(agreement), best - 1)
    else:
        drive = Drive(stream_of(table, agreement, size, who), replayed.traffic(), np.random.default_rng(7))
        told = drive.run(size * windows)
    allowance = StreamPromise(agreement, "0.95", size).allowance
    misses = [each.misses / allowance for each in told]
    half = windows // 2
    return {
        "task": name,
        "agreement": agreement,
        "who": who,
        "cost": float(np.mean([each.rate for each in told])),
        "misses_before": float(np.mean(misses[:half])),
        "misses_after": float(np.mean(misses[half:])),
        "broken": sum(share > 1 for share in misses),
        "windows": len(told),
        "misses": misses,
    }


def changing(coming: tuple[Coming, ...], length: int, way: int) -> Replayed:
    """Drawn with replacement; from the middle on bad rows come more often."""
    draw = np.random.default_rng([7, 2])
    weight = np.where([each.bad[way] for each in coming], WORSE, 1.0)
    before = draw.integers(len(coming), size=length // 2)
    after = draw.choice(len(coming), size=length - length // 2, p=weight / weight.sum())
    return Replayed(coming, np.concatenate([before, after]))


def routed(replayed: Replayed, size: int, agreement: float, way: int) -> list[WindowOutcome]:
    """A fixed threshold: the most that can be accepted of the first requests with as few misses as are allowed. Where
    there is no score, a fixed share."""
    rows = [replayed.coming[row] for row in replayed.order]
    scores = np.array([np.nan if (s := each.answers[way].score) is None else s for each in rows])
    if np.isnan(scores).all():
        scores = np.random.default_rng(3).random(len(rows))
    bad = np.array([each.bad[way] for each in rows])
    first = np.argsort(-scores[:SET_ON])
    fits = np.cumsum(bad[first]) <= (1 - agreement) * SET_ON
    count = len(fits) if fits.all() else int(np.argmin(fits))
    threshold = scores[first][max(0, count - 1)]
    told = []
    for start in range(0, len(rows), size):
        outcome = WindowOutcome(start // size + 1)
        for place in range(start, min(start + size, len(rows))):
            each = rows[place]
            use = place >= SET_ON and each.answers[way].usable and scores[place] >= threshold
            outcome.cost += each.answers[way].cost + (0.0 if use else each.cost)
            outcome.alone += each.cost
            outcome.misses += use and bad[place]
        told.append(outcome)
    return told


# --------------------------------------------------------------------------- made-up traffic


def traffic(args: Any) -> dict[str, Any]:
    """See the top."""
    plain = [(kind, mode, "stream") for kind in args.kinds for mode in ("before", "behind")]
    wrong = [("shameless", mode, who) for mode in ("before", "behind") for who in BROKEN if "shameless" in args.kinds]
    work = [
        (kind, mode, who, seed, min(args.runs, STREAMS), args.small)
        for kind, mode, who in [*plain, *wrong]
        for seed in range(max(1, (args.runs if who == "stream" else min(args.runs, 300)) // STREAMS))
    ]
    parts = list(spread(traffic_part, work, args.jobs))
    cells = [gather(key, [p for p in parts if p["key"] == key]) for key in [*plain, *wrong]]
    show(cells, TRAFFIC)
    sound = [cell for cell in cells if cell["who"] == "stream"]
    pooled = sum(cell["violations"] for cell in sound) / sum(cell["runs"] for cell in sound)
    above = [cell["cell"] for cell in sound if cell["low"] > ALPHA]
    missed = [cell["cell"] for cell in cells if cell["who"] != "stream" and cell["low"] <= ALPHA]
    print(f"stream: pooled {pooled:.4f}, lower 99 % limit above {ALPHA}: {above or 'none'}; not found out: {missed}")
    return {"cells": cells, "pooled": pooled, "wrong": bool(above or missed or pooled > ALPHA)}


def traffic_part(work: tuple[str, str, str, int, int, int]) -> dict[str, Any]:
    """One stream of a cell."""
    kind, mode, who, seed, windows, size = work
    of: type[Stream] = Stream if who == "stream" else BROKEN[who]
    stream = of(StreamPromise("0.9", "0.95", size, mode), [0.05])
    made: Callable[[int], Traffic] = peeking if who == "peeking" else KINDS[kind]
    delay = 3 * size if who == "careless" else 5
    draw = np.random.default_rng([seed, 15])
    skipped = TRUSTED if kind == "shameless" else 0
    told = Drive(stream, made(seed), draw, delay).run(size * (skipped + windows))
    full = [each for each in told if each.ended is not None and each.ended.full]
    return {"key": (kind, mode, who), "windows": full[skipped:]}


def gather(key: tuple[str, str, str], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell's figures."""
    windows: list[WindowOutcome] = [each for part in parts for each in part["windows"]]
    violations = sum(each.broken for each in windows)
    low, high = interval(violations, len(windows), 0.98)
    return {
        "cell": " ".join(key[:2] if key[2] == "stream" else (key[2], key[1])),
        "who": key[2],
        "runs": len(windows),
        "violations": violations,
        "rate": violations / len(windows),
        "low": float(low),
        "high": float(high),
        "cost": float(np.mean([each.rate for each in windows])),
        "misses": float(np.mean([each.misses / each.ended.terms.allowance for each in windows if each.ended])),
        "stopped": float(np.mean([each.ended.stopped for each in windows if each.ended])),
    }


# --------------------------------------------------------------------------- plot


def joined(kept: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of several runs of this script as one."""
    told: dict[str, Any] = {}
    for name in ("cost", "drift"):
        if cells := [cell for each in kept for cell in each.get(name, ())]:
            told[name] = cells
    if cells := [cell for each in kept for cell in each.get("traffic", {}).get("cells", ())]:
        told["traffic"] = {"cells": cells}
    return told


def draw(figures: dict[str, Any]) -> None:
    """Cost window by window, misses under drift, rates in made-up traffic."""
    titles = [name for name in PARTS if name in figures]

    def one(axis: Any, title: str) -> None:
        DRAWN[title](axis, figures[title])

    panels("stream", titles, one)


def draw_cost(axis: Any, cells: list[dict[str, Any]]) -> None:
    """Of the first task, largest windows, mode behind, if there."""
    first = [c for c in cells if c["task"] == cells[0]["task"] and c["window"] == cells[-1]["window"]]
    for cell in [c for c in first if c["mode"] == first[0]["mode"]]:
        line = axis.plot(range(1, len(cell["rates"]) + 1), cell["rates"], marker="o", ms=3, label=cell["agreement"])[0]
        if cell["target"]:
            axis.axhline(cell["target"], color=line.get_color(), lw=0.7, ls=":")
    axis.set_xlabel(f"window of {first[0]['window']:,} requests, {first[0]['task']}, {first[0]['mode']}")
    axis.set_ylabel("cost ÷ reference alone (dotted: asked)")
    axis.legend(fontsize=7)


def draw_drift(axis: Any, cells: list[dict[str, Any]]) -> None:
    """Misses ÷ allowed, window by window, of the first task at its last agreement."""
    first = [c for c in cells if c["task"] == cells[0]["task"] and c["agreement"] == cells[-1]["agreement"]]
    for cell in first:
        axis.plot(range(1, len(cell["misses"]) + 1), cell["misses"], marker="o", ms=3, label=cell["who"])
    axis.axhline(1, color="red", lw=1)
    axis.set_xlabel(f"window, {first[0]['task']} at {first[0]['agreement']}")
    axis.set_ylabel("misses ÷ allowed")
    axis.legend(fontsize=7)


def draw_traffic(axis: Any, told: dict[str, Any]) -> None:
    """Rate of broken windows and interval of every cell."""
    cells = told["cells"]
    rate = np.array([each["rate"] for each in cells])
    spans = [rate - [each["low"] for each in cells], [each["high"] for each in cells] - rate]
    axis.errorbar(rate, np.arange(len(cells)), xerr=np.maximum(spans, 0), fmt="o", ms=3, label="broken, 98 %")
    axis.axvline(ALPHA, color="red", lw=1, label="allowed")
    axis.set_yticks(np.arange(len(cells)), [each["cell"] for each in cells], fontsize=6)


PARTS: dict[str, Callable[[Any], Any]] = {"cost": cost, "drift": drift, "traffic": traffic}
DRAWN: dict[str, Callable[[Any, Any], None]] = {"cost": draw_cost, "drift": draw_drift, "traffic": draw_traffic}


if __name__ == "__main__":
    main()
