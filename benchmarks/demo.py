"""`smart demo` at other seeds, and what smaller models would have brought it.

    python benchmarks/demo.py [--quick] [--rows 300] [--small NAME …] [--seconds 480] [--keep FILE] [--seeds 20]

The demo's reference, and smaller models where --small names them, answer the first rows of the demo's table (their
order is one by hash, so these are as good as drawn at random). Every answer is kept in FILE at once, and what is there
is not asked again; after --seconds no row is begun. Then the whole table is filled up, anew for every seed: a row
that was not asked about takes after one that was, drawn among those on which the words are right as they are on it, or
wrong. The default is replayed on it at the demo's agreement, with the prices that were measured: with the words alone,
and with each smaller model beside them.

Right: by the ratings of human readers. Agree: with the reference. Price: CPU-seconds of a row ÷ the reference's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import polars as pl
from common import OUT, finish, options, show

from smart_llm import replay
from smart_llm.cli.demonstration import AGREEMENT, CONFIDENCE, PROMPT, SHOW, WORDS
from smart_llm.cli.snippets import LABELS, Snippet, Words, counted, reviews, right, shared_out
from smart_llm.providers.local import weights
from smart_llm.providers.local.provider import LocalProvider
from smart_llm.scores.own import own_score
from smart_llm.stats.clopper_pearson import interval
from smart_llm.tasks import Task
from smart_llm.types import Answer, Request

TASK = Task(PROMPT, labels=LABELS)
COLUMNS = ("model", "rows", "right", "agree", "low", "high", "seconds", "price")
SEEDS = ("candidates", "saving", "least", "most", "rows profiled", "broken")


def main() -> None:
    """Ask, compare, replay, print."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--small", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--keep", type=Path, default=OUT / "demo.jsonl")
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    table, rest = shared_out(reviews(print), SHOW.rows)
    rows, seeds = (table[:12], 2) if args.quick else (table[: args.rows], args.seeds)
    args.keep.parent.mkdir(parents=True, exist_ok=True)
    end = monotonic() + args.seconds
    said = {name: asyncio.run(asked(name, rows, args.keep, end)) for name in (SHOW.model, *args.small)}
    both = [row for row in rows if all(row.id in answers for answers in said.values())]
    free = Words(counted(rest))
    said[WORDS] = {row.id: line_of(WORDS, row, asyncio.run(free.complete(request(WORDS, row)))) for row in table}
    models = [compared(name, both, said[SHOW.model], answers) for name, answers in said.items()]
    show(models, COLUMNS)
    ways = [(WORDS,), *((WORDS, name) for name in args.small)]
    figures = [replayed(way, table, both, said, seeds) for way in ways]
    show(figures, SEEDS)
    finish({"benchmark": "demo", "rows": len(both), "models": models, "seeds": figures}, args.json)


def request(model: str, row: Snippet) -> Request:
    """What the demo asks about a row."""
    return Request(model, TASK.render({"text": row.text}), TASK.max_tokens, labels=LABELS, logprobs=True)


def known(name: str, keep: Path) -> dict[int, dict[str, Any]]:
    """A model's answers that are kept, by row."""
    lines = map(json.loads, keep.read_text().splitlines()) if keep.exists() else iter(())
    return {line["id"]: line for line in lines if line["model"] == name}


async def asked(name: str, rows: Sequence[Snippet], keep: Path, end: float) -> dict[int, dict[str, Any]]:
    """A model's answers by row, those that are kept and those there is time for."""
    there = known(name, keep)
    todo = [row for row in rows if row.id not in there]
    if not todo or monotonic() > end:
        return there
    weights.pull(name, progress=print)
    provider = LocalProvider(name)

    async def ask(row: Snippet) -> dict[str, Any]:
        return line_of(name, row, await provider.complete(request(name, row)))

    for start in range(0, len(todo), 2):
        if monotonic() < end:
            for line in await asyncio.gather(*map(ask, todo[start : start + 2])):
                there[line["id"]] = line
                write(keep, line)
    await provider.close()
    return there


def write(keep: Path, line: dict[str, Any]) -> None:
    """One answer more in the file."""
    with keep.open("a") as file:
        file.write(json.dumps(line) + "\n")


def line_of(model: str, row: Snippet, answer: Answer) -> dict[str, Any]:
    """One answer, as it is kept."""
    score = own_score(answer, TASK.read(answer), LABELS)
    return {"model": model, "id": row.id, "answer": answer.text, "score": score, "seconds": answer.usage.cpu_seconds}


def compared(name: str, rows: Iterable[Snippet], truth: Any, said: Any) -> dict[str, Any]:
    """One model's line."""
    known = [(row, said[row.id]) for row in rows]
    agreeing = sum(line["answer"] == truth[row.id]["answer"] for row, line in known)
    low, high = interval(agreeing, len(known), 0.95)
    seconds, reference = (sum(each[row.id]["seconds"] for row, _ in known) for each in (said, truth))
    return {
        "model": name,
        "rows": len(known),
        "right": sum(right(row.rating, line["answer"]) for row, line in known) / len(known),
        "agree": agreeing / len(known),
        "low": float(low),
        "high": float(high),
        "seconds": seconds / len(known),
        "price": seconds / reference,
    }


def replayed(
    way: Sequence[str], table: Sequence[Snippet], rows: Sequence[Snippet], said: Any, seeds: int
) -> dict[str, Any]:
    """What the demo would have saved with these candidates, seed by seed."""
    runs = []
    for seed in range(seeds):
        frame = pl.DataFrame(filled(way, table, rows, said, np.random.default_rng(seed)), infer_schema_length=None)
        runs.append(replay(frame, reference=SHOW.model, candidates=list(way), agreement=AGREEMENT,
                           confidence=CONFIDENCE, trials=1, seed=seed))  # fmt: skip
        print(f"seed {seed}: {' + '.join(way)}: saving {runs[-1].saving:.2f}", flush=True)
    return {
        "candidates": " + ".join(way),
        "saving": 1 / float(np.mean([1 / run.saving for run in runs])),
        "least": min(run.saving for run in runs),
        "most": max(run.saving for run in runs),
        "rows profiled": float(np.mean([run.profiled_mean for run in runs])),
        "broken": sum(run.violations for run in runs),
    }


def filled(way: Sequence[str], table: Sequence[Snippet], rows: Sequence[Snippet], said: Any, draw: Any) -> list[Any]:
    """The table's answers as `replay` reads them; those nobody was asked for are taken from rows like it."""
    like = {flag: [row for row in rows if by_words(row, said) is flag] for flag in (True, False)}
    lines = []
    for row in table:
        model = row if row in rows else like[by_words(row, said)][draw.integers(len(like[by_words(row, said)]))]
        for name in (SHOW.model, *way):
            line = said[name][row.id if name == WORDS else model.id]
            answer = LABELS[
                (row.rating < 0) ^ (not right(row.rating if name == WORDS else model.rating, line["answer"]))
            ]
            lines.append({"item_id": str(row.id), "model": name, "answer": answer, "cost_usd": line["seconds"],
                          "score": line["score"]})  # fmt: skip
    return lines


def by_words(row: Snippet, said: Any) -> bool:
    """Whether the words are right on it."""
    return right(row.rating, said[WORDS][row.id]["answer"])


if __name__ == "__main__":
    main()
