"""What failed in a run that is finished, and stands: its rows were delivered without these answers.

A finished run that is run again asks for nothing but answers of rows that have none. Every other call that failed, of a
candidate say, on a row that the reference then answered, is not made again; so every other row is delivered as it was,
whatever other runs have bought in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from smart_llm.engine.live import BROKEN, Live
from smart_llm.ledger import Ledger, RunRecord
from smart_llm.types import Ints

DONE = "done"
"""State of a run whose rows are all settled."""
DELIVERED = "delivered"
"""Kind of the event that ends a delivery."""


@dataclass(frozen=True)
class Stands:
    """failed: the errors of all requests that failed, by key. lost: the keys of those of rows without an answer."""

    failed: Mapping[str, str] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()

    @classmethod
    def of(cls, record: RunRecord, ledger: Ledger) -> Stands:
        """Of a run: nothing, unless it is finished."""
        told = ledger.latest(record.run_id, DELIVERED) if record.state == DONE else None
        return cls(told["failed"], frozenset(told["lost"])) if told else cls()


def note_failures(live: Live, record: RunRecord, ledger: Ledger) -> None:
    """Record what failed in a run whose rows are all settled."""
    failed = dict(sorted(live.client.failed.items()))
    without = np.array(sorted(live.errors), np.int64)
    models = range(len(live.models))
    keys = {key for prompt in live.prompts(without) for of in live.keys(prompt, models) for key in of}
    told = {"failed": failed, "lost": sorted(keys & failed.keys())}
    if ledger.latest(record.run_id, DELIVERED) != told:
        ledger.event(record.run_id, DELIVERED, told)


def askable(live: Live) -> Ints:
    """The rows settled without an answer whose failure does not stand."""
    rows = np.array(sorted(row for row, error in live.errors.items() if error != BROKEN), np.int64)
    keys = [live.keys(prompt, (0,))[0][0] for prompt in live.prompts(rows)]
    left = [row for row, key in zip(rows.tolist(), keys, strict=True) if key not in live.client.failed]
    return np.array(left, np.int64)
