"""`lost_at_most`: what was paid without an answer to show for it is never more, with a budget or without one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from killing import finished, killed

import smart_llm as smart
from smart_llm.ledger import Reader
from smart_llm.mock.faults import Faults
from smart_llm.mock.server import MockServer

ROWS = 600


def command(source: Path, url: str, *more: str) -> list[str]:
    """The same command every time."""
    return [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(source), "--prompt", "? {text}", "--labels", "yes,no"),
        *("--reference", f"openai:big@{url}?in=10&out=10", "--candidate", f"openai:small@{url}?in=1&out=1"),
        *("--agreement", "0.9", "--seed", "5", "--concurrency", "32", "--json", *more),
    ]


@pytest.mark.parametrize("budget", [(), ("--budget", "100")], ids=["no budget", "budget"])
async def test_what_kills_cost_is_known(tmp_path: Path, budget: tuple[str, ...]) -> None:
    """Killed three times with calls in flight: all that the provider has billed is in the answers or in what may have
    been lost."""
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(ROWS)))
    server = MockServer(rule="label:yes,no", errors={"small": 0.04}, latency=0.03)
    async with server as url:
        for answered in (40, 50, 70):
            await killed(command(source, url, *budget), server, answered)
        done = await finished(command(source, url, *budget))
        twice = server.stats()["answered"] - server.stats()["distinct"]
    cost = done["certificate"]["cost"]
    with Reader.open(tmp_path / "t.csv.ledger.db") as reader:
        (run,) = reader.runs()
        dearest = max(each.cost / each.calls for each in reader.account(run.run_id) if each.outcome == "answered")
        assert cost["lost_at_most"] == reader.lost(run.run_id)
    assert cost["lost_at_most"] >= twice * dearest
    assert cost["lost_at_most"] > 0


async def test_nothing_is_lost_where_nothing_went_wrong(tmp_path: Path) -> None:
    """A run that ends, or is stopped cleanly, takes back what it announced; few notes are needed."""
    server = MockServer(rule="label:yes,no", errors={"small": 0.04})
    async with server as url:
        done = await smart.arun(
            [{"text": f"row {i}"} for i in range(ROWS)],
            smart.Task("? {text}", labels=["yes", "no"]),
            reference=f"openai:big@{url}?in=10&out=10",
            candidates=[f"openai:small@{url}?in=1&out=1"],
            agreement=0.9,
            seed=5,
            ledger=tmp_path / "l.db",
        )
    assert done.certificate.cost["lost_at_most"] == 0.0
    assert "may have cost" not in done.certificate.text()
    with Reader.open(tmp_path / "l.db") as reader:
        (notes,) = reader._db.execute("SELECT COUNT(*) FROM attempts WHERE outcome = 'sent'").fetchone()
    assert 0 < notes < 40


async def test_what_failed_calls_may_have_cost_is_counted_once(tmp_path: Path) -> None:
    """Replies that broke off on the way back were billed: they count as lost, and nothing else does."""
    server = MockServer(rule="label:yes,no", errors={"small": 0.04}, faults=Faults(truncated=0.1), seed=3)
    async with server as url:
        done = await smart.arun(
            [{"text": f"row {i}"} for i in range(100)],
            smart.Task("? {text}", labels=["yes", "no"]),
            reference=f"openai:big@{url}?in=10&out=10",
            candidates=[],
            procedure="reference-only",
            ledger=tmp_path / "l.db",
        )
        broken = server.stats()["faults"]["truncated"]
    with Reader.open(tmp_path / "l.db") as reader:
        (run,) = reader.runs()
        failed = [each for each in reader.account(run.run_id) if each.outcome == "failed"]
    assert sum(each.calls for each in failed) == broken
    assert done.certificate.cost["lost_at_most"] == pytest.approx(sum(each.cost for each in failed))
