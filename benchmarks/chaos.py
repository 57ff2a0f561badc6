"""Chaos: 10,000 unpleasant rows, every fault at once, five SIGKILLs at random moments, then what must hold is checked.

Nothing lost and nothing delivered twice (the rows that come out are those that went in, each once, in order, with the
answers of an undisturbed run), every answer paid for is in the ledger, answers paid twice are no more than the calls
in flight at the kills, and the certificate verifies against the ledger; also where candidates are asked in packs
(`--pack 8`), some of which go wrong. Prints the figures; exit code 1 if one fails.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import tempfile
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from common import finish, options, show

from smart_llm.certificates.verify import verify
from smart_llm.ledger import Reader
from smart_llm.mock.faults import Faults
from smart_llm.mock.packs import Packs
from smart_llm.mock.server import MockServer

ROWS, KILLS, IN_FLIGHT, MODELS, SHARE = 10_000, 5, 32, 3, 0.03
"""SHARE: of calls, for every kind of fault (six kinds)."""


def table(path: Path, rows: int) -> None:
    """Cells with quotes, commas and line breaks."""
    lines = ["id,text", *(f'{i},"review {i}: a ""quoted"" word, and\na second line"' for i in range(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def command(folder: Path, name: str, url: str, pack: int) -> list[str]:
    """The same command every time. pack: rows in a call of the candidates, at most."""
    together = f"&pack={pack}" if pack > 1 else ""
    return [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(folder / "t.csv"), "--prompt", "Yes or no? {text}"),
        *("--labels", "yes,no", "--agreement", "0.9", "--seed", "5", "--output", str(folder / f"{name}.csv"), "--json"),
        *("--reference", f"openai:big@{url}?in=10&out=10", "--candidate", f"openai:small@{url}?in=1&out=1{together}"),
        *("--candidate", f"openai:tiny@{url}?in=0.1&out=0.1{together}", "--concurrency", str(IN_FLIGHT)),
        *("--ledger", str(folder / f"{name}.db"), "--timeout", "5"),
    ]


def server(faults: Faults | None, port: int = 0) -> MockServer:
    """Candidates of different worth, packs that go wrong in every way; hangs last 2 seconds. port: the same for runs
    that are compared: orders and packs follow from the models' names, which have the address in them."""
    return MockServer(
        rule="label:yes,no",
        errors={"small": 0.04, "tiny": 0.4},
        packs=Packs(worse=0.01, together=0.01, omit=0.01, double=0.01, spoil=0.03),
        faults=faults,
        hang=2.0,
        pause=0.05,
        latency=0.005,
        seed=1,
        port=port,
    )


async def start(arguments: list[str]) -> asyncio.subprocess.Process:
    """A run in a process of its own."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)


async def whole(arguments: list[str]) -> dict[str, Any]:
    """Run to the end; what it prints."""
    process = await start(arguments)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    result: dict[str, Any] = json.loads(out)
    return result


async def killed(arguments: list[str], mock: MockServer, after: int) -> None:
    """Run until the server has answered so many calls more, then SIGKILL."""
    goal = mock.stats()["answered"] + after
    process = await start(arguments)
    while mock.stats()["answered"] < goal:
        await asyncio.sleep(0.005)
        assert process.returncode is None, "it ended before it could be killed"
    process.kill()
    await process.wait()


def delivered(path: Path) -> list[list[str]]:
    """The rows that came out; models without their address, whose port differs."""
    with path.open(newline="", encoding="utf-8") as file:
        return [[*row[:3], row[3].split("@")[0], row[4]] for row in csv.reader(file)][1:]


async def play(folder: Path, rows: int, seed: int, pack: int) -> dict[str, Any]:
    """The undisturbed run, the tormented run, and the figures."""
    table(folder / "t.csv", rows)
    async with (quiet_server := server(None)) as url:
        calm = await whole(command(folder, "calm", url, pack))
    mock, draw = server(Faults.all(SHARE), urlsplit(url).port or 0), Random(seed)
    kills = sorted(draw.uniform(0.02, 0.9) for _ in range(KILLS))
    calls = quiet_server.stats()["answered"]
    steps = [int(calls * (b - a)) for a, b in zip([0.0, *kills], kills, strict=False)]
    start_, arguments = perf_counter(), []
    async with mock as url:
        arguments = command(folder, "rough", url, pack)
        for step in steps:
            await killed(arguments, mock, max(1, step))
        result = await whole(arguments)
        stats = mock.stats()
    seconds = perf_counter() - start_
    with Reader.open(folder / "rough.db") as reader:
        recorded, damage = reader.count(), reader.verify()
    distinct = sum(model["distinct"] for model in stats["models"].values())
    rough, quiet = delivered(folder / "rough.csv"), delivered(folder / "calm.csv")
    return {
        "rows": rows,
        "kills": KILLS,
        "faults": sum(stats["faults"].values()),
        "seconds": seconds,
        "paid twice": stats["answered"] - recorded,
        "in flight at the kills": KILLS * IN_FLIGHT * MODELS,
        "in order, each once": [int(row[0]) for row in rough] == list(range(rows)),
        "answers of the calm run": rough == quiet,
        "all paid in the ledger": recorded == distinct,
        "ledger sound": damage == [],
        "certificate verifies": verify(Path(result["certificate_file"]), folder / "rough.db") == [],
        "cost of the calm run": abs(result["cost"] - calm["cost"]) < 1e-9,
    }


if __name__ == "__main__":
    parser = options(__doc__ or "")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--pack", type=int, default=1, help="rows in a call of the candidates")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(play(Path(name), 1_000 if arguments.quick else ROWS, arguments.seed, arguments.pack))
    show([{"what": key, "found": value} for key, value in found.items()], ["what", "found"])
    finish(found, arguments.json)
    kept = found["paid twice"] <= found["in flight at the kills"]
    sys.exit(0 if kept and all(value for value in found.values() if isinstance(value, bool)) else 1)
