"""`--retry`: answers that broke the contract, and calls that failed, are asked again once the cause is mended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.ledger import Reader
from tests.engine.test_run import answering, draw, providers, rows
from tests.engine.test_run import run as usual

Answering = Callable[[smart.Request], Any]


def sick(share: float, healthy: Answering, reply: Any = "I would rather not say.") -> Answering:
    """A model that says something useless on a share of the rows."""
    return lambda request: reply if draw(request.prompt, "sick") < share else healthy(request)


def events(path: Path, kind: str) -> list[Any]:
    """What was recorded of this kind, over all runs."""
    with Reader.open(path / "ledger.db") as reader:
        return [each.payload for run in reader.runs() for each in reader.events(run.run_id) if each.kind == kind]


def test_a_mended_server_is_asked_again(tmp_path: Path) -> None:
    """A run that stopped because the reference answered nonsense stops again, and names the option that helps; with it
    the command begins anew, is certified, counts the earlier run, and verifies."""
    ill = {**providers(), "fake:big": smart.FakeProvider(sick(1.0, answering(0.0)))}
    with pytest.raises(smart.Refused, match="retry='broken'"):
        usual(rows(600), tmp_path, providers=ill)
    with pytest.raises(smart.Refused, match="retry='broken'"):
        usual(rows(600), tmp_path, providers=ill)
    done = usual(rows(600), tmp_path, retry="broken")
    assert {row["status"] for row in done.table} == {"ok"}
    assert done.certificate.earlier_runs == 1
    assert any("1 earlier run of this command was given up" in note for note in done.certificate.notes)
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []
    assert usual(rows(600), tmp_path, retry="broken", providers=(silent := providers())).table == done.table
    assert sum(each.calls for each in silent.values()) == 0


def test_what_was_thrown_away_stays_paid(tmp_path: Path) -> None:
    """Answers that are asked for again keep their place in the account: budgets and spending count them."""
    ill = {**providers(), "fake:big": smart.FakeProvider(sick(1.0, answering(0.0)))}
    with pytest.raises(smart.Refused):
        usual(rows(600), tmp_path, providers=ill)
    with Reader.open(tmp_path / "ledger.db") as reader:
        (first,) = reader.runs()
        before = reader.spent(first.run_id)
    usual(rows(600), tmp_path, retry="broken")
    with Reader.open(tmp_path / "ledger.db") as reader:
        assert reader.spent(first.run_id) == pytest.approx(before) != 0
        assert reader.verify() == []


@pytest.mark.parametrize("procedure", ["ladder", "smart/2024"])
def test_a_finished_run_fills_broken_rows_and_keeps_its_evidence(tmp_path: Path, procedure: str) -> None:
    """Rows that the reference answered with nonsense are asked about again and delivered; evidence, its marks and every
    other row stay as they were, and old and new certificate verify."""
    ill = {**providers(), "fake:big": smart.FakeProvider(sick(0.2, answering(0.0)))}
    options: dict[str, Any] = {"procedure": procedure, "agreement": 0.85}
    first = usual(rows(700), tmp_path, providers=ill, **options)
    lost = {row["id"] for row in first.table if row["status"] != "ok"}
    asked = events(tmp_path, "ask")
    evidence = {position for ask in asked for position in ask["positions"]}
    assert lost - evidence
    assert usual(rows(700), tmp_path, **options).table == first.table
    done = usual(rows(700), tmp_path, retry="broken", **options)
    assert {row["id"] for row in done.table if row["status"] != "ok"} == lost & evidence
    assert [a for a, b in zip(first.table, done.table, strict=True) if a != b and a["id"] not in lost] == []
    assert events(tmp_path, "ask") == asked
    assert done.run_id == first.run_id
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []


def test_failures_before_a_decision_begin_anew(tmp_path: Path) -> None:
    """Calls that failed as evidence count as bad for good; with --retry errors, as long as nothing is decided, the
    command begins anew, in another order, and says so."""
    down = smart.FakeProvider(sick(0.5, answering(0.02), smart.Refused("not now", row_only=True)))

    def stop(event: smart.Event) -> None:
        if isinstance(event, smart.Profiling) and event.settled + event.done >= 20:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        usual(rows(600), tmp_path, providers={**providers(), "fake:small": down}, on_event=stop)
    done = usual(rows(600), tmp_path, retry="errors")
    assert len(events(tmp_path, "given up")) == 1
    assert done.certificate.earlier_runs == 1
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []


@pytest.mark.parametrize("retry", ["errors", "broken"])
def test_a_decision_stands_before_anything_is_delivered(tmp_path: Path, retry: str) -> None:
    """A run that was told what it has decided, and was stopped while the reference was asked twice, keeps its evidence:
    nobody draws another order because the decision was not to their liking."""

    poor = smart.Refused("This is not answered.", row_only=True) if retry == "errors" else "I would rather not say."

    def once(request: smart.Request) -> Any:
        return smart.Refused("No account.") if request.draw else answering(0.0)(request)

    told = list[Any]()
    ill = {
        **providers(small=sick(0.1, answering(0.3), poor)),
        "fake:big": smart.FakeProvider(once),
    }
    with pytest.raises(smart.Refused, match="No account"):
        usual(rows(300), tmp_path, providers=ill, self_check=20, seed=None, on_event=told.append)
    assert any(isinstance(each, smart.Decided) for each in told)
    asked = events(tmp_path, "ask")
    done = usual(rows(300), tmp_path, retry=retry, self_check=20, seed=None)
    assert done.certificate.earlier_runs == 0
    assert events(tmp_path, "ask") == asked
    assert smart.verify(done) == []


def test_nothing_to_retry_changes_nothing(tmp_path: Path) -> None:
    """A healthy run that is taken up with --retry goes on as it was."""

    def stop(event: smart.Event) -> None:
        if isinstance(event, smart.Profiling) and event.settled + event.done >= 20:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        usual(rows(300), tmp_path, on_event=stop)
    done = usual(rows(300), tmp_path, retry="broken")
    assert done.certificate.earlier_runs == 0
    assert events(tmp_path, "given up") == []


def test_only_these_two(tmp_path: Path) -> None:
    """Anything else is refused in a line."""
    with pytest.raises(smart.InputError, match="errors or broken"):
        usual(rows(10), tmp_path, retry="all")


def test_a_decision_on_nonsense_is_none(tmp_path: Path) -> None:
    """Where the reference has answered no profiled row at all, the run counts as undecided, though it went on to
    deliver: with --retry broken the command begins anew, and every row gets its answer."""
    nonsense = smart.FakeProvider(sick(1.0, answering(0.0)))
    with pytest.raises(smart.Refused):
        usual(rows(600), tmp_path, providers={**providers(), "fake:big": nonsense, "fake:small": nonsense})
    done = usual(rows(600), tmp_path, retry="broken")
    assert {row["status"] for row in done.table} == {"ok"}
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []
