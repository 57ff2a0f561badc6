"""`smart plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from smart_llm.cli.grouped import spread
from smart_llm.cli.options import AsJson, RunOptions, Table, TaskOptions, Yes, source_of
from smart_llm.cli.printing import confirmed, print_json, somebody_there, width
from smart_llm.cli.stopping import to_go_on

if TYPE_CHECKING:
    from pathlib import Path

    from smart_llm.tasks import Task


@spread
def plan(
    table: Table,
    *,
    task: TaskOptions,
    how: RunOptions,
    pilot: Annotated[
        int | None, typer.Option(help="First ask all models about N rows. They will never be evidence.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do and cost, before anything is spent.

    Only --pilot and --self-check ask models; a question states their price before they begin.
    """
    from smart_llm import execution
    from smart_llm.engine.signals import wait
    from smart_llm.reports.progress.display import shown

    asked, source = task.task(), source_of(table)
    rows = max(pilot or 0, how.self_check)
    if rows and not yes and somebody_there():
        _confirm(source, asked, how, rows)
    with to_go_on(how.dollars), shown() as listener:
        found = wait(execution.plan(source, asked, how.options(on_event=listener), pilot=pilot))
    if as_json:
        print_json(found.to_json())
    else:
        print(found.text(width()))


def _confirm(source: Path | str, task: Task, how: RunOptions, rows: int) -> None:
    """What a pilot of this many rows costs, and a question before it is bought."""
    from smart_llm import execution
    from smart_llm.engine.signals import wait
    from smart_llm.text.numbers import count, usd

    plan = wait(execution.outline(source, task, how.options(self_check=0)))
    asked = min(rows, plan.rows)
    twice = min(how.self_check, plan.rows) * plan.models[0].cost
    cost = asked * sum(model.cost for model in plan.models) + twice
    anew = f"After that, the table is answered anew and run {plan.continued} does not go on. " if plan.continued else ""
    confirmed(f"{anew}Ask {count(len(plan.models), 'model')} about {count(asked, 'row')}, for about {usd(cost)}?")
