"""`smart demo`: the main job on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from smart_llm.cli.printing import say_out

if TYPE_CHECKING:
    from smart_llm.providers.local import weights


def demo(
    *,
    tier: Annotated[
        str, typer.Option(help="Which models: default (1.7 GB to download) or tiny (93 MB, 98 MB on disk).")
    ] = "default",
    rows: Annotated[int | None, typer.Option(help="How many reviews to answer.")] = None,
    output: Annotated[Path, typer.Option(help="The folder for everything it writes.")] = Path("demo-output"),
) -> None:
    """See the main job on this machine.

    It uses real models and real text, and needs no key.
    """
    from smart_llm.cli.demonstration import demo as show
    from smart_llm.reports.progress.display import shown

    with shown() as listener:
        show(cast("weights.Tier", tier), rows=rows, output=output, say=say_out, on_event=listener)
