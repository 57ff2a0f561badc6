"""The report of a run, from the ledger to the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from smart_llm.engine.job import PLAN
from smart_llm.errors import InputError
from smart_llm.ledger import Reader, RunRecord
from smart_llm.reports.facts import find, read
from smart_llm.tasks import Task
from smart_llm.tasks.functions import bare

Place: TypeAlias = str | os.PathLike[str]


def report(run: str, path: Place, *, ledger: Place, task: Task | None = None) -> None:
    """Write the report of a run that a ledger remembers, finished or not: one HTML page that needs nothing else.

    run: its id (`Run.run_id`, `smart runs`), the beginning of it, or `last`. task: needed only where the task has
    functions of your own, for showing where models disagreed. Raises `InputError`, `LedgerError`.
    """
    check(path)
    with Reader.open(Path(ledger)) as reader:
        record = find(reader.runs(), run)
        if record.plan.get("format") != PLAN:
            raise InputError(
                f"run {record.run_id} was made by another version of smart-llm: reports need one of {PLAN}."
            )
        if task is not None and bare(task.to_json()) != bare(record.plan["task"]):
            raise InputError(f"run {record.run_id} had another task: give the one it had, or none.")
        make(reader, record, path, task)


def make(reader: Reader, run: RunRecord, path: Place, task: Task | None) -> None:
    """Write the page of a run. `InputError` where it cannot be written."""
    from smart_llm.reports import page  # the template engine takes a while to load
    from smart_llm.reports.view import view

    page.write(view(read(reader, run, task)), path)


def check(path: Place) -> None:
    """`InputError`: a page could not be written there. Found out before anything is spent; leaves nothing behind."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError(f"--report {path}: that is a folder, name a file in it")
    if not target.parent.is_dir():
        raise InputError(f"--report {path}: there is no folder {target.parent}, make it first")
    if not os.access(target.parent, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise InputError(f"--report {path}: it cannot be written, permission denied")
