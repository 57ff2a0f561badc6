"""Several tiers live: rows routed one by one, each candidate called only on the rows that reach it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.mock.server import MockServer
from smart_llm.procedures import ladder_3, tiers

ROWS = [{"id": i, "text": f"review number {i}" + " and so on" * (i % 7)} for i in range(800)]
TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])


@pytest.fixture
def always_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiers wherever there can be any."""
    monkeypatch.setattr(ladder_3, "worth_routing", lambda _: True)
    monkeypatch.setattr(ladder_3, "close", lambda *_: False)
    monkeypatch.setattr(tiers, "BETTER", 1e6)


@pytest.mark.usefixtures("always_tiers")
async def test_tiers_route_row_by_row_and_verify(tmp_path: Path) -> None:
    """The certificate names each tier with its stop, the dear candidate is called on some rows only, every row is
    answered, and certificate and ledger verify."""
    async with MockServer(rule="label:yes,no", errors={"small": 0.2, "middle": 0.06}) as url:
        run = await smart.arun(
            ROWS,
            TASK,
            reference=f"openai:big@{url}?in=10&out=10",
            candidates=[f"openai:small@{url}?in=0.1&out=0.1", f"openai:middle@{url}?in=2&out=2"],
            agreement="0.95",
            seed=3,
            ledger=tmp_path / "tiers.db",
        )
    certificate = json.loads(run.certificate.to_json())
    rule, by = certificate["rule"], certificate["delivered"]["by"]
    assert len(rule["tiers"]) > 1
    assert all(tier["stop"] for tier in rule["tiers"][:-1])
    assert sum(count > 0 for count in by.values()) == 3
    assert {row["status"] for row in run.table} == {"ok"}
    assert smart.verify(certificate, run.ledger) == []
