"""The promise about tables that change after a run, by whole runs of `smart.run` against a reference that is hostile.

The reference answers what makes a look at the taught candidate worth while until the look is decided. Then it reads the
model that was taught out of the ledger and settles all rows that nobody has asked about: just so many wrong ones as the
bound allows for, surest first. When the run has ended, it knows which rows were delivered wrongly, and says how the
table changes; the same command is run again, in the same ledger, and the reference does the same to it.

    python benchmarks/grown_promise.py [--runs 100] [--rows 400] [--cell lost]

How often the second certificate is broken must be at most 1 − confidence, up to chance. The confidence is low, so that
a second chance to break the promise shows in few runs: a run takes two to four CPU-seconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import smart_llm as smart
from smart_llm.learned.model import kept_model
from smart_llm.ledger.entries import FIXED, TAUGHT
from smart_llm.stats.clopper_pearson import interval
from smart_llm.types import Request

LABELS = ("no", "yes")
TASK = smart.Task("Good?\n{text}", labels=list(LABELS))
AGREEMENT, CONFIDENCE = "0.8", "0.7"
PLAIN = 0.2
"""Of all rows: those whose words do not tell the label."""
MONEY = 1.1e-5
"""USD a row, where money may run out: calls for about six rows of ten."""
Row = dict[str, str]


class Reference:
    """What the reference says, settled as late as can be. lost: texts that it never answers; missed: rows delivered
    wrongly so far; looks: how many there were; losing: whether it may have no answer to a row; look: rows of the last
    look that are to come, and how many wrong ones it must still see to find enough."""

    def __init__(self, ledger: Path, seed: int, *, losing: bool) -> None:
        self.ledger, self.rng, self.losing = ledger, random.Random(seed), losing
        self.said: dict[str, str] = {}
        self.lost: set[str] = set()
        self.wrong: set[str] = set()
        self.table: list[Row] = []
        self.missed, self.looks, self.look = 0, 0, [0, 0]

    def answer(self, request: Request) -> smart.Answer | str:
        """One call."""
        text = request.prompt.split("\n", 1)[1]
        if text not in self.said and (fixed := self._fixed()) is not None:
            self._settle(fixed)
        if text not in self.said:
            self.said[text] = self.rng.choice(LABELS) if "plain" in text else LABELS["good" in text]
        if self.looks:
            self._lose(text)
        return smart.Answer(None, error="cut off") if text in self.lost else self.said[text]

    def _lose(self, text: str) -> None:
        """One row that the look has left to the reference has no answer, where the look has found enough."""
        if self.look[0] > 0:
            self.look[0] -= 1
            self.look[1] -= text in self.wrong
        elif self.losing and self.look[1] <= 0:
            self.losing = False
            self.lost.add(text)

    def _events(self, kind: str) -> list[Any]:
        with sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True) as base:
            rows = base.execute("select payload from events where kind = ? order by id", (kind,)).fetchall()
        return [json.loads(payload) for (payload,) in rows]

    def _fixed(self) -> dict[str, Any] | None:
        """What a look that was not seen yet is like."""
        fixed = [each["fixed"] for each in self._events(FIXED) if each["fixed"]]
        if len(fixed) == self.looks:
            return None
        self.looks, last = len(fixed), fixed[-1]
        self.look = [last.get("looked", 10**9), last.get("credit", 0) + 1]
        return dict(last) if "looked" in last else {"credit": 0, "allowance": len(self.table) // 5}

    def _settle(self, fixed: dict[str, Any]) -> None:
        """All that is left, surest first: as many wrong ones as the bound is about, and then none."""
        texts = list(dict.fromkeys(row["text"] for row in self.table if row["text"] not in self.said))
        taught = self._events(TAUGHT)
        if not texts or not taught:
            return
        model = kept_model(taught[-1])
        told = model.said(texts)
        count = max(0, fixed["allowance"] + 1 + fixed["credit"] - self.missed)
        for place, at in enumerate(sorted(range(len(texts)), key=lambda at: -told.odds[at])):
            label = model.answer(int(told.label[at]))
            self.said[texts[at]] = other(label) if place < count else label
            self.wrong |= {texts[at]} if place < count else set()


def other(label: str) -> str:
    """The other label."""
    return LABELS[label == LABELS[0]]


def rows(count: int, start: int, rng: random.Random) -> list[Row]:
    """Texts whose words tell what the reference says of most of them, some more surely than others."""
    words = ["plain" if rng.random() < PLAIN else rng.choice(["bad", "good"]) for _ in range(count)]
    return [
        {"text": f"{' '.join([word] * rng.randint(1, 3))} {rng.randrange(40)} w{start + at}"}
        for at, word in enumerate(words)
    ]


def ran(reference: Reference, seed: int, budget: float | None = None) -> smart.Run[Any] | None:
    """The command on the table as it is; None where the money ran out."""
    try:
        return smart.run(
            reference.table,
            TASK,
            reference="fake:ref?in=1&out=1",
            candidates=["learned"],
            agreement=AGREEMENT,
            confidence=CONFIDENCE,
            seed=seed,
            budget=budget,
            progress=False,
            ledger=reference.ledger,
            providers={"fake:ref": smart.FakeProvider(reference.answer, keep=True)},
        )
    except smart.BudgetExhausted:
        return None


def broken(reference: Reference, done: smart.Run[Any]) -> bool:
    """Whether a certificate says what is not so."""
    wrong = sum(row["answer"] != reference.said.get(row["text"], row["answer"]) for row in done.table)
    return done.certificate.status in ("certified", "reference-only") and wrong > done.certificate.claim.allowance


def wrong_rows(reference: Reference, done: smart.Run[Any] | None) -> list[Row]:
    """Rows that were delivered wrongly."""
    rows = [] if done is None else [row for row in done.table if row["answer"] is not None]
    told = [row for row in rows if row["answer"] != reference.said.get(row["text"])]
    return [{"text": row["text"]} for row in told]


Change = Callable[[Reference, "smart.Run[Any] | None", random.Random], None]


def grown(share: float) -> Change:
    """Rows are added that are as bad as they may be."""

    def change(reference: Reference, done: smart.Run[Any] | None, rng: random.Random) -> None:
        count = len(reference.table)
        reference.table = [*reference.table, *rows(int(share * count), count, rng)]

    return change


def doubled(reference: Reference, done: smart.Run[Any] | None, rng: random.Random) -> None:
    """Copies of rows that were delivered wrongly are added, else of any that a candidate has answered."""
    wrong = wrong_rows(reference, done) or [
        {"text": row["text"]} for row in (done.table if done else []) if row["answered_by"] == "learned"
    ]
    copied = [wrong[at % len(wrong)] for at in range(len(reference.table) // 10)] if wrong else []
    reference.table = [*reference.table, *copied, *rows(1, len(reference.table), rng)]


def altered(reference: Reference, done: smart.Run[Any] | None, rng: random.Random) -> None:
    """Every tenth row says something else, but for those that were delivered wrongly."""
    wrong = {row["text"] for row in wrong_rows(reference, done)}
    new = rows(len(reference.table), len(reference.table), rng)
    kept = [at % 10 > 0 or row["text"] in wrong for at, row in enumerate(reference.table)]
    reference.table = [
        old if keep else new[at] for at, (old, keep) in enumerate(zip(reference.table, kept, strict=True))
    ]


def removed(reference: Reference, done: smart.Run[Any] | None, rng: random.Random) -> None:
    """Rows that were delivered rightly go, a tenth of the table."""
    wrong = {row["text"] for row in wrong_rows(reference, done)}
    right = [at for at, row in enumerate(reference.table) if row["text"] not in wrong]
    gone = set(rng.sample(right, min(len(right), len(reference.table) // 10)))
    reference.table = [row for at, row in enumerate(reference.table) if at not in gone]


CELLS: dict[str, Change] = {
    "grown .02": grown(0.02),
    "grown .3": grown(0.3),
    "grown 1": grown(1.0),
    "lost": grown(0.3),
    "stopped": grown(0.3),
    "doubled": doubled,
    "altered": altered,
    "removed": removed,
}
"""How a table changes. lost, stopped: grown, and a row of the first run has no answer, or its money runs out, wherever
its look has left rows to the reference."""


def played(cell: str, count: int, seed: int) -> tuple[bool, bool, bool]:
    """Whether the first and the second certificate are broken, and whether the second run continued the first."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        reference = Reference(Path(folder) / "l.db", seed, losing=cell == "lost")
        reference.table = rows(count, 0, rng)
        first = ran(reference, seed, budget=MONEY * count if cell == "stopped" else None)
        before = first is not None and broken(reference, first)
        reference.missed = len(wrong_rows(reference, first))
        CELLS[cell](reference, first, rng)
        second = ran(reference, seed)
        assert second is not None
        problems = smart.verify(second.certificate, ledger=reference.ledger) if seed % 20 == 0 else []
        assert problems == [], problems
        return before, broken(reference, second), second.certificate.plan.grown is not None


def main() -> None:
    """Every cell, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--cell", choices=sorted(CELLS))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print("cell       first   second  90 % limits      continued of")
    for cell in [options.cell] if options.cell else CELLS:
        found = [played(cell, options.rows, seed) for seed in range(options.runs)]
        first, second, continued = (sum(column) for column in zip(*found, strict=True))
        low, high = interval(second, options.runs, 0.9)
        rates = f"{first / options.runs:.4f}  {second / options.runs:.4f}  {float(low):.4f}–{float(high):.4f}"
        print(f"{cell:10} {rates}  {continued:>9} {options.runs}", flush=True)


if __name__ == "__main__":
    main()
