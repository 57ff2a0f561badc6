"""The same command on a finished run: it sends nothing but for rows without an answer, and changes nothing else."""

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


def failing_first(answer: Callable[[smart.Request], str], share: float, salt: str) -> smart.FakeProvider:
    """A model that refuses the first call to this share of the prompts, and answers the second one."""
    met: set[str] = set()

    def once(request: smart.Request) -> str | Exception:
        if request.prompt not in met and draw(request.prompt, salt) < share:
            met.add(request.prompt)
            return smart.Refused("not now", row_only=True)
        return answer(request)

    return smart.FakeProvider(once)


def fields(certificate: smart.Certificate) -> dict[str, Any]:
    """A certificate as JSON."""
    value: dict[str, Any] = json.loads(certificate.to_json())
    return value


def events(done: smart.Run, *kinds: str) -> list[Any]:
    """A run's events of these kinds."""
    with Reader.open(done.ledger) as reader:
        return [(each.kind, each.payload) for each in reader.events(done.run_id) if each.kind in kinds]


KEPT = ("evidence", "rule", "seed", "plan_hash", "procedure", "labels", "earlier_runs")
"""What a certificate says of the evidence."""


@pytest.mark.parametrize("seed", range(2))
def test_a_reference_that_fails_first_rewrites_nothing(tmp_path: Path, seed: int) -> None:
    """The reference fails on 12 % of first calls. Run again, the rows without an answer are answered; evidence, rule
    and profiled rows stay bit for bit, both certificates verify, and no other row changes. Where a rule was certified
    and too many rows of the delivery had no answer, it is certified once they have one."""
    given = providers(big=None)
    given["fake:big"] = failing_first(answering(0.0), 0.12, f"first {seed}")
    first = usual(rows(800), tmp_path, seed=seed, providers=given)
    before, recorded = fields(first.certificate), events(first, "ask", "asks", "fixed")
    lost = {i for i, row in enumerate(first.table) if row["answer"] is None}
    assert lost
    calls = given["fake:big"].calls
    second = usual(rows(800), tmp_path, seed=seed, providers=given)
    after = fields(second.certificate)
    assert second.run_id == first.run_id
    assert events(second, "ask", "asks", "fixed") == recorded
    assert {name: after[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert after["delivered"]["profiled"] == before["delivered"]["profiled"]
    assert [row for i, row in enumerate(second.table) if i not in lost] == [
        row for i, row in enumerate(first.table) if i not in lost
    ]
    assert all(row["status"] == "ok" for row in second.table)
    assert given["fake:big"].calls - calls <= len(lost)
    for certificate in (before, after):
        assert smart.verify(certificate, first.ledger) == []
    if before["status"] != "not-certified":
        assert after["status"] == before["status"]
    if after["granted"]:
        truth = answering(0.0)
        wrong = sum(row["answer"] != truth(smart.Request("", f"Yes or no?\n{row['text']}", 1)) for row in second.table)
        assert wrong <= 80
    third = usual(rows(800), tmp_path, seed=seed, providers=(silent := providers()))
    assert third.certificate == second.certificate
    assert third.table == second.table
    assert sum(each.calls for each in silent.values()) == 0


@pytest.mark.parametrize("procedure", ["ladder", "smart/2024", "reference-only"])
def test_candidates_that_fail_first_are_not_asked_again(tmp_path: Path, procedure: str) -> None:
    """Rows that were delivered are left alone, though a candidate that failed on them would answer by now."""
    given = {**providers(), "fake:small": failing_first(answering(0.02, "small"), 0.2, "small")}
    candidates = [] if procedure == "reference-only" else ["fake:small?in=1&out=1"]
    first = usual(rows(800), tmp_path, providers=given, procedure=procedure, candidates=candidates)
    calls = {name: each.calls for name, each in given.items()}
    second = usual(rows(800), tmp_path, providers=given, procedure=procedure, candidates=candidates)
    assert {name: each.calls for name, each in given.items()} == calls
    assert second.table == first.table
    assert second.certificate == first.certificate
    assert smart.verify(second.certificate, second.ledger) == []


def test_draws_that_fail_first_are_not_drawn_again(tmp_path: Path) -> None:
    """So it is with further draws, which decide scores and so the path."""
    sampled = failing_first(lambda r: answering(0.05, f"d{r.draw}")(r), 0.3, "draws")
    options: dict[str, Any] = {
        "candidates": ["fake:small?in=1&out=1&draws=3"],
        "providers": {**providers(), "fake:small?draws=3": sampled},
    }
    first = usual(rows(600), tmp_path, **options)
    calls = sampled.calls
    second = usual(rows(600), tmp_path, **options)
    assert sampled.calls == calls
    assert second.certificate == first.certificate
    assert second.table == first.table


def test_another_run_that_buys_what_was_missing_changes_nothing(tmp_path: Path) -> None:
    """Answers that another run buys meanwhile, to requests that failed in this one, do not enter its evidence nor the
    rows it delivered."""
    given = {**providers(), "fake:small": failing_first(answering(0.02, "small"), 0.2, "small")}
    first = usual(rows(600), tmp_path, providers=given, candidates=["fake:small?in=1&out=1"])
    usual(rows(600), tmp_path, providers=given, candidates=["fake:small?in=1&out=1"], agreement=0.8)
    usual(rows(600), tmp_path, providers=given, candidates=[], procedure="reference-only")
    again = usual(rows(600), tmp_path, providers=(silent := providers()), candidates=["fake:small?in=1&out=1"])
    assert sum(each.calls for each in silent.values()) == 0
    assert again.table == first.table
    assert again.certificate.evidence == first.certificate.evidence
    assert smart.verify(first.certificate, first.ledger) == []
    assert smart.verify(again.certificate, first.ledger) == []


def test_a_row_that_failed_as_evidence_stays_bad_when_the_run_goes_on(tmp_path: Path) -> None:
    """A run stopped after it has profiled, resumed: what failed is not asked again as evidence, its marks stay, and a
    row the reference failed on is delivered with its later answer."""
    given = {**providers(), "fake:big": failing_first(answering(0.0), 0.1, "big")}
    given["fake:small"] = failing_first(answering(0.02, "small"), 0.1, "small")
    options: dict[str, Any] = {"providers": given, "candidates": ["fake:small?in=1&out=1"], "procedure": "ladder"}

    def stop(event: object) -> None:
        if isinstance(event, smart.Decided):
            raise RuntimeError("decided")

    with pytest.raises(RuntimeError, match="decided"):
        usual(rows(800), tmp_path, on_event=stop, **options)
    with Reader.open(tmp_path / "ledger.db") as reader:
        (record,) = reader.runs()
        asks = [each.payload for each in reader.events(record.run_id) if each.kind == "ask"]
    failed = [(ask["positions"][k], m) for ask in asks for k, m in ask["failed"]]
    assert {m for _, m in failed} == {0, 1}
    done = usual(rows(800), tmp_path, **options)
    assert [payload for kind, payload in events(done, "ask")] == asks
    for ask in asks:
        for k, m in ask["failed"]:
            assert ask["marks"][k][ask["models"].index(m)] == (1 if m else 3)
    assert all(done.table[row]["answer"] for row, m in failed if m == 0)
    assert smart.verify(done.certificate, done.ledger) == []


def test_a_finished_run_that_cannot_fill_its_rows_stays_finished(tmp_path: Path) -> None:
    """A reference that is down, or a budget that is spent: the rows stay without an answer, certificate and table stay
    what they were, also in the ledger."""
    given = {**providers(), "fake:big": failing_first(answering(0.0), 0.12, "x")}
    first = usual(rows(400), tmp_path, providers=given)
    down = {**providers(), "fake:big": smart.FakeProvider(lambda _: smart.Refused("no such key"))}
    lines: list[str] = []
    second = usual(rows(400), tmp_path, providers=down, on_event=lambda event: lines.append(str(event)))
    assert second.table == first.table
    assert second.certificate == first.certificate
    assert any("no such key" in line for line in lines)
    third = usual(rows(400), tmp_path, providers=given, budget=first.cost)
    assert (third.certificate.evidence, third.certificate.rule) == (first.certificate.evidence, first.certificate.rule)
    with Reader.open(first.ledger) as reader:
        assert [record.state for record in reader.runs()] == ["done"]


def test_rows_set_aside_that_are_answered_later_are_not_counted_again(tmp_path: Path) -> None:
    """Rows of a pilot that the reference failed on reduce the allowance for good, and are delivered once it answers."""
    given = {**providers(), "fake:big": failing_first(answering(0.0), 0.0, "")}
    usual_options: dict[str, Any] = {"agreement": 0.9, "seed": 7, "ledger": tmp_path / "ledger.db"}
    models = {"reference": "fake:big?in=10&out=10", "candidates": ["fake:small?in=1&out=1"]}
    smart.plan(
        rows(400),
        smart.Task("Really?\n{text}", labels=["yes", "no"]),
        pilot=20,
        procedure="reference-only",  # whose forecast takes no time
        providers=given,
        **models,
        **usual_options,
    )
    given["fake:big"] = failing_first(answering(0.0), 0.3, "aside")
    first = usual(rows(400), tmp_path, providers=given, candidates=models["candidates"])
    assert first.certificate.claim["set_aside_errors"] > 0
    second = usual(rows(400), tmp_path, providers=given, candidates=models["candidates"])
    assert second.certificate.claim["set_aside_errors"] == first.certificate.claim["set_aside_errors"]
    assert second.certificate.evidence == first.certificate.evidence
    assert second.certificate.claim["errors"] == 0
    for done in (first, second):
        assert smart.verify(done.certificate, done.ledger) == []
