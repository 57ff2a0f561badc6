"""Runs that began before another one in the same ledger: a certificate counts them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from smart_llm.ledger import RunRecord, canonical


def earlier(record: RunRecord, runs: Sequence[RunRecord]) -> dict[str, int]:
    """How many runs of a ledger began before this one: all of them, those on its table, and of these the ones with its
    task. Those whose plan is of another version count, too."""
    before = list(takewhile(lambda run: run.run_id != record.run_id, runs))
    plan = record.plan
    table = [run for run in before if run.recorded.get("table") == plan.table]
    task = canonical(plan.task)
    return {
        "earlier_runs": len(table),
        "earlier_runs_same_task": sum(canonical(run.recorded.get("task")) == task for run in table),
        "earlier_runs_in_ledger": len(before),
    }
