"""What a model's own word for its label is worth: log-probability of its tokens, odds, repetitions; real models.

    python benchmarks/label_scores.py [--rows 200] [--task two five …] [--candidate NAME …] [--draws 4]

Local models answer freely, as behind a provider's API: the prompt names the labels, nothing is forced, and the five
most probable tokens in each place are listed. Reference: the 1.5B model; candidate: the 0.5B. Text: movie-review
snippets (`smart demo` fetches them). Rows where either breaks the contract are left out.

tokens  log-probability of the answer's tokens
odds    of the label against everything else that is listed (`scores.own.own_score`)
draws   with --draws: share of further draws at temperature 1 that repeat the label (`?draws=K`)

auroc   how often a row on which the candidate agrees is surer than one on which it does not (ties count half)
kept    share of the rows, surest first, up to which at least --agreement of them agree (in hindsight, for comparing)
equal   share of rows whose score is shared with another row: their order is chance
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
from common import finish, options, show, spread
from scipy.stats import rankdata

from smart_llm.cli import demonstration as demo
from smart_llm.cli import snippets
from smart_llm.engine.questions import WARM
from smart_llm.errors import InputError
from smart_llm.providers import replies
from smart_llm.providers.local import provider as local
from smart_llm.providers.local import weights
from smart_llm.scores.own import answer_log_probability, label_log_odds, own_score
from smart_llm.tasks import Task
from smart_llm.types import Answer

Said: TypeAlias = list[Answer]
"""The answer that counts, then the further draws."""

REFERENCE = "qwen2.5-coder-1.5b"
CANDIDATE = "qwen2.5-coder-0.5b"
TEXT = "\n\nReview: {text}\n"
TASKS = {
    "two": Task(demo.PROMPT, labels=snippets.LABELS),
    "three": Task(
        "What does the reviewer think of the movie? Answer with one word: positive, neutral or negative." + TEXT,
        labels=["positive", "neutral", "negative"],
    ),
    "five": Task(
        "How good is the movie? Answer with one word: terrible, poor, average, good or excellent." + TEXT,
        labels=["terrible", "poor", "average", "good", "excellent"],
    ),
    "alike": Task(
        "How is this review? Answer with one of: very positive, slightly positive, very negative, slightly negative."
        + TEXT,
        labels=["very positive", "slightly positive", "very negative", "slightly negative"],
    ),
}
COLUMNS = ("task", "candidate", "rows", "agree", "odds known", "score", "auroc", "kept", "equal")


def main() -> None:
    """Run and print."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--candidate", nargs="+", default=[CANDIDATE])
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--agreement", type=float, default=0.9)
    args = parser.parse_args()
    rows, tasks = (20, args.task[:1]) if args.quick else (args.rows, args.task)
    try:
        texts = [snippet.text for snippet in snippets.reviews(lambda _: None)][:: max(1, 10_000 // rows)][:rows]
        paths = {name: weights.locate(name) for name in (REFERENCE, *args.candidate)}
    except InputError as error:
        sys.exit(f"skipped: {error}")
    prompts = {task: [TASKS[task].render({"text": text}) for text in texts] for task in tasks}
    said = {name: everything(paths[name], prompts, args.draws, args.jobs) for name in args.candidate}
    reference = everything(paths[REFERENCE], prompts, 0, args.jobs)
    cells = [
        line | {"task": task, "candidate": name}
        for task in tasks
        for name in args.candidate
        for line in compared(TASKS[task], reference[task], said[name][task], args.agreement)
    ]
    show(cells, COLUMNS)
    finish({"benchmark": "label_scores", "cells": cells}, args.json)


def everything(path: Path, prompts: dict[str, list[str]], draws: int, threads: int) -> dict[str, list[Said]]:
    """One model's answers to all prompts of all tasks."""
    idle: SimpleQueue[local.Engine] = SimpleQueue()
    for _ in range(threads):
        idle.put(local.start(path, local.CONTEXT))

    def ask(prompt: str, draw: int) -> Answer:
        engine = idle.get()
        seed = crc32(f"{draw} {prompt}".encode())  # of its own: one seed for all rows leans them all to the same label
        how = {"max_tokens": 12, "temperature": WARM if draw else 0.0, "seed": seed, "cache_prompt": False}
        messages = [{"role": "user", "content": prompt}]
        try:
            reply = engine.server.handle_chat_completions(
                {"messages": messages, "logprobs": True, "top_logprobs": 5, **how}
            )
        finally:
            idle.put(engine)
        return replies.answer(msgspec.json.encode(reply))

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask, p, draw) for task in prompts for p in prompts[task] for draw in range(1 + draws)]
        said = iter(list(spread(lambda future: future.result(), asked, 1)))
    return {task: [[next(said) for _ in range(1 + draws)] for _ in prompts[task]] for task in prompts}


def compared(task: Task, reference: list[Said], candidate: list[Said], agreement: float) -> list[dict[str, Any]]:
    """A line per score."""
    labels = task.contract.labels or ()
    read = []
    for one, said in zip(reference, candidate, strict=True):
        theirs, ours = task.parse(one[0].text), task.parse(said[0].text)
        if theirs is not None and ours is not None:
            read.append((theirs == ours, ours, said))
    agree = np.array([same for same, _, _ in read])
    scores: dict[str, list[float]] = {
        "tokens": [answer_log_probability(said[0].logprobs, (said[0].text or "").strip()) for _, _, said in read],
        "odds": [own_score(said[0], value, labels) for _, value, said in read],
    }
    if len(candidate[0]) > 1:
        scores["draws"] = [float(np.mean([task.parse(d.text) == value for d in said[1:]])) for _, value, said in read]
    odds = [label_log_odds(said[0].logprobs, said[0].listed, labels, value) for _, value, said in read]
    head = {"rows": len(read), "agree": float(agree.mean()), "odds known": float(np.isfinite(odds).mean())}
    return [head | judged(name, np.array(score), agree, agreement) for name, score in scores.items()]


def judged(name: str, score: Any, agree: Any, agreement: float) -> dict[str, Any]:
    """What a score is worth; NaN is the least sure."""
    score = np.where(np.isnan(score), -np.inf, score)
    ranks, good = rankdata(score), int(agree.sum())
    bad = len(agree) - good
    auroc = (ranks[agree].sum() - good * (good + 1) / 2) / (good * bad) if good and bad else float("nan")
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(agree[order]) / np.arange(1, len(order) + 1)
    kept = int(np.flatnonzero(right >= agreement).max(initial=-1)) + 1
    _, counts = np.unique(score, return_counts=True)
    equal = counts[counts > 1].sum() / len(score)
    return {"score": name, "auroc": float(auroc), "kept": kept / len(score), "equal": float(equal)}


if __name__ == "__main__":
    main()
