"""What a run's files are called, recorded for those who look at the ledger later. Nothing that decides reads it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from smart_llm.engine.job import Job
from smart_llm.engine.live import Live
from smart_llm.ledger import Ledger
from smart_llm.ledger.entries import GIVEN, IDS
from smart_llm.tables import Table
from smart_llm.types import Json

MOST_IDS, LONGEST_ID = 20_000, 80
"""Rows whose ids are recorded, at most, and characters of one."""


def about(job: Job, output: Path | None) -> dict[str, Json]:
    """Names without folders: a report is passed on. columns: those of the prompt, so that cells can be told from it."""
    table, columns = job.table, job.task.columns(job.table.columns)
    return {
        "table": table.path.name if table.path else None,
        "output": output.name if output else None,
        "columns": list(columns),
    }


def note_answers(live: Live, run_id: str, ledger: Ledger) -> None:
    """How many rows got each label: answers of other kinds are many, and may quote the row."""
    labels = live.task.contract.labels
    if labels is None:
        return
    found = Counter(answer for answer in live.rows.answers if answer is not None)
    if found:  # on Ray the answers are with the workers
        _note(ledger, run_id, GIVEN, {label: found[label] for label in labels})


def note_ids(live: Live, table: Table, column: str | None, run_id: str, ledger: Ledger) -> None:
    """What the rows a report may show are called in their own table. None where no text of rows is to be kept."""
    if column is None or not ledger.store_text:
        return
    shown = [*sorted(live.rows.errors), *(int(row) for rows, _ in live.batches for row in rows)]
    rows = list(dict.fromkeys(shown))[:MOST_IDS]
    cells = table.cells_at(rows, [column])
    named = {str(row): cell[column][:LONGEST_ID] for row, cell in zip(rows, cells, strict=True)}
    _note(ledger, run_id, IDS, {"column": column, "ids": named})


def _note(ledger: Ledger, run_id: str, kind: str, told: Json) -> None:
    """Unless that is what stands there."""
    if ledger.latest(run_id, kind) != told:
        ledger.event(run_id, kind, told)
