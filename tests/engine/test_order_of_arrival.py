"""Evidence is the prefix of the seeded order, whatever arrives first: slow bad rows and blocks of duplicates.

A table of 900 rows in which one text stands 120 times, bad rows just over the allowance, every bad row answering
slowest. Profiling goes through the live driver (only the models are simulated); the rule is then applied to the table.
"""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from trials import GUILTY, tried

from smart_llm import procedures
from smart_llm.engine.live import Live
from smart_llm.events import Stop, nobody
from smart_llm.routing import assign, route
from smart_llm.scores.traits import answer_key
from smart_llm.simulation.drive import Population
from smart_llm.tables import Table
from smart_llm.tasks import Task
from smart_llm.types import AGREE, BAD, Answer, Ask, Ints, Mix, Model, Problem, Rate, Request, Traits, Usage, Verdict

ROWS, BLOCK = 900, 120
AGREEMENT = Fraction("0.8")
MODELS = (Model("fake:big", "fake", "big", Rate(10, 10)), Model("fake:small", "fake", "small", Rate(1, 1)))


def population() -> tuple[Table, np.ndarray]:
    """Texts, and which rows the candidate gets wrong: the block of duplicates among them, B + 8 % in all."""
    allowed = ROWS - -(-AGREEMENT * ROWS // 1)
    singles = [f"row {i}" for i in range(ROWS - BLOCK)]
    texts = [*singles[:300], *["the same text"] * BLOCK, *singles[300:]]
    wrong = {"the same text", *singles[: int(1.08 * allowed) - BLOCK]}
    return Table(pl.DataFrame({"text": texts}), "dicts"), np.array([text in wrong for text in texts])


class SlowWhereBad:
    """Answers at once, but for the rows the candidate gets wrong: those wait until all others are done."""

    def __init__(self, wrong: set[str]) -> None:
        self.wrong = wrong

    async def ask(self, request: Request) -> Answer:
        """Bad rows come last."""
        bad = request.prompt.removeprefix("? ") in self.wrong
        for _ in range(30 if bad else 0):
            await asyncio.sleep(0)
        text = "no" if bad and request.model == "fake:small" else "yes"
        return Answer(text, Usage(1, 1), cost=10e-6 if request.model == "fake:big" else 1e-6)


async def violated(seed: int, table: Table, wrong: np.ndarray, texts: set[str]) -> tuple[bool, bool]:
    """One live run: was the promise broken, and did the candidate deliver anything?"""
    task = Task("? {text}", labels=["yes", "no"])
    live = Live(table, task, MODELS, SlowWhereBad(texts), stop=Stop())
    problem = Problem(ROWS, AGREEMENT, Fraction("0.95"), "fake:big", ("fake:small",), (10e-6, 1e-6), seed)
    conversation = procedures.get("ladder")(problem)
    try:
        ask = next(conversation)
        while True:
            answers, _ = await live.profile(ask, 64, nobody)
            ask = conversation.send(answers)
    except StopIteration as stop:
        verdict = stop.value
    missed = int((wrong & (delivered_by(verdict, seed, table, wrong) == 1)).sum())
    return missed > problem.allowance, verdict.granted


def delivered_by(verdict: Verdict, seed: int, table: Table, wrong: np.ndarray) -> Ints:
    """The model that answers each row, by the same functions the live engine calls row by row."""
    if isinstance(verdict.rule, Mix):
        return assign(verdict, seed, ROWS)
    keys = np.column_stack([np.full(ROWS, answer_key("yes")), np.where(wrong, answer_key("no"), answer_key("yes"))])
    lengths = np.column_stack([np.full(ROWS, 3.0), np.where(wrong, 2.0, 3.0)])
    traits = Traits(keys, lengths, np.array([len(f"? {text}") for text in table.frame["text"]], float))
    marks = np.column_stack([np.zeros(ROWS), np.where(wrong, BAD, AGREE)]).astype(np.int8)
    people = Population(marks, np.zeros((ROWS, 2)), np.full((ROWS, 2), np.nan), traits)
    left = np.setdiff1d(np.arange(ROWS), verdict.profiled)
    by = np.zeros(ROWS, np.int64)
    by[left] = route(verdict.rule, seed, ROWS, left, lambda rows, models: people.answer(Ask(rows, models, "deliver")))
    return by


@pytest.mark.slow
def test_slow_bad_rows_and_duplicates_do_not_break_the_promise() -> None:
    """Over as many live runs as it takes to tell, at a rate just over the allowance, it fails in no more than 5 %."""
    table, wrong = population()
    texts = {text for text, bad in zip(table.frame["text"], wrong, strict=True) if bad}
    granted = list[bool]()

    def broken(seed: int) -> bool:
        missed, delivered = asyncio.run(violated(seed, table, wrong, texts))
        granted.append(delivered)
        return missed

    trial = tried(broken, 0.05)
    assert trial.evidence < GUILTY, trial
    assert sum(granted) > len(granted) / 10, "nothing was certified: the test would prove nothing"
