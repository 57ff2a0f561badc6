"""May a label serve twice, as evidence and as a lesson? `learned` on a recorded table taken as one window of a stream.

    python benchmarks/label_twice.py [--seeds 3] [--first 160 600] [--target 0.8 0.9 0.95]

Rows come in random order. Each is judged by the model of the moment, accepted or deferred, and only then a coin decides
whether an accepted one is audited (lemma 14): so model and limit may change after every row. Every deferred or audited
row teaches: whenever there are a third more labels, the model is taught anew, and what is believed of its answers is
made anew of what it says of all these rows, each without having seen it. `first`: rows that go to the reference before
anything is accepted. Counts, coins and acceptance are those that ship (`procedures.stream`); beside it stands the table
run of `benchmarks/learned.py saving --alone`: training rows first, one look at fresh rows then.

The recorded table is `../shared/data/recorded/shop_sentiment.parquet`; where it is not there, nothing is measured.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from learned import TARGETS, recorded

from smart_llm.learned.learner import Learner
from smart_llm.procedures.stream import COINS, Accepted, Another, Stream, StreamPromise, Tried, Window
from smart_llm.procedures.stream.beliefs import Memory
from smart_llm.procedures.stream.thrift import Thrift
from smart_llm.simulation.recorded import load
from smart_llm.simulation.taught import School

LEAST, GROWTH = 48, 4 / 3
"""Labels of the first lesson; × those of a lesson, those of the next."""
SHOWN = 8_000
"""Answers without a label from which it is seen how often which certainty occurs."""


class Anew(Thrift):
    """Acceptance whose beliefs are made anew after every lesson. first: see the top."""

    def __init__(self, promise: StreamPromise, first: int) -> None:
        super().__init__(promise, [0.0])
        self.pilot = first

    def forget(self, odds: np.ndarray, agreed: np.ndarray, share: np.ndarray, others: np.ndarray) -> None:
        """What the model of the last lesson says of rows with labels, which of them it had not seen, and of others."""
        memory = self.memories[0] = Memory(0.0)
        for each in others.tolist():
            memory.add(Tried(0, score=each), None, self.now)
        for each, good, chance in zip(odds.tolist(), agreed.tolist(), share.tolist(), strict=True):
            memory.label(memory.add(Tried(0, score=each), None, self.now), good, chance)
        self.window = 0  # the table of limits follows from the beliefs


class Run:
    """One pass over the table."""

    def __init__(self, school: School, target: str, first: int, seed: int) -> None:
        self.school, self.rows = school, len(school.answers)
        self.draw = np.random.default_rng(seed)
        self.order = self.draw.permutation(self.rows)
        self.acceptance = Anew(StreamPromise(target, "0.95", self.rows), first)
        self.stream = Stream(self.acceptance.promise, [0.0], acceptance=self.acceptance)
        self.learner, self.taught = Learner(school.shelf), 0
        self.told: list[int] = []
        self.share: list[float] = []
        self.label = np.full(self.rows, -1)
        self.odds = np.full(self.rows, np.nan)
        self.truth = np.array([school.known.index(answer) for answer in school.answers])
        self.misses = 0

    def play(self) -> tuple[float, int, Window]:
        """Cost as a share of the reference alone, misses, and the window."""
        for place, row in enumerate(self.order.tolist()):
            if len(self.told) >= max(LEAST, GROWTH * self.taught):
                self.lesson(place)
            self.step(row)
            self.stream.take()
        window = self.stream.windows[1]
        return len(self.told) / self.rows, self.misses, window

    def step(self, row: int) -> None:
        """One row."""
        share, tried = float(self.draw.random()), list[Tried]()
        if self.stream.first(share) is not None:
            usable = self.label[row] >= 0
            tried.append(Tried(0, usable=usable, score=float(self.odds[row]) if usable else None))
        decision = self.stream.decide(tried, share)
        if isinstance(decision, Another):
            decision = self.stream.decide((), share)
        assert not isinstance(decision, Another)
        agreed = {0: bool(self.label[row] == self.truth[row])} if tried and tried[-1].usable else {}
        if isinstance(decision, Accepted):
            if not self.stream.toss(decision, int(self.draw.integers(COINS))).audit:
                self.misses += not agreed[0]
                return
            self.misses += not agreed[0]  # delivered before the audit
        self.told.append(row)
        self.share.append(self.stream.windows[1].terms.audit_share if isinstance(decision, Accepted) else 1.0)
        self.stream.settle(decision.request, answered=True, agreed=agreed, cost=1.0)

    def lesson(self, place: int) -> None:
        """Taught with all labels so far; what it says of the rows to come."""
        rows, left = np.array(self.told), self.order[place:]
        said = self.learner.teach(rows, [self.school.answers[row] for row in rows.tolist()])
        self.taught = len(rows)
        if said is None or self.learner.fitted is None:
            return
        names = np.array([self.school.known.index(label) for label in self.learner.fitted.labels])
        coming = self.learner.said(left)
        self.label[left], self.odds[left] = names[coming.label], coming.odds
        agreed = names[said.label] == self.truth[rows]
        self.acceptance.forget(said.odds, agreed, np.array(self.share), self.odds[left[:SHOWN]])


def main() -> None:
    """As the first line of the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, nargs="+", default=[160, 600])
    parser.add_argument("--target", nargs="+", default=list(TARGETS))
    options = parser.parse_args()
    print(f"# {time.strftime('%Y-%m-%d')} {' '.join(sys.argv)}", flush=True)
    school = load(recorded(), reference="baidu", candidates=["learned"]).school
    assert school is not None
    for target in options.target:
        for first in options.first:
            runs = [Run(school, target, first, seed).play() for seed in range(options.seeds)]
            cost = np.array([each[0] for each in runs])
            terms = [window.terms for _, _, window in runs]
            broken = sum(misses > window.terms.allowance for _, misses, window in runs)
            print(
                f"{target:5} first {first:5}: cost {cost.mean():.4f} (worst {cost.max():.4f}), saving "
                f"{1 / cost.mean():.1f} ×; {broken} of {len(runs)} broken; misses "
                f"{np.mean([each[1] for each in runs]) / terms[0].allowance:.2f} of what is allowed; audits of "
                f"{np.mean([each.audit_share for each in terms]):.4f}, credit {[each.credit for each in terms]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
