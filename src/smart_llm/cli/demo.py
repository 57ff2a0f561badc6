"""`smart demo`: the main job on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.printing import say_out


def demo(
    *,
    rows: Annotated[int | None, typer.Option(help="How many reviews to answer, instead of 1,000.")] = None,
    output: Annotated[Path, typer.Option(help="The folder for everything it writes.")] = Path("demo-output"),
) -> None:
    """See the main job on this machine.

    It uses a real model (1.1 GB to download) and real text, and needs no key.
    """
    from smart_llm.cli.demonstration import demo as show
    from smart_llm.reports.progress.display import shown

    show(rows=rows, output=output, say=say_out, showing=shown)
