"""The report of a run, from the ledger to the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, TypeAlias

from smart_llm.errors import InputError, named
from smart_llm.ledger import Reader, RunRecord
from smart_llm.reports.facts import find, read
from smart_llm.tasks import Task
from smart_llm.tasks.functions import bare
from smart_llm.types.plan import FORMAT

Place: TypeAlias = str | os.PathLike[str]


class Ran(Protocol):
    """What `smart.run` returns, as far as it is needed here."""

    @property
    def run_id(self) -> str:
        """The run's id."""

    @property
    def ledger(self) -> Path:
        """What was bought."""

    @property
    def task(self) -> Task:
        """What was asked."""


@named
def report(run: str | Ran, path: Place | None = None, *, ledger: Place | None = None, task: Task | None = None) -> Path:
    """Write the report of a run that a ledger remembers, finished or not: one HTML page that needs nothing else. Where
    it is.

    run: what `smart.run` returned, its id (`Run.run_id`, `smart runs`), the beginning of it, or `last`. path: by
    default report-RUN.html in this folder. ledger: by default the run's own, or for an id those of this folder and of
    tables in memory. task: needed only where the task has functions of your own and all there is of the run is its id,
    for showing where models disagreed. Raises `InputError`, `LedgerError`.
    """
    if isinstance(run, str):
        name = run
    elif all(hasattr(run, field) for field in ("run_id", "ledger", "task")):
        name, ledger, task = run.run_id, ledger or run.ledger, task or run.task
    else:
        raise InputError(f"report: give what smart.run returned, or the id of a run, not {type(run).__name__}.")
    if ledger is None:
        from smart_llm.reports import history

        ledger, name = history.whereabouts(None, name)
    target = Path(f"report-{name}.html" if path is None else path)
    check(target)
    with Reader.open(Path(ledger)) as reader:
        record = find(reader.runs(), name)
        if not record.readable:
            raise InputError(
                f"run {record.run_id} was made by another version of smart-llm: reports need one of {FORMAT}."
            )
        if task is not None and bare(task.described) != bare(record.plan.task):
            raise InputError(f"run {record.run_id} had another task: give the one it had, or none.")
        make(reader, record, target, task)
    return target


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
