"""Killing a run that asks in packs: what was paid for is kept, and the table is that of an undisturbed run."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from forgiving import Forgiving
from killing import finished, killed

from smart_llm.certificates.verify import verify
from smart_llm.ledger import Reader
from smart_llm.mock.faults import Faults
from smart_llm.mock.packs import Packs
from smart_llm.mock.server import MockServer

ROWS, IN_FLIGHT, KILLS = 500, 16, 3
PROMPT = "Say yes or no, by the rules that follow. " + "Be fair to what it says. " * 40 + "{text}"


def command(source: Path, out: Path, url: str) -> list[str]:
    """The same command every time."""
    return [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(source), "--prompt", PROMPT),
        *("--labels", "yes,no", "--agreement", "0.85", "--seed", "5", "--output", str(out), "--json"),
        *("--reference", f"openai:big@{url}?in=10&out=10", "--candidate", f"openai:small@{url}?in=1&out=1&pack=6"),
        *("--candidate", f"openai:small@{url}?in=1&out=1", "--concurrency", str(IN_FLIGHT)),
    ]


def answers(out: Path) -> list[list[str]]:
    """The delivered rows."""
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def mock(port: int) -> MockServer:
    """Faults of every kind, packs that go wrong in every way."""
    return Forgiving(
        rule="label:yes,no",
        errors={"small": 0.03},
        packs=Packs(worse=0.01, together=0.01, omit=0.01, double=0.01, spoil=0.05),
        faults=Faults.all(0.02),
        hang=0.05,
        pause=0.01,
        seed=1,
        port=port,
    )


async def test_killed_three_times_nothing_is_lost(tmp_path: Path, port: int) -> None:
    """Under faults of every kind, killed three times: the table of the undisturbed run, at most the calls in flight
    paid twice, and both certificates verify with their ledgers."""
    lines = ["text", *(f'"remark {i}, with ""quotes"" and\na second line"' for i in range(ROWS))]
    plain, broken = tmp_path / "plain.csv", tmp_path / "broken.csv"
    for source in (plain, broken):
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    server = mock(port)
    async with server as url:
        await finished(command(plain, tmp_path / "a.csv", url))
        calls = server.stats()["answered"]
    server = mock(port)
    async with server as url:
        again = command(broken, tmp_path / "b.csv", url)
        for _ in range(KILLS):
            await killed(again, server, calls // 5)
        await finished(again)
        told = server.stats()
    assert answers(tmp_path / "a.csv") == answers(tmp_path / "b.csv")
    assert told["answered"] <= told["distinct"] + 3 * IN_FLIGHT * KILLS + sum(told["faults"].values())
    for name, source in (("a", plain), ("b", broken)):
        ledger = Path(f"{source}.ledger.db")
        assert verify(str(tmp_path / f"{name}.csv.certificate.json"), ledger=ledger) == []
        with Reader.open(ledger) as reader:
            assert reader.verify() == []
            assert reader.count() <= told["distinct"]
