"""What a run has paid itself, what it re-uses, and what all runs of a ledger have paid are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.events import Delivering, Ended, Event, Profiling, Said
from smart_llm.ledger import Reader

ROWS = [{"text": f"row {k}"} for k in range(120)]
TASK = smart.Task("Say yes or no: {text}", labels=["yes", "no"])


def go(ledger: Path, heard: list[Event], agreement: str, budget: float | None = None) -> smart.Run[object]:
    """One run whose models always say yes."""
    models = {name: smart.FakeProvider(lambda _: "yes") for name in ("openai:big", "openai:small")}
    return smart.run(
        ROWS,
        TASK,
        reference="openai:big?in=10&out=10",
        candidates=["openai:small?in=1&out=1"],
        agreement=agreement,
        ledger=ledger,
        budget=budget,
        providers=models,
        on_event=heard.append,
    )


def test_a_run_that_re_uses_answers_has_not_paid_for_them(tmp_path: Path) -> None:
    """Events, certificate and ledger agree on what the second run paid; the rest of its cost is said to be re-used."""
    ledger, heard = tmp_path / "ledger.db", list[Event]()
    first = go(ledger, [], "0.9")
    assert first.certificate.cost["paid"] == pytest.approx(first.cost)
    assert first.certificate.cost["reused"] == 0.0
    second = go(ledger, heard, "0.8")
    cost = second.certificate.cost
    with Reader.open(ledger) as reader:
        assert cost["paid"] == pytest.approx(reader.spent(second.run_id))
    assert cost["paid"] < cost["total"]
    assert cost["paid"] + cost["reused"] == pytest.approx(cost["total"])
    assert "re-used for nothing" in second.certificate.text(200)
    for event in heard:
        if isinstance(event, Profiling | Delivering | Ended):
            assert event.spent <= cost["paid"] + 1e-12


def test_a_run_that_is_run_again_says_that_it_is_not_new(tmp_path: Path) -> None:
    """The first sentence names the run and how many rows are settled."""
    ledger, heard = tmp_path / "ledger.db", list[Event]()
    run = go(ledger, [], "0.9").run_id
    go(ledger, heard, "0.9")
    said = [event.text for event in heard if isinstance(event, Said)]
    assert any(f"Resuming run {run}" in text and "120 rows" in text for text in said)
