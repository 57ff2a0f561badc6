"""A whole run, from table to certificate, on providers that need no network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chance import answering, draw

import smart_llm as smart
from smart_llm.ledger import Reader
from smart_llm.types import Answer, Request, Usage

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
BIG, SMALL, TINY = "fake:big?in=10&out=10", "fake:small?in=1&out=1", "fake:tiny?in=0.1&out=0.1"


def providers(small: Any = None, tiny: Any = None, big: Any = None) -> dict[str, smart.FakeProvider]:
    """A reference that is the truth, a good candidate, a poor one."""
    return {
        "fake:big": smart.FakeProvider(big or answering(0.0)),
        "fake:small": smart.FakeProvider(small or answering(0.04, "small")),
        "fake:tiny": smart.FakeProvider(tiny or answering(0.4, "tiny")),
    }


def rows(count: int) -> list[dict[str, Any]]:
    """A table of texts."""
    return [{"id": i, "text": f"row {i}"} for i in range(count)]


def run(table: Any, path: Path, **options: Any) -> smart.Run:
    """A run with the usual models."""
    given = {"reference": BIG, "candidates": [SMALL, TINY], "agreement": 0.9, "seed": 7, "providers": providers()}
    return smart.run(table, options.pop("task", TASK), ledger=path / "ledger.db", **{**given, **options})


def test_every_row_is_answered_in_order_and_certified(tmp_path: Path) -> None:
    """All rows come back in order with an answer; the certificate is granted, verifies, and the promise holds."""
    done = run(rows(1500), tmp_path)
    assert [row["id"] for row in done.table] == list(range(1500))
    assert {row["status"] for row in done.table} == {"ok"}
    truth = answering(0.0)
    wrong = sum(row["answer"] != truth(Request("", f"Yes or no?\n{row['text']}", 1)) for row in done.table)
    assert done.certificate.granted
    assert wrong <= 150
    assert done.saving > 2
    certificate = json.loads(done.certificate.to_json())
    assert smart.verify(certificate, done.ledger) == []


def test_running_again_pays_nothing_and_changes_nothing(tmp_path: Path) -> None:
    """The second run of the same command asks nobody and returns the same table and certificate."""
    first = run(rows(600), tmp_path, seed=None)
    again = providers()
    second = run(rows(600), tmp_path, seed=None, providers=again)
    assert second.table == first.table
    assert second.certificate == first.certificate
    assert sum(provider.calls for provider in again.values()) == 0


def test_a_changed_prompt_draws_a_new_seed(tmp_path: Path) -> None:
    """The seed is drawn per plan; a changed task gets another, and the certificate counts earlier runs on the table,
    and of these its own."""
    first = run(rows(60), tmp_path, seed=None)
    other = run(rows(60), tmp_path, seed=None, task=smart.Task("Yes or no, please?\n{text}", labels=["yes", "no"]))
    assert first.certificate.seed != other.certificate.seed
    assert (other.certificate.earlier_runs, other.certificate.earlier_runs_same_task) == (1, 0)
    third = run(rows(60), tmp_path, seed=None, agreement=0.8).certificate
    assert (third.earlier_runs, third.earlier_runs_same_task) == (2, 1)


def test_a_broken_contract_is_never_delivered(tmp_path: Path) -> None:
    """A candidate that always breaks the contract costs little and changes nothing."""
    done = run(rows(1500), tmp_path, providers=providers(small=lambda _: "maybe, who knows", tiny=lambda _: ""))
    assert {row["answered_by"] for row in done.table} == {"fake:big"}
    assert {row["answer"] for row in done.table} == {"yes", "no"}
    assert done.cost <= 1.02 * done.certificate.cost["reference_only"]
    assert not done.certificate.granted


def test_a_candidate_that_breaks_it_sometimes_is_deferred_there(tmp_path: Path) -> None:
    """Rows on which the candidate breaks the contract are answered by the reference; the others count."""
    good = answering(0.01, "small")
    flaky = smart.FakeProvider(lambda r: "no idea" if draw(r.prompt, "flaky") < 0.2 else good(r))
    done = run(rows(1500), tmp_path, providers={**providers(), "fake:small": flaky})
    assert done.certificate.granted
    for row in done.table:
        if row["answered_by"] == "fake:small":
            assert draw(f"Yes or no?\n{row['text']}", "flaky") >= 0.2


def test_rows_the_reference_fails_on_are_counted(tmp_path: Path) -> None:
    """A row that finally fails has a status, no answer, and counts in the certificate; the others are delivered."""

    def failing(request: Request) -> str | Exception:
        if request.prompt.endswith(" 3"):
            return smart.Refused("the prompt is too long", row_only=True)
        return answering(0.0)(request)

    done = run(rows(40), tmp_path, procedure="reference-only", providers=providers(big=failing), candidates=[])
    assert done.table[3]["status"].startswith("error: ")
    assert done.table[3]["answer"] is None
    assert done.certificate.claim["errors"] == 1
    assert sum(row["status"] == "ok" for row in done.table) == 39
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []


def test_a_reference_that_breaks_the_contract_makes_error_rows(tmp_path: Path) -> None:
    """A reference answer outside the contract is an error row, never delivered, and never certifies a candidate."""

    def evasive(request: Request) -> str:
        return "as an AI model I cannot say" if draw(request.prompt, "mood") < 0.6 else answering(0.0)(request)

    done = run(rows(300), tmp_path, providers=providers(big=evasive))
    broken = {k for k in range(300) if draw(f"Yes or no?\nrow {k}", "mood") < 0.6}
    by_reference = {k for k in range(300) if done.table[k]["answered_by"] == "fake:big"}
    assert all((done.table[k]["answer"] is None) == (k in broken) for k in by_reference)
    assert not done.certificate.granted


@pytest.mark.parametrize("procedure", ["ladder", "reference-only"])
def test_a_hopeless_run_stops_before_more_is_spent(tmp_path: Path, procedure: str) -> None:
    """When none of the first rows has an answer the run stops, says what came instead, and keeps what was bought."""
    given = providers(big=lambda _: "as an AI model I cannot say")
    with pytest.raises(smart.Refused, match="as an AI model I cannot say"):
        run(rows(3000), tmp_path, providers=given, procedure=procedure, concurrency=8)
    assert given["fake:big"].calls < 100
    with Reader.open(tmp_path / "ledger.db") as reader:
        assert [record.state for record in reader.runs()] == ["pending"]
        assert reader.count() == sum(provider.calls for provider in given.values())


def test_a_dear_candidate_is_dropped_and_said(tmp_path: Path) -> None:
    """A candidate dearer than the reference is never asked, and the user is told."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    said: list[str] = []
    dear = "fake:tiny?in=20&out=20"
    given = providers()
    run(
        rows(400),
        tmp_path,
        candidates=[SMALL, dear],
        providers=given,
        on_event=lambda event: said.append(event.text) if isinstance(event, smart.Said) else None,
    )
    assert given["fake:tiny"].calls == 0
    assert any("fake:tiny" in text for text in said)


def test_budget_stops_cleanly_and_more_goes_on(tmp_path: Path) -> None:
    """A reached budget raises, leaves a pending certificate and everything bought; a larger one finishes the job."""
    out = tmp_path / "out.csv"
    source = tmp_path / "in.csv"
    source.write_text("text\n" + "\n".join(f"row {i}" for i in range(500)), encoding="utf-8")
    (tmp_path / "whole").mkdir()
    whole = run(source, tmp_path / "whole", output=tmp_path / "whole.csv")
    with pytest.raises(smart.BudgetExhausted):
        run(source, tmp_path, output=out, budget=whole.cost / 3)
    pending = json.loads((tmp_path / "out.csv.certificate.json").read_text())
    assert pending["status"] == "pending"
    assert not pending["granted"]
    assert smart.verify(pending, tmp_path / "ledger.db") == []
    with Reader.open(tmp_path / "ledger.db") as reader:
        assert sum(reader.spent(record.run_id) for record in reader.runs()) <= whole.cost / 3
    done = run(source, tmp_path, output=out, budget=whole.cost * 1.5)
    assert done.cost == pytest.approx(whole.cost)
    assert out.read_text() == (tmp_path / "whole.csv").read_text()


@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_small_tables(tmp_path: Path, count: int) -> None:
    """Tables of a few rows are answered, by whomever, within the promise."""
    done = run(rows(count), tmp_path)
    assert len(done.table) == count
    assert all(row["status"] == "ok" for row in done.table)
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []


def test_identical_rows_are_paid_once(tmp_path: Path) -> None:
    """Rows with the same text share one request per model, and the cost counts it once."""
    given = providers()
    table = [{"text": "always the same"}] * 300
    done = run(table, tmp_path, providers=given)
    assert given["fake:big"].calls == 1
    assert given["fake:small"].calls <= 1
    assert done.cost <= done.certificate.cost["reference_only"] * 1.2
    assert len(done.table) == 300


