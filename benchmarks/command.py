"""CPU of whole `smart run` commands, from the start of Python to the certificate: ten rows, and 2,000.

A reference and a candidate of one server (`smart mock-provider`, 20 ms a call) that is not counted; a new ledger every
time. User and system time of the command, the least and the median of several, since other work on the machine only
adds to it. Bytecode is compiled beforehand, as an installation does.
"""

from __future__ import annotations

import compileall
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import finish, options, show

import smart_llm

FLOORS = {10: 1.0, 2000: 2000 / 1200}
"""What is claimed: CPU-seconds by rows, at most."""


def cpu(url: str, rows: int) -> float:
    """CPU-seconds of one command."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "t.csv"
        lines = [f"{i},review {i}: a film of some {i % 97} merits told at length and with care" for i in range(rows)]
        table.write_text("\n".join(["id,text", *lines]) + "\n")
        arguments = [*("--prompt", "Is it positive? {text}", "--labels", "positive,negative", "--yes")]
        arguments += ["--reference", f"openai:x@{url}?in=1&out=1", "--candidate", f"openai:y@{url}?in=.1&out=.1"]
        arguments += ["--ledger", f"{folder}/l.db", "--output", f"{folder}/out.csv"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "smart_llm", "run", table, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(repeats: int) -> list[dict[str, Any]]:
    """One line for each number of rows."""
    compileall.compile_dir(str(Path(smart_llm.__file__).parent), quiet=2)
    arguments = [*(sys.executable, "-m", "smart_llm.cli", "mock-provider", "--port", "0", "--latency", "0.02")]
    server = subprocess.Popen([*arguments, "--rule", "label:positive,negative"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        found = {rows: [cpu(url, rows) for _ in range(repeats)] for rows in FLOORS}
    finally:
        server.terminate()
        server.wait()
    return [
        {
            "rows": rows,
            "least": min(each),
            "median": statistics.median(each),
            "rows/CPU s": rows / min(each),
            "at most": FLOORS[rows],
        }
        for rows, each in found.items()
    ]


if __name__ == "__main__":
    arguments = options(__doc__ or "").parse_args()
    table = main(2 if arguments.quick else 7)
    show(table, list(table[0]))
    holds = all(line["least"] <= line["at most"] for line in table)
    print(f"what is claimed holds: {'yes' if holds else 'no'}")
    finish({"runs": table, "holds": holds}, arguments.json)
