"""`smart run`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from smart_llm.cli.grouped import spread
from smart_llm.cli.options import AsJson, RunOptions, Table, TaskOptions, Yes, output_of, source_of
from smart_llm.cli.printing import confirmed, print_json, say, somebody_there, width
from smart_llm.cli.stopping import to_go_on

BUDGET = "The budget of "
"""How the plan's warning about a budget begins."""

if TYPE_CHECKING:
    from smart_llm.execution import Run
    from smart_llm.tasks import Task


@spread
def run(table: Table, *, task: TaskOptions, how: RunOptions, yes: Yes = False, as_json: AsJson = False) -> None:
    """Answer every row of TABLE, as cheaply as the promise allows."""
    from smart_llm import execution
    from smart_llm.engine.signals import wait
    from smart_llm.reports.progress.display import shown, unless

    asked, source = task.task(), source_of(table)
    output = output_of(table, source, how)
    known = frozenset[str]()
    if not yes and somebody_there():
        known = _confirm(source, asked, how)
    elif how.dollars is not None:
        _doubt_budget(source, asked, how)
    # libraries print too: Ray, when a worker died
    with to_go_on(how.dollars), redirect_stdout(sys.stderr), shown(how.dollars) as listener:
        told = unless(known, listener)
        done = wait(execution.run(source, asked, how.options(output=output, on_event=told)))
    _print(done, output, how.report, as_json)


def _print(done: Run[Any], output: Path | str, report: Path | None, as_json: bool) -> None:
    from smart_llm.engine.outputs import CERTIFICATE
    from smart_llm.reports.history import paid_by_all
    from smart_llm.tables.writing import described
    from smart_llm.text.numbers import count, spending

    certificate, (total, lost) = f"{output}{CERTIFICATE}", paid_by_all(done.ledger)
    if not as_json:
        print(done.certificate.text(width()))
        how = described(output) if isinstance(output, Path) and output.is_file() else ""
        print(f"written: {output}{f' ({how})' if how else ''}\ncertificate: {certificate}")
        if lost_rows := done.certificate.errors.rows:
            print(
                f"without an answer: {count(lost_rows, 'row')}; the column of statuses says why. Where replies broke "
                "the output contract, do the labels, or the kind of answer, fit the prompt? --retry broken asks anew"
            )
        print(f"ledger: {done.ledger} (all its runs: {spending(total, lost, 'paid')})")
        made = f"smart report {done.run_id} --ledger {quote(str(done.ledger))} makes one"
        print(f"report: {report if report is not None else made}")
        return
    print_json(
        {
            "output": str(output),
            "certificate_file": certificate,
            "ledger": str(done.ledger),
            "report": str(report) if report is not None else None,
            "run": done.run_id,
            "cost": done.cost,
            "paid": done.certificate.cost.paid,
            "reused": done.certificate.cost.reused,
            "ledger_total": total,
            "saving": done.saving,
            "certificate": done.certificate.fields(),
        }
    )


def _doubt_budget(source: Path | str, task: Task, how: RunOptions) -> None:
    """Where nobody is asked, say at least that the budget will hardly do."""
    from smart_llm import execution
    from smart_llm.engine.signals import wait

    for warning in wait(execution.outline(source, task, how.options())).warnings:
        if warning.startswith(BUDGET):
            say(warning)


def _confirm(source: Path | str, task: Task, how: RunOptions) -> frozenset[str]:
    """The plan's short form, and a question before money is spent. The warnings that were shown."""
    from smart_llm import execution
    from smart_llm.engine.signals import wait
    from smart_llm.planning.plan import shown as said_already

    plan = wait(execution.outline(source, task, how.options()))
    say(plan.short(width()))
    limit = f"at most ${how.dollars:g}" if how.dollars is not None else "no budget set"
    confirmed(f"Go on ({limit})?")
    return frozenset(said_already(plan))
