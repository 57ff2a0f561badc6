"""`smart run`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from smart_llm.cli.grouped import spread
from smart_llm.cli.options import AsJson, RunOptions, Table, TaskOptions, Yes, output_of, source_of
from smart_llm.cli.printing import confirmed, print_json, say, somebody_there, width

if TYPE_CHECKING:
    from pathlib import Path

    from smart_llm.execution import Run
    from smart_llm.tasks import Task


@spread
def run(table: Table, *, task: TaskOptions, how: RunOptions, yes: Yes = False, as_json: AsJson = False) -> None:
    """Answer every row of TABLE, as cheaply as the promise allows."""
    from smart_llm import execution
    from smart_llm.engine.signals import wait
    from smart_llm.reports.progress.display import shown

    asked, source = task.task(), source_of(table)
    output = output_of(table, source, how)
    if not yes and somebody_there():
        _confirm(source, asked, how)
    with redirect_stdout(sys.stderr), shown(how.budget) as listener:  # libraries print too: Ray, when a worker died
        done = wait(execution.run(source, asked, how.options(output=output, on_event=listener)))
    _print(done, output, how.report, as_json)


def _print(done: Run[Any], output: Path | str, report: Path | None, as_json: bool) -> None:
    from smart_llm.engine.outputs import CERTIFICATE
    from smart_llm.reports.history import paid_by_all
    from smart_llm.text.numbers import usd

    certificate, total = f"{output}{CERTIFICATE}", paid_by_all(done.ledger)
    if not as_json:
        print(done.certificate.text(width()))
        print(f"written: {output}\ncertificate: {certificate}")
        print(f"ledger: {done.ledger} (all its runs have paid {usd(total)})")
        if report is not None:
            print(f"report: {report}")
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


def _confirm(source: Path | str, task: Task, how: RunOptions) -> None:
    """The plan's short form, and a question before money is spent."""
    from smart_llm import execution
    from smart_llm.engine.signals import wait

    plan = wait(execution.outline(source, task, how.options()))
    say(plan.short(width()))
    limit = f"at most ${how.budget:g}" if how.budget is not None else "no budget set"
    confirmed(f"Go on ({limit})?")
