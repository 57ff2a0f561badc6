"""What a run has paid itself, what it re-uses, and what all runs of a ledger have paid are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.events import Delivering, Ended, Event, Profiling, Said
from smart_llm.ledger import Reader
from smart_llm.reports.progress.picture import Picture
from smart_llm.text.numbers import percent, usd

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


def test_a_retry_counts_the_run_that_was_given_up_by_itself(tmp_path: Path) -> None:
    """What the run before has paid is told apart in every event, and counts in the share of the budget; the last line
    says what the picture said."""
    task = smart.Task("Yes or no? {text}", labels=["yes", "no"])
    rows = [{"text": f"row {i}"} for i in range(200)]
    names = ["fake:big?in=10&out=10", "fake:small?in=1&out=1"]
    told: list[smart.Event] = []

    def run(answer: str, **options: Any) -> smart.Run[Any]:
        models = {name.partition("?")[0]: smart.FakeProvider(lambda _: answer, keep=True) for name in names}
        ledger, listen = tmp_path / "l.db", told.append
        options = {"ledger": ledger, "providers": models, "budget": 1.0, "on_event": listen, **options}
        return smart.run(rows, task, reference=names[0], candidates=[names[1]], seed=1, **options)

    with pytest.raises(smart.ProviderError):
        run("perhaps")
    with Reader.open(tmp_path / "l.db") as reader:
        wasted = reader.spent(reader.runs()[0].run_id)
    assert wasted > 0
    told.clear()
    done = run("yes", retry="broken")
    going = [event for event in told if isinstance(event, smart.Profiling | smart.Delivering)]
    assert {round(event.earlier, 12) for event in going} == {round(wasted, 12)}
    assert going[0].spent < going[-1].spent
    ended = next(event for event in told if isinstance(event, smart.Ended))
    assert going[-1].spent == pytest.approx(ended.spent) == pytest.approx(done.certificate.cost.paid)
    picture = Picture(lambda: 0.0, budget=1.0)
    picture.see(going[-1])
    assert f"{usd(ended.spent)} spent + {usd(wasted)} by a run given up" in picture.foot()
    assert f"({percent(ended.spent + wasted)} of the budget)" in picture.foot()
