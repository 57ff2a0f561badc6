"""What a run's files are called, recorded for those who look at the ledger later. Nothing that decides reads it."""

from __future__ import annotations

from pathlib import Path

from smart_llm.engine.job import Job
from smart_llm.types import Json

ABOUT = "about"
"""Kind of the event."""


def about(job: Job, output: Path | None) -> dict[str, Json]:
    """Names without folders: a report is passed on. columns: those of the prompt, so that cells can be told from it."""
    table, columns = job.table, job.task.columns(job.table.columns)
    return {
        "table": table.path.name if table.path else None,
        "output": output.name if output else None,
        "columns": list(columns),
    }
