"""Per-row routing live: log-probabilities where a provider gives them, other scores where it refuses, and said so."""

from __future__ import annotations

import json
from pathlib import Path

import smart_llm as smart
from smart_llm.mock.server import MockServer

ROWS = [{"id": i, "text": f"review number {i}"} for i in range(1500)]
TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])


async def run(folder: Path, *, refuse: bool) -> smart.Run:
    """The same run against a provider that gives log-probabilities, or refuses to."""
    errors = {"small": 0.12}
    async with MockServer(rule="label:yes,no", errors=errors, refuse_logprobs=refuse) as url:
        return await smart.arun(
            ROWS,
            TASK,
            reference=f"openai:big@{url}?in=10&out=10",
            candidates=[f"openai:small@{url}?in=1&out=1"],
            agreement="0.95",
            seed=3,
            ledger=folder / f"{refuse}.db",
        )


async def test_log_probabilities_make_it_cheaper_and_their_refusal_is_said(tmp_path: Path) -> None:
    """With log-probabilities rows are routed by them and the run is cheaper; without, it works and says so."""
    told, refused = await run(tmp_path, refuse=False), await run(tmp_path, refuse=True)
    assert told.cost < 0.8 * refused.cost
    assert any("routed" in note and "log-probability" in note for note in told.certificate.notes)
    assert any("no log-probabilities" in note for note in refused.certificate.notes)
    for each in (told, refused):
        assert {row["status"] for row in each.table} == {"ok"}
        assert smart.verify(json.loads(each.certificate.to_json()), each.ledger) == []
