"""What a row costs on Ray: CPU and memory for 1, 2 and 4 actors beside the one-process engine, in one run.

Every run is a whole `smart run` against one mock server (20 ms a call, a process of its own that is not counted), on
the same table, in a folder that is removed. Counted are the command and every process below it (Ray's own, the named
actors, the workers), from `/proc`: CPU as the kernel keeps it, memory as the largest sum of proportional set sizes seen
(pages that processes share count once). What a run costs whatever its size (starting Ray, imports in every actor) is
measured on a small table with the same number of actors, stated by itself and taken off. Linux only.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from common import finish, options, panels, show

ACTORS = (0, 1, 2, 4)
"""0: the one-process engine."""
ROWS, QUICK, SMALL = 20_000, 1_500, 400
LOOK = 0.2
"""Seconds between looks at the processes."""
WORDS = ("good", "bad", "film", "plot", "the", "a", "slow", "actor")
TICK = os.sysconf("SC_CLK_TCK")
ROLES = (("LedgerActor", "ledger"), ("GovernorActor", "governor"), ("Settle", "workers"))
"""What stands in the title of one of Ray's processes, and what it is then."""


def table(path: Path, rows: int) -> None:
    """A CSV of so many different reviews, twenty words each."""
    draw = random.Random(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *[[f"review {i}: {_words(draw)}"] for i in range(rows)]])


def _words(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=20))


def command(folder: Path, url: str, rows: int, actors: int) -> list[str]:
    """The run; every actor gets several partitions."""
    asked = [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(folder / "t.csv"), "--prompt", "Positive? {text}"),
        *("--labels", "positive,negative", "--reference", f"openai:big@{url}?in=10&out=10"),
        *("--candidate", f"openai:small@{url}?in=1&out=1", "--agreement", "0.9", "--seed", "1", "--yes"),
        *("--concurrency", "256", "--output", str(folder / "o.csv"), "--json"),
    ]
    return asked + ["--engine", "ray", "--workers", str(actors), "--partition", str(max(20, rows // 16))] * bool(actors)


class Family:
    """A process and all below it. cpu: CPU-seconds by process, as last seen; peak: megabytes."""

    def __init__(self, pid: int, names: Sequence[tuple[str, str]] = ROLES) -> None:
        self._root, self._names = pid, names
        self.cpu: dict[int, float] = {}
        self.role: dict[int, str] = {}
        self.peak = 0.0

    def look(self) -> None:
        """Once."""
        memory = 0.0
        for pid in self._members():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self.cpu[pid] = (int(stat[11]) + int(stat[12])) / TICK
                self.role[pid] = self._role(pid)
                memory += _pss(pid)
            except (OSError, IndexError):
                continue  # it has ended
        self.peak = max(self.peak, memory)

    def by_role(self) -> dict[str, float]:
        """CPU-seconds."""
        found: dict[str, float] = defaultdict(float)
        for pid, cpu in self.cpu.items():
            found[self.role.get(pid, "Ray")] += cpu
        return found

    def _members(self) -> list[int]:
        below: dict[int, list[int]] = defaultdict(list)
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, IndexError):
                    continue
                below[parent].append(int(entry))
        members = [self._root]
        for pid in members:
            members += below[pid]
        return members

    def _role(self, pid: int) -> str:
        if pid == self._root:
            return "driver"
        title = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        for name, role in self._names:
            if title.startswith("ray::") and name in title:
                return role
        return self.role.get(pid, "Ray")  # a worker keeps its role while its title changes


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measured(url: str, rows: int, actors: int) -> dict[str, Any]:
    """One run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table(folder / "t.csv", rows)
        start = perf_counter()
        process = subprocess.Popen(
            command(folder, url, rows, actors), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        family = Family(process.pid)
        while process.poll() is None:
            family.look()
            sleep(LOOK)
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read().decode()[-400:]
        with (folder / "o.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == rows, f"{len(lines)} rows written of {rows}"
        assert all(line["status"] == "ok" for line in lines)
        answers = hash(tuple((line["text"], line["answer"], line["answered_by"]) for line in lines))
    roles = family.by_role()
    print(f"{actors} actors, {rows} rows: {perf_counter() - start:.1f} s", file=sys.stderr)
    return {"cpu": sum(roles.values()), "roles": roles, "peak": family.peak, "answers": answers}


def line(url: str, rows: int, actors: int) -> dict[str, Any]:
    """What a row costs with so many actors, and where."""
    small, large = measured(url, SMALL, actors), measured(url, rows, actors)
    more = rows - SMALL
    micro = {role: 1e6 * (cpu - small["roles"].get(role, 0.0)) / more for role, cpu in large["roles"].items()}
    return {
        "actors": actors,
        "start CPU s": small["cpu"],
        "CPU µs/row": 1e6 * (large["cpu"] - small["cpu"]) / more,
        **{role: micro.get(role, 0.0) for role in ("driver", "workers", "ledger", "governor", "Ray")},
        "peak MB": large["peak"],
        "KB/row": 1024 * max(0.0, large["peak"] - small["peak"]) / more,
        "answers": large["answers"],
    }


def serving() -> Iterator[str]:
    """The server's address, as long as it is wanted."""
    arguments = [*(sys.executable, "-m", "smart_llm.cli", "mock-provider", "--port", "0", "--latency", "0.02")]
    arguments += ["--rule", "label:positive,negative", "--error", "small=0.05"]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
    finally:
        server.terminate()
        server.wait()


def draw(found: list[dict[str, Any]]) -> None:
    """CPU by where it goes, and memory."""
    roles = ("driver", "workers", "ledger", "governor", "Ray")

    def panel(axis: Any, title: str) -> None:
        names = ["one process" if not each["actors"] else f"{each['actors']} actors" for each in found]
        bottom = [0.0] * len(found)
        for part in roles if title.startswith("CPU") else ("peak MB",):
            values = [max(0.0, each[part]) for each in found]
            axis.bar(names, values, bottom=bottom, label=part)
            bottom = [a + b for a, b in zip(bottom, values, strict=True)]

    panels("scale", ["CPU µs/row", "peak MB"], panel)


if __name__ == "__main__":
    parser = options(__doc__ or "")
    parser.add_argument("--rows", type=int, help=f"default {ROWS}")
    arguments = parser.parse_args()
    if importlib.util.find_spec("ray") is None:
        print("skipped: needs the extra [ray], which is not installed.")
        sys.exit(0)
    rows = arguments.rows or (QUICK if arguments.quick else ROWS)
    found = [line(url, rows, actors) for url in serving() for actors in (ACTORS[:2] if arguments.quick else ACTORS)]
    same = len({each.pop("answers") for each in found}) == 1
    show(found, list(found[0]))
    draw(found)
    alone = found[0]["CPU µs/row"]
    over = {each["actors"]: each["CPU µs/row"] - alone for each in found[1:]}
    print(
        "Ray's overhead, CPU µs a row: " + ", ".join(f"{cost:.0f} ({actors} actors)" for actors, cost in over.items())
    )
    print(f"the same answers from the same models everywhere: {'yes' if same else 'no'}")
    finish({"rows": rows, "runs": found, "overhead_us": over, "same": same}, arguments.json)
