"""`--retry broken` and packs: calls with items that broke the contract are asked again, evidence never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.ledger import Reader
from smart_llm.mock.packs import Packs
from smart_llm.mock.server import MockServer

TASK = smart.Task("Is this praise? " + "Mind the tone. " * 40 + "\n\n{text}", labels=["yes", "no"])
ROWS = [{"text": f"the {i}th remark"} for i in range(900)]


async def run(folder: Path, port: int, packs: Packs, **options: Any) -> tuple[smart.Run[Any], dict[str, Any]]:
    """A run, and what the candidate's server has seen of it."""
    async with (server := MockServer(rule="label:yes,no", errors={"small": 0.02}, packs=packs, port=port)) as url:
        told = {"reference": f"openai:big@{url}?in=10&out=10", "candidates": [f"openai:small@{url}?in=1&out=1&pack=6"]}
        given: dict[str, Any] = {"agreement": "0.9", "seed": 5, "progress": False, "ledger": folder / "l.db"}
        done = await smart.arun(ROWS, TASK, **told, **given | options)
        return done, server.stats()["models"].get("small", {"requests": 0})


def stop(event: smart.Event) -> None:
    """A session that ends while it profiles."""
    if isinstance(event, smart.Profiling) and event.settled + event.done >= 3:
        raise TimeoutError


@pytest.mark.parametrize(
    "wrong", [Packs(omit=0.4), Packs(spoil=1.0), Packs(double=0.3)], ids=["omit", "spoil", "double"]
)
async def test_packs_that_went_wrong_before_a_decision_are_asked_again(tmp_path: Path, port: int, wrong: Packs) -> None:
    """Items left out or doubled, or whole packs in words, as long as nothing is decided: the command begins anew, the
    same calls are made again, and no answer of a broken one is used. What was thrown away stays paid."""
    with pytest.raises(TimeoutError):
        await run(tmp_path, port, wrong, on_event=stop)
    with Reader.open(tmp_path / "l.db") as reader:
        before = reader.spent(reader.runs()[0].run_id)
    done, _ = await run(tmp_path, port, Packs(), retry="broken")
    assert done.certificate.granted
    assert done.certificate.earlier_runs == 1
    with Reader.open(tmp_path / "l.db") as reader:
        runs = reader.runs()
        assert reader.spent(runs[0].run_id) == pytest.approx(before)
        asks = [event.payload for event in reader.events(runs[1].run_id) if event.kind == "ask"]
        assert not any(2 in marks for ask in asks for marks in ask["marks"])
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []


async def test_a_pack_that_is_evidence_is_not_asked_again(tmp_path: Path, port: int) -> None:
    """A finished run keeps its evidence, and the calls that hold it: nothing is bought, the table stays."""
    first, _ = await run(tmp_path, port, Packs(omit=0.1), agreement="0.85")
    done, seen = await run(tmp_path, port, Packs(), agreement="0.85", retry="broken")
    assert seen["requests"] == 0
    assert done.table == first.table
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []


async def test_without_being_told_nothing_is_asked_again(tmp_path: Path, port: int) -> None:
    """Run again as it is, an undecided run goes on with the answers it has."""
    with pytest.raises(TimeoutError):
        await run(tmp_path, port, Packs(omit=0.4), on_event=stop)
    done, _ = await run(tmp_path, port, Packs())
    with Reader.open(tmp_path / "l.db") as reader:
        assert len(reader.runs()) == 1
        asks = [event.payload for event in reader.events(done.run_id) if event.kind == "ask"]
    assert any(2 in marks for ask in asks for marks in ask["marks"])
