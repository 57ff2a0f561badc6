"""Writes docs/cli.md: the `--help` page of every command, as it stands. `make docs` runs it; a test compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.testing import CliRunner

from smart_llm.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """# Command line

Made from the commands themselves by `make docs`. Results go to stdout, everything else to stderr; `--json` prints
exactly one JSON object. Exit codes: 0 done · 2 bad input · 3 provider refused · 4 budget reached · 5 does not verify ·
130 interrupted cleanly ([stopping and going on](resume.md)).
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"\n## {' '.join(path)}\n\n```text\n{help_of(path)}\n```\n" for path in commands())


def commands() -> Iterator[tuple[str, ...]]:
    """`smart` and every command below it, in the order of its help."""
    yield ("smart",)
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        yield ("smart", name)
        for verb in getattr(command, "commands", ()):
            yield ("smart", name, verb)


def help_of(path: tuple[str, ...]) -> str:
    """One command's help, a hundred columns wide."""
    shown = CliRunner().invoke(app, [*path[1:], "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    return "\n".join(line.rstrip() for line in shown.output.replace("Usage: root", "Usage: smart").strip().splitlines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
