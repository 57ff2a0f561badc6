"""Several tiers live: rows routed one by one, each candidate called only on the rows that reach it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import smart_llm as smart
from smart_llm.engine.delivering import deliver
from smart_llm.engine.live import Live
from smart_llm.events import Stop, nobody
from smart_llm.mock.server import MockServer
from smart_llm.procedures.ladder import procedure as ladder_4
from smart_llm.procedures.ladder import tiers
from smart_llm.routing import Routing
from smart_llm.scores.traits import words_of
from smart_llm.stats.sampling import uniforms
from smart_llm.tables import Table
from smart_llm.types import Answer, Cascade, Gate, Model, Rate, Request, Score, Tier, Usage

ROWS = [{"id": i, "text": f"review number {i}" + " and so on" * (i % 7)} for i in range(800)]
TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])


@pytest.fixture
def always_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiers wherever there can be any."""
    monkeypatch.setattr(ladder_4, "worth_routing", lambda *_: True)
    monkeypatch.setattr(ladder_4, "close", lambda *_: False)
    monkeypatch.setattr(tiers, "BETTER", 1e6)


@pytest.mark.usefixtures("always_tiers")
async def test_tiers_route_row_by_row_and_verify(tmp_path: Path, port: int) -> None:
    """The certificate names each tier with its stop, the dear candidate is called on some rows only, every row is
    answered, and certificate and ledger verify."""
    async with MockServer(rule="label:yes,no", errors={"small": 0.2, "middle": 0.06}, port=port) as url:
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


class Asked:
    """Answers yes, and keeps what the candidate was asked."""

    def __init__(self) -> None:
        self.small: list[str] = []

    async def ask(self, request: Request) -> Answer:
        """At once."""
        if request.model == "fake:small":
            self.small.append(request.prompt)
        return Answer("yes", Usage(1, 1), cost=1e-6)

    async def held(self, request: Request) -> int | None:
        """Nothing is known beforehand."""
        return None

    def alive(self, model: str) -> bool:
        """It answers."""
        return True


async def test_rows_with_words_that_a_gate_turns_away_are_not_put_to_a_candidate() -> None:
    """Exactly the rows whose words the gate lets through reach the candidate; all others are the reference's."""
    texts = [f"{'why' if i % 3 else 'what'} is {i}" for i in range(200)]
    why = int(words_of("why").argmax())
    models = tuple(Model(f"fake:{name}", "fake", name, Rate(1, 1)) for name in ("big", "small"))
    client, table = Asked(), Table(pl.DataFrame({"text": texts}), "dicts")
    live = Live(table, smart.Task("{text}", labels=["yes", "no"]), models, client, stop=Stop())
    gate = Gate(Score(((f"word:{why}", -1.0),)), -0.5)
    rule = Cascade((Tier(1, Score((("text_length", 1.0),)), None),), gate)
    u = uniforms(1, "shares", 200)
    await deliver(live, Routing(rule, np.ones(200, np.int8), u, u), 8, nobody)
    passed = {text for text in texts if words_of(text)[why] == 0}
    assert 50 < len(passed) < 68
    assert set(client.small) == passed
    assert [int(model) for model in live.rows.by] == [int(text in passed) for text in texts]
