"""Tables on which `ladder/3` broke its promise, through the public `replay`: nothing is replaced, what ships is tested.

Every cell has a sequential test (kit/trials.py). The fault to be found is the rate that `ladder/3` had there, and it
would be found with probability .999.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import polars as pl
import pytest
from trials import GUILTY, Trial

from smart_llm import replay

CLEARED = log(1 / 1000)
BATCH = 50
ENOUGH = 20_000
"""Runs after which a procedure that is neither counts as keeping its promise: one close to the line, on its good side
or hardly beyond it."""


@dataclass(frozen=True)
class Cell:
    """One table: bad rows of each candidate at random places, and how often `ladder/3` broke the promise there."""

    rows: int
    agreement: str
    confidence: str
    bad: tuple[int, ...]
    prices: tuple[float, ...]
    rate: float
    scores: bool = False

    @property
    def allowed(self) -> float:
        """How often it may."""
        return 1 - float(self.confidence)


BOLD = Cell(200, "0.9", "0.8", (25,), (0.3,), 0.25)
SLIGHT = [
    Cell(200, "0.9", "0.9", (24,), (0.3,), 0.12),
    Cell(200, "0.9", "0.95", (25,), (0.3,), 0.0654),
    Cell(300, "0.9", "0.95", (36,), (0.3,), 0.066),
    Cell(100, "0.8", "0.95", (31,), (0.3,), 0.062),
]
"""Of two more cells, of 1,000 rows at .057 and .058, a run tells half as much and takes longer. Leaving them out
changes how long the test takes, not what it finds: it goes on until its evidence is at one of its two limits."""
SEVERAL = Cell(80, "0.8", "0.9", (21, 48, 48), (0.4, 0.36, 0.38), 0.145, scores=True)


@pytest.mark.slow
def test_one_candidate() -> None:
    """The rows that decide how a run goes on are not counted as evidence for what was decided: one candidate."""
    assert (trial := tried([BOLD])).evidence < GUILTY, trial


@pytest.mark.slow
def test_several_candidates() -> None:
    """The same where no candidate is cheap enough for a pilot of its own, and all have scores that know nothing."""
    assert (trial := tried([SEVERAL])).evidence < GUILTY, trial


@pytest.mark.slow
def test_slight_excesses_together() -> None:
    """The same where a single cell would take long to tell: the evidence of all is added up."""
    assert (trial := tried(SLIGHT)).evidence < GUILTY, trial


def test_alpha_spent_three_times_is_found_out() -> None:
    """The tests can fail: a procedure that is run at three times the error probability it is judged by is guilty."""
    assert tried(SLIGHT[:1], run_at="0.7").evidence >= GUILTY


def tried(cells: Sequence[Cell], *, run_at: str | None = None) -> Trial:
    """The cells in turn, until it is settled. run_at: a confidence other than the one they are judged by."""
    tables, trial = [table(cell) for cell in cells], Trial()
    while CLEARED < trial.evidence < GUILTY and trial.runs < ENOUGH:
        seed = trial.runs
        for cell, answers in zip(cells, tables, strict=True):
            broken = violations(cell, answers, seed, run_at or cell.confidence)
            trial = trial.after(BATCH, broken, cell.allowed, cell.rate)
    return trial


def violations(cell: Cell, answers: pl.DataFrame, seed: int, confidence: str) -> int:
    """Of `BATCH` runs with seeds from this one on."""
    return replay(
        answers, reference="ref", agreement=cell.agreement, confidence=confidence, trials=BATCH, seed=seed
    ).violations


def table(cell: Cell) -> pl.DataFrame:
    """Recorded answers: no two of the reference's are alike, so that there is nothing to learn from them; with scores,
    two labels, and every candidate has a score that knows nothing."""
    rng = np.random.default_rng(7)
    label = rng.random(cell.rows) < 0.5
    right = [("yes" if yes else "no ") if cell.scores else f"a{row:04}" for row, yes in enumerate(label)]
    frames = [answered(right, 1.0, "ref", None)]
    for number, (count, price) in enumerate(zip(cell.bad, cell.prices, strict=True), 1):
        said = list(right)
        for row in rng.choice(cell.rows, count, replace=False):
            said[row] = ("no " if label[row] else "yes") if cell.scores else f"b{row:04}"
        frames.append(answered(said, price, f"c{number}", rng.normal(size=cell.rows) if cell.scores else None))
    return pl.concat(frames)


def answered(said: Sequence[str], price: float, model: str, score: np.ndarray | None) -> pl.DataFrame:
    """One model's lines."""
    items = [f"r{row}" for row in range(len(said))]
    lines = pl.DataFrame({"item_id": items, "answer": list(said)})
    told = pl.lit(None, pl.Float64) if score is None else pl.Series(score)
    return lines.with_columns(model=pl.lit(model), cost_usd=pl.lit(price), score=told)
