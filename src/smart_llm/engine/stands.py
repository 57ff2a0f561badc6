"""What failed in earlier sessions of a run, and for how long that stands.

What failed as evidence stands as long as evidence is made; a row without an answer is asked again when it is delivered.

A finished run that is run again asks for nothing but answers of rows that have none. Every other call that failed, of a
candidate say, on a row that the reference then answered, is not made again; so every other row is delivered as it was,
whatever other runs have bought in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from smart_llm.engine.live import Live
from smart_llm.engine.once import STANDS
from smart_llm.engine.statuses import BROKEN
from smart_llm.ledger import Ledger, RunRecord
from smart_llm.ledger.aside import SET_ASIDE
from smart_llm.ledger.entries import ASK, DONE, FAILURES, lost
from smart_llm.text.numbers import count
from smart_llm.types import Ints


@dataclass(frozen=True)
class Stands:
    """Failed requests, by key. evidence: as evidence, or of rows set aside. paid: what evidence that failed cost all
    the same, USD; it is part of what the procedure knew. delivered: of a finished run, all that
    stood at its end, with their errors. lost: of these, those of rows without an answer."""

    evidence: frozenset[str]
    delivered: Mapping[str, str] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    paid: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, record: RunRecord, ledger: Ledger) -> Stands:
        """Of a run, so far."""
        events = ledger.events(record.run_id)
        evidence = {key for event in events if event.kind == ASK for key in lost(event.payload)}
        evidence |= {key for event in events if event.kind == SET_ASIDE for key in event.payload["failed"]}
        asks = [event.payload for event in events if event.kind == ASK]
        paid = {key: cost for ask in asks for key, cost in ask.get("paid", {}).items()}
        told = ledger.latest(record.run_id, FAILURES) if record.state == DONE else None
        if told is None:
            return cls(frozenset(evidence), paid=paid)
        failed = {key: error for error, keys in told["failed"].items() for key in keys}
        return cls(frozenset(evidence), failed, frozenset(told["lost"]), paid)

    @property
    def before_delivery(self) -> dict[str, str]:
        """What is not asked as long as evidence is made."""
        return dict.fromkeys(self.evidence, STANDS) | dict(self.delivered)


def resuming(record: RunRecord, ledger: Ledger) -> str:
    """What to say of a run that is not new: how far it had come, by the answers there are, since a run that was killed
    has left no count of its rows, or an old one."""
    head = f"Resuming run {record.run_id}"
    if record.state == DONE:
        return f"{head}: it is finished, and {_all_of(record.plan.rows)} settled."
    bought = sum(each.calls for each in ledger.account(record.run_id) if each.outcome == "answered")
    if not bought:
        return f"{head}: it has bought no answer yet."
    return f"{head}: {count(bought, 'answer')} already bought, and not paid for again."


def _all_of(rows: int) -> str:
    return f"all its {rows:,} rows are" if rows > 1 else "its only row is"


def note_failures(live: Live, record: RunRecord, ledger: Ledger, *, before: Mapping[str, str]) -> None:
    """Record what failed in a run whose rows are all settled, and has no answer yet. An error may quote its row: where
    no text is stored, none is. before: what had failed when delivery began."""
    gone = {**before, **live.client.failed}
    gone = {key: error for key, error in sorted(gone.items()) if ledger.get(key) is None}
    failed = dict[str, list[str]]()
    for key, error in gone.items():
        failed.setdefault(error if ledger.store_text else STANDS, []).append(key)
    without = np.array(sorted(live.rows.errors), np.int64)
    models = range(len(live.models))
    keys = {
        key for prompt in live.questions.prompts(without) for of in live.questions.keys_of(prompt, models) for key in of
    }
    told = {"failed": failed, "lost": sorted(keys & gone.keys())}
    if ledger.latest(record.run_id, FAILURES) != told:
        ledger.event(record.run_id, FAILURES, told)


def askable(live: Live, stands: Stands) -> Ints:
    """The rows that had no answer as evidence in an earlier session, and may be asked again."""
    rows = np.array(sorted(row for row, error in live.rows.errors.items() if not error.startswith(BROKEN)), np.int64)
    keys = [live.questions.keys_of(prompt, (0,))[0][0] for prompt in live.questions.prompts(rows)]
    may = stands.evidence - live.client.failed.keys()
    left = [row for row, key in zip(rows.tolist(), keys, strict=True) if key in may]
    return np.array(left, np.int64)