def test_reference_only(tmp_path: Path) -> None:
    """`reference-only` sends every row to the reference and saves nothing."""
    done = run(rows(50), tmp_path, procedure="reference-only", candidates=[])
    assert {row["answered_by"] for row in done.table} == {"fake:big"}
    assert done.saving == pytest.approx(1.0)
    assert done.certificate.status == "reference-only"
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []


@pytest.mark.parametrize("procedure", ["ladder", "smart/2024", "smart/2024:profile-all", "smart/2024:profile-smart"])
def test_every_procedure_runs_live_and_verifies(tmp_path: Path, procedure: str) -> None:
    """All procedures run on live models through the same driver, and their certificates verify with the ledger."""
    done = run(rows(800), tmp_path, procedure=procedure)
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []


def test_a_ledger_that_says_otherwise_is_noticed(tmp_path: Path) -> None:
    """Evidence that is not what was bought does not verify against the ledger."""
    done = run(rows(800), tmp_path, procedure="ladder")
    certificate = json.loads(done.certificate.to_json())
    other = run(rows(800), tmp_path, procedure="ladder", providers=providers(small=answering(0.06, "x")), seed=8)
    stranger = json.loads(other.certificate.to_json())
    swapped = {**stranger, "evidence": certificate["evidence"], "rule": certificate["rule"]}
    assert smart.verify(swapped, done.ledger)
    assert smart.verify({**certificate, "seed": certificate["seed"] + 1}, done.ledger)
    assert smart.verify({**certificate, "granted": False})


def test_frames_come_back_as_they_came(tmp_path: Path) -> None:
    """A list of dicts stays one, with three columns added; the input is untouched."""
    table = rows(20)
    before = [dict(row) for row in table]
    done = run(table, tmp_path)
    assert table == before
    assert list(done.table[0]) == ["id", "text", "answer", "answered_by", "status"]


async def test_arun_is_the_same_run(tmp_path: Path) -> None:
    """`await arun` gives what `run` gives; `run` also works inside a running loop."""
    given = {"reference": BIG, "candidates": [SMALL], "agreement": 0.9, "seed": 1, "ledger": tmp_path / "a.db"}
    one = await smart.arun(rows(50), TASK, providers=providers(), **given)
    two = smart.run(rows(50), TASK, providers=providers(), **given)
    assert one.table == two.table


def test_frozen_values() -> None:
    """What a run returns cannot be changed by accident."""
    with pytest.raises(AttributeError):
        smart.Said("x").text = "y"  # type: ignore[misc]
    assert replace(smart.Said("x"), text="y") == smart.Said("y")


def test_a_promise_per_label_is_granted_said_and_verified(tmp_path: Path) -> None:
    """`per_label` is part of claim, words and verification; the labels' shares hold."""
    done = run(rows(2500), tmp_path, per_label=0.8, agreement=0.85)
    assert done.certificate.granted
    assert "every label" in done.certificate.claim["words"]
    assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []
    truth = answering(0.0)
    for label in ("yes", "no"):
        those = [row for row in done.table if truth(Request("", f"Yes or no?\n{row['text']}", 1)) == label]
        assert sum(row["answer"] == label for row in those) >= 0.8 * len(those)


def test_a_promise_per_label_needs_labels(tmp_path: Path) -> None:
    """Without a closed set of labels there is nothing to promise for."""
    with pytest.raises(smart.InputError, match="per_label="):
        run(rows(10), tmp_path, per_label=0.8, task=smart.Task("{text}", answer="number"))


def test_what_prompt_caches_saved_is_said(tmp_path: Path) -> None:
    """Input read from a provider's cache at a lower price: the run says what that took off, and nothing where no cache
    was read."""

    def half_cached(request: Request) -> Answer:
        return Answer(answering(0.0)(request), Usage(100, 1, cached_tokens=50))

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    said: list[str] = []
    models = {"reference": "fake:big?in=10&out=10&cached=1", "on_event": lambda event: said.append(str(event))}
    done = run(rows(40), tmp_path / "a", **models, providers=providers(big=half_cached))
    saved = 4.5e-4 * sum(row["answered_by"] == "fake:big" for row in done.table)
    assert any(f"prompt caches took ${saved:.6f}" in line for line in said), said
    said.clear()
    run(rows(40), tmp_path / "b", **models)
    assert not any("prompt caches" in line for line in said)
