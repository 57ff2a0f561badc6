"""`smart plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from smart_llm.cli.options import AsJson, RunOptions, Table, TaskOptions, source_of
from smart_llm.cli.printing import print_json
from smart_llm.cli.spread import spread


@spread
def plan(
    table: Table,
    *,
    task: TaskOptions,
    how: RunOptions,
    pilot: Annotated[
        int | None, typer.Option(help="Ask all models about so many rows first; they will never be evidence.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a run would do and cost, before anything is spent."""
    from smart_llm import api
    from smart_llm.engine.asked import Options
    from smart_llm.reports.progress import shown

    asked, source = task.task(), source_of(table)
    with shown() as listener:
        options: Options = {**how.keywords(), "on_event": listener}
        found = api.plan(
            source,
            asked,
            reference=how.reference,
            candidates=how.candidate or [],
            agreement=how.agreement,
            confidence=how.confidence,
            pilot=pilot,
            **options,
        )
    if as_json:
        print_json(found.to_json())
    else:
        print(found.text())
