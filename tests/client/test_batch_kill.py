"""Killing a run by batch: no batch is submitted twice, nothing that was paid is lost, the result is the same."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from killing import Command

from smart_llm.certificates.verify import verify
from smart_llm.ledger import Reader
from smart_llm.mock import MockServer
from smart_llm.mock.batches import BatchFaults, BatchSettings

CHILD = Path(__file__).with_name("batch_child.py")
ROWS = int(os.environ.get("SMART_CHAOS_ROWS", "400"))
STOPPED = (b"refuses the batch", b"in a row")
"""Words of an error that says a provider ran none of several batches: the same command goes on when given again."""
POINTS = ("written", "uploaded", "submitting", "accepted", "polling", "fetching", "settling")
ANSWERED = ("submitting", "accepted", "polling")
"""Those at which the dialect matters: what is done next depends on what the provider says. The others lie between two
notes in the ledger, which knows no dialects."""


def table(path: Path, rows: int) -> Path:
    """A table whose cells are unpleasant."""
    lines = ["id,text", *(f'{i},"review {i}: a ""quoted"" word, and\na second line"' for i in range(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def mock(settings: BatchSettings, port: int) -> MockServer:
    """The same answers every time."""
    return MockServer(rule="label:yes,no", errors={"small": 0.04, "tiny": 0.4}, seed=1, batches=settings, port=port)


class Runs:
    """Runs of one table against one server, each in a process of its own."""

    def __init__(self, folder: Path, name: str, dialect: str, url: str, rows: int) -> None:
        self.output, self.ledger = folder / f"{name}.csv", folder / f"{name}.db"
        self._command = [
            *(sys.executable, str(CHILD), str(table(folder / "t.csv", rows)), str(self.output), str(self.ledger)),
            *(dialect, url),
        ]

    def start(self, *point: str) -> Command:
        """Start one."""
        return Command([*self._command, *point])

    async def finished(self, *, stops: int = 0) -> dict[str, Any]:
        """Run to the end. stops: how often the run may stop before it because batches in a row came to nothing."""
        process = self.start()
        out, err = await process.communicate()
        if process.returncode and stops and any(reason in err for reason in STOPPED):
            return await self.finished(stops=stops - 1)
        assert process.returncode == 0, err.decode()[-2000:]
        found: dict[str, Any] = json.loads(out)
        return found

    async def dies(self, *point: str) -> bool:
        """Run to a point; False where it came to its end before."""
        process = self.start(*point)
        _, err = await process.communicate()
        assert process.returncode in (0, -9), err.decode()[-2000:]
        return process.returncode == -9

    def answers(self) -> list[tuple[str, ...]]:
        """The delivered rows; the models' addresses differ by port."""
        with self.output.open(newline="", encoding="utf-8") as file:
            return [(*row[:3], row[3].split("@")[0], row[4]) for row in csv.reader(file)][1:]

    def certificate(self) -> dict[str, Any]:
        """The certificate's file."""
        found: dict[str, Any] = json.loads(self.certificate_path.read_text())
        return found

    @property
    def certificate_path(self) -> Path:
        """Where it is."""
        return self.output.with_name(self.output.name + ".certificate.json")

    def unsettled(self) -> int:
        """Batches without an end in the ledger."""
        with Reader.open(self.ledger) as reader:
            sql = "SELECT COUNT(*) FROM batches WHERE id NOT IN (SELECT batch FROM batch_events WHERE kind = 'settled')"
            return int(reader._db.execute(sql).fetchone()[0])


async def undisturbed(folder: Path, dialect: str, rows: int, port: int) -> tuple[Runs, dict[str, Any]]:
    """The run nothing happens to."""
    async with mock(BatchSettings(), port) as url:
        runs = Runs(folder, "calm", dialect, url, rows)
        return runs, await runs.finished()


def same(calm: Runs, rough: Runs) -> None:
    """Same rows, same verdict, same cost; everything in the ledger verifies and is settled."""
    assert rough.answers() == calm.answers()
    one, other = calm.certificate(), rough.certificate()
    for part in ("status", "delivered", "errors", "seed"):
        assert names_cut(one[part]) == names_cut(other[part]), part
    assert {k: v for k, v in names_cut(one["cost"]).items() if k != "lost_at_most"} == {
        k: v for k, v in names_cut(other["cost"]).items() if k != "lost_at_most"
    }
    assert other["cost"]["lost_at_most"] == 0
    assert verify(rough.certificate_path, rough.ledger) == []
    assert rough.unsettled() == 0
    with Reader.open(rough.ledger) as reader:
        assert reader.verify() == []


def names_cut(value: Any) -> Any:
    """Without the addresses in models' names."""
    if isinstance(value, dict):
        return {key.split("@")[0]: names_cut(each) for key, each in value.items()}
    if isinstance(value, list):
        return [names_cut(each) for each in value]
    return value.split("@")[0] if isinstance(value, str) else value


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_killed_at_every_step_of_a_batch_nothing_is_submitted_twice(
    tmp_path: Path, dialect: str, port: int
) -> None:
    """SIGKILL before and after every note and call in a batch's life: billed once each, and the same result."""
    calm, _ = await undisturbed(tmp_path, dialect, 300, port)
    server = mock(BatchSettings(), port)
    async with server as url:
        rough = Runs(tmp_path, "rough", dialect, url, 300)
        for point in POINTS if dialect == "openai" else ANSWERED:
            assert await rough.dies(point, "40" if point == "fetching" else "2"), point
        await rough.finished()
        stats = server.stats()["batches"][dialect]
    assert stats["billed_twice"] == 0
    same(calm, rough)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_chaos_by_batch(tmp_path: Path, dialect: str, port: int) -> None:
    """Every fault of calls, batches and requests at once, and three SIGKILLs at random moments: nothing is lost,
    nothing is billed twice, and the table is that of an undisturbed run."""
    faults = BatchFaults(
        error=0.08, lost=0.05, late=0.05, truncated=0.2, fail=0.05, expire=0.15, cancel=0.05, line=0.03
    )
    calm, _ = await undisturbed(tmp_path, dialect, ROWS, port)
    server, random = mock(BatchSettings(faults=faults, late_by=0.3, lag=0.1), port), Random(7)
    async with server as url:
        rough = Runs(tmp_path, "rough", dialect, url, ROWS)
        for _ in range(3):
            process = rough.start()
            submitted = server.stats()["batches"][dialect]["submitted"]
            while (  # noqa: ASYNC110  the server has no event to wait for
                server.stats()["batches"][dialect]["submitted"] == submitted and process.returncode is None
            ):
                await asyncio.sleep(0.01)
            await asyncio.sleep(random.random())
            if process.returncode is None:
                process.kill()
            await process.communicate()
        await rough.finished(stops=5)
        stats = server.stats()["batches"][dialect]
    assert stats["billed_twice"] == 0, stats
    same(calm, rough)
