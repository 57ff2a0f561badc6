"""A table that grew: where it is answered anew, plan and run say why, and a plan does not advise what leads to that."""

import sys
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart

sys.path.append(str(Path(__file__).parent))
from test_grown_mix import NEW, OLD, TASK, Asked, found, table
from test_learned_live import shown

MODELS: dict[str, Any] = {"reference": "fake:ref?in=1&out=1", "candidates": ["fake:small?in=0.1&out=0.1"], "seed": 3}


def planned(rows: int, ledger: Path, agreement: float = 0.85, **options: Any) -> smart.Plan:
    """Of a table of so many rows."""
    texts = [{"text": row["text"]} for row in table(rows)]
    return smart.plan(texts, TASK, agreement=agreement, ledger=ledger, **MODELS, **options)


@pytest.mark.parametrize(
    ("rows", "options", "why"),
    [
        (OLD + OLD // 2 + 1, {}, "more than half as many were added"),
        (NEW, {"per_label": 0.7}, "only the default procedure continues a run"),
    ],
)
def test_why_a_table_is_answered_anew_is_said(tmp_path: Path, rows: int, options: dict[str, Any], why: str) -> None:
    """In the plan, and when the run begins; where it is continued, or where nothing was answered, there is nothing to
    say."""
    ledger = tmp_path / "l.db"
    assert planned(OLD, ledger, **options).known == ()
    Asked(OLD).run(ledger, **options)
    assert planned(rows, ledger, **options).known[0].endswith(f"{why}.")
    said = list[str]()
    Asked(rows).run(ledger, on_event=lambda event: said.append(str(event)), **options)
    assert any(f"{why}." in each for each in said)
    assert planned(rows, ledger, **options).known == ()


def test_a_run_that_has_ended_is_not_said_to_have_decided_nothing_yet(tmp_path: Path) -> None:
    """Where few rows may differ, and the candidate is dear, a pilot is all that a run takes before it ends."""
    dear: dict[str, Any] = {"agreement": 0.99, "candidates": ["fake:small?in=0.5&out=0.5"]}
    first, said = Asked(200).run(tmp_path / "l.db", **dear), list[str]()
    assert first.certificate.evidence["mix"]["profiled"]["rows"] == 0
    Asked(201).run(tmp_path / "l.db", on_event=lambda event: said.append(str(event)), **dear)
    assert any("it took no sample." in each for each in said)


def test_a_plan_that_continues_advises_no_pilot(tmp_path: Path) -> None:
    """A pilot would have the whole table answered anew. What other agreements would cost is what they cost without the
    earlier run, since they are other commands."""
    ledger = tmp_path / "l.db"
    Asked(OLD).run(ledger)
    plan, alone = planned(NEW, ledger), planned(NEW, tmp_path / "other.db")
    told = " ".join(plan.text().split())
    assert "sharpens" not in told
    assert "how the models agree on the rows added" in told
    assert [line for line in plan.lines if line.agreement != "0.85"] == [
        line for line in alone.lines if line.agreement != "0.85"
    ]
    assert plan.asked.cost < 0.5 * alone.asked.cost
    says = smart.FakeProvider(lambda request: "yes", keep=True)
    planned(NEW, ledger, pilot=20, providers={"fake:ref": says, "fake:small": says})
    assert planned(NEW, ledger).known[0].endswith("rows of the larger table were piloted.")


def test_where_all_rows_added_are_asked_about_no_candidate_is(tmp_path: Path) -> None:
    """The reference answers them, so nothing is left for a candidate: they cost no more than the reference asks. The
    table may grow again, and its ledger bears the certificates out."""
    ledger = tmp_path / "l.db"
    earlier = Asked(OLD).run(ledger)
    for rows in (OLD + 1, OLD + 3):
        done = (asked := Asked(rows)).run(ledger)
        assert done.certificate.plan.grown is not None
        assert done.certificate.granted
        assert (sorted(asked.reference), asked.small) == ([*range(len(earlier.table), rows)], [])
        assert shown(done)[: len(earlier.table)] == shown(earlier)
        assert found(done, ledger) == []
        assert Asked(rows).run(ledger).certificate.to_json() == done.certificate.to_json()
        earlier = done
    later = (asked := Asked(NEW + 60)).run(ledger)
    assert len(asked.small) >= later.certificate.evidence["looked"] > 0
    assert later.certificate.evidence["granted"]
    assert found(later, ledger) == []
