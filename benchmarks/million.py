"""A million rows through `smart run` on an instant local stand-in: peak memory, and what a row costs as tables grow.

Each size is a process of its own, in a folder that is removed: the whole command, from reading the table to the written
output and certificate, with a durable ledger. What a run costs whatever its size (imports, the design) is measured on a
tiny table and taken off. The plot: CPU per row and peak memory over the number of rows.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from common import finish, options, panels, show

SIZES, QUICK, TINY = (10_000, 100_000, 1_000_000), (3_000, 10_000), 100
WORDS = ("good", "bad", "film", "plot", "the", "a", "slow", "actor")
MOST = 600.0
"""Megabytes a run on a million rows may take."""


def table(path: Path, rows: int) -> None:
    """A CSV of so many different reviews, twenty words each."""
    draw = random.Random(rows)
    with path.open("w") as file:
        file.write("id,text\n")
        for i in range(rows):
            file.write(f'{i},"review {i}: {" ".join(draw.choices(WORDS, k=20))}"\n')


def command(folder: Path) -> list[str]:
    """The run."""
    return [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(folder / "t.csv"), "--prompt", "Positive? {text}"),
        *("--labels", "yes,no", "--reference", "fake:big?in=10&out=10", "--candidate", "fake:small?in=1&out=1"),
        *("--agreement", "0.9", "--seed", "1", "--concurrency", "256", "--output", str(folder / "o.csv"), "--json"),
    ]


def measured(rows: int) -> dict[str, Any]:
    """One run: seconds, CPU-seconds, peak megabytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table(folder / "t.csv", rows)
        start = perf_counter()
        process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"{rows} rows: exit {process.returncode}"
        with (folder / "o.csv").open() as file:
            written = sum(1 for _ in file) - 1
        assert written == rows, f"{written} rows written of {rows}"
    print(f"{rows} rows done", file=sys.stderr)
    cpu = used.ru_utime + used.ru_stime
    return {"rows": rows, "seconds": perf_counter() - start, "CPU s": cpu, "peak MB": used.ru_maxrss / 1024}


def lines(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """One line per size, without what every run costs."""
    base = measured(TINY)["CPU s"]
    return [{**run, "CPU µs/row": (run["CPU s"] - base) / run["rows"] * 1e6} for run in map(measured, sizes)]


def draw(found: list[dict[str, Any]]) -> None:
    """The plot."""

    def panel(axis: Any, column: str) -> None:
        axis.plot([run["rows"] for run in found], [run[column] for run in found], marker="o", label=column)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("rows")

    panels("million", ["CPU µs/row", "peak MB"], panel)


if __name__ == "__main__":
    arguments = options(__doc__ or "").parse_args()
    found = lines(QUICK if arguments.quick else SIZES)
    show(found, list(found[0]))
    draw(found)
    costs = [run["CPU µs/row"] for run in found]
    flat, peak = max(costs) / min(costs), max(run["peak MB"] for run in found)
    print(f"dearest row ÷ cheapest row {flat:.2f}; peak {peak:.0f} MB of {MOST:.0f}")
    finish({"runs": found, "dearest_to_cheapest": flat, "peak_mb": peak}, arguments.json)
