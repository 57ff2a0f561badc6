"""A table that grew: its rows keep their answers, a look at the rows added is enough, and the promise is about all."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killing import ended

import smart_llm as smart
from smart_llm.types import Request

sys.path.append(str(Path(__file__).parent))
from test_learned_live import REFERENCE, TASK, copied, reviews, run, shown

OLD, NEW, LATER = 1500, 1650, 1800
PRICE = 2.5e-5
"""USD of a call, about."""
OTHER = {"positive": "negative", "negative": "positive"}


def test_a_table_that_grew_costs_its_share_whatever_kills_the_run(whole: smart.Run, tmp_path: Path) -> None:
    """The rows there were are delivered as they were, for nothing; the rows added cost a small look, and the
    certificate is one about all rows, which the ledger bears out. A run that is killed in its look comes to the same; a
    table that grows once more is continued again; an earlier run that was changed is found out."""
    first, ledger, copy = whole, copied(whole, tmp_path), copied(whole, tmp_path, "k.db")
    second = run(ledger, NEW)
    assert first.certificate.granted
    assert second.certificate.granted
    assert shown(second)[:OLD] == shown(first)
    assert second.certificate.claim.rows == NEW
    assert second.certificate.plan.grown is not None
    assert second.certificate.cost.paid < 0.5 * first.cost
    assert sum(row["answer"] != row["truth"] for row in second.table) <= second.certificate.claim.allowance
    assert first.run_id in second.certificate.text()
    assert smart.verify(second.certificate, ledger=ledger) == []
    _killed(copy, 5)
    resumed = run(copy, NEW)
    assert shown(resumed) == shown(second)
    assert resumed.certificate.evidence == second.certificate.evidence
    third = run(ledger, LATER)
    assert third.certificate.plan.grown is not None
    assert len(third.certificate.plan.grown.looks) == 2
    assert shown(third)[:NEW] == shown(second)
    assert smart.verify(third.certificate, ledger=ledger) == []
    _changed(ledger, first.run_id)
    assert any(f"run {first.run_id}, which is continued: " in each for each in found(second, ledger))


def found(done: smart.Run[Any], ledger: Path) -> list[str]:
    """What does not hold of a run's certificate."""
    return smart.verify(done.certificate, ledger=ledger)


def losing(ledger: Path, rows: int, gone: Callable[[int], bool], **options: Any) -> tuple[smart.Run[Any], list[int]]:
    """A run whose reference does not answer those of its calls, counted from 0, that `gone` says; and the rows that
    were asked about, call by call."""
    truth, asked = {row["text"]: row["truth"] for row in reviews(rows)}, list[int]()

    def answer(request: Request) -> str | smart.Answer:
        text = request.prompt.split("Review: ")[1]
        asked.append(int(text.rsplit(" ", 1)[1]))
        return smart.Answer(None, error="cut off") if gone(len(asked) - 1) else truth[text]

    return run(ledger, rows, providers={"fake:ref": smart.FakeProvider(answer, keep=True)}, **options), asked


@pytest.mark.parametrize("first_lost", [120, 250], ids=["in the look", "among the rows delivered"])
def test_rows_without_an_answer_are_no_second_chance(tmp_path: Path, first_lost: int) -> None:
    """The run is continued all the same, and pays for no row twice. The rows are asked again; where one has no answer
    still, it counts among those that may have none, and with more of them nothing is certified."""
    ledger, copy = tmp_path / "l.db", tmp_path / "k.db"
    first, asked = losing(ledger, OLD, lambda call: call == first_lost)
    assert first.certificate.claim.errors == 1
    copy.write_bytes(ledger.read_bytes())
    lost = asked[first_lost]
    second, again = losing(ledger, NEW, lambda _: False)
    assert second.certificate.plan.grown is not None
    assert second.certificate.granted
    assert again.count(lost) == 1
    assert set(again) & set(asked) == {lost}
    assert second.certificate.claim.errors == 0
    assert found(second, ledger) == []
    third, again = losing(copy, NEW, lambda call: call < 1)
    assert third.certificate.plan.grown is not None
    assert again[0] == lost
    assert third.certificate.claim.errors == 1
    assert third.certificate.granted
    assert found(third, copy) == []


def test_more_rows_without_an_answer_than_are_reserved(tmp_path: Path) -> None:
    """Those of the rows there were and those of the rows added count together: then nothing is claimed, until they are
    answered by the same command."""
    ledger = tmp_path / "l.db"
    losing(ledger, OLD, lambda call: call in (250, 251))
    second, asked = losing(ledger, NEW, lambda call: call < 3)
    assert second.certificate.plan.grown is not None
    assert second.certificate.plan.reserve == 2
    assert second.certificate.claim.errors == 3
    assert second.certificate.status == "not-certified"
    assert found(second, ledger) == []
    third, again = losing(ledger, NEW, lambda _: False)
    assert third.certificate.status == "certified"
    assert sorted(again) == sorted(asked[:3])
    assert found(third, ledger) == []


@pytest.mark.parametrize("calls", [130, 200], ids=["in the look", "among the rows delivered"])
def test_a_run_that_was_stopped_after_it_had_decided_on_a_look_is_no_second_chance(tmp_path: Path, calls: int) -> None:
    """It is brought to its end first, with the money of the run that continues it: else runs whose look leaves much to
    the reference run out of money, and begin anew, and only the others are continued."""
    ledger = tmp_path / "l.db"
    with pytest.raises(smart.BudgetExhausted):
        losing(ledger, OLD, lambda _: False, budget=calls * PRICE)
    plan = smart.plan(reviews(NEW), TASK, reference=REFERENCE, candidates=["learned"], agreement=0.85, ledger=ledger)
    assert any("brought to its end first" in line for line in plan.known)
    with pytest.raises(smart.BudgetExhausted):
        losing(ledger, NEW, lambda _: False, budget=10 * PRICE)
    second, asked = losing(ledger, NEW, lambda _: False)
    assert second.certificate.plan.grown is not None
    assert len(set(asked)) == len(asked)
    assert found(second, ledger) == []
    first, asked = losing(ledger, OLD, lambda _: False)
    assert asked == []
    assert shown(second)[:OLD] == shown(first)
    assert first.certificate.granted
    assert found(first, ledger) == []


def turning(ledger: Path, rows: int, right: int, after: int = 0) -> smart.Run[Any]:
    """A run whose reference says the contrary of the truth from row `right` on, and after so many calls."""
    truth, calls = {row["text"]: row["truth"] for row in reviews(rows)}, [0]

    def answer(request: Request) -> str:
        text = request.prompt.split("Review: ")[1]
        calls[0] += 1
        turned = int(text.rsplit(" ", 1)[1]) >= right or (after and calls[0] > after)
        return OTHER[truth[text]] if turned else truth[text]

    return run(ledger, rows, providers={"fake:ref": smart.FakeProvider(answer, keep=True)})


def test_rows_added_that_no_candidate_may_answer(whole: smart.Run, tmp_path: Path) -> None:
    """They are asked of the reference. What a candidate has answered of the rows there were is promised as before: the
    certificate does not say that the reference was asked about every row. That run is the one that is continued."""
    first, ledger = whole, copied(whole, tmp_path)
    second = turning(ledger, NEW, OLD)
    certificate, text = second.certificate, " ".join(second.certificate.text().split())
    by_learned = first.certificate.delivered.by["learned"]
    assert certificate.delivered.by["learned"] == by_learned
    assert certificate.status == "certified"
    assert "CERTIFIED" in text
    assert "rows were asked of fake:ref itself" not in text
    assert "fake:ref must answer all rows added" in text
    assert sum(row["answer"] != row["truth"] for row in second.table[:OLD]) <= certificate.claim.allowance
    assert all(by == "fake:ref" for _, by in shown(second)[OLD:])
    assert smart.verify(certificate, ledger=ledger) == []
    page = smart.report(second, path=tmp_path / "r.html").read_text()
    assert "answers every row that was added" in page
    third = turning(ledger, LATER, OLD)
    assert third.certificate.plan.grown is not None
    assert third.certificate.plan.grown.run == second.run_id
    assert smart.verify(third.certificate, ledger=ledger) == []


def test_a_run_whose_look_delivers_nothing_is_continued_too(tmp_path: Path) -> None:
    """Else a run that broke its promise would be continued, and any other have a second chance to break it."""
    ledger = tmp_path / "l.db"
    first = turning(ledger, OLD, OLD, after=115)
    assert first.certificate.status == "reference-only"
    assert "looked" in first.certificate.evidence
    second = turning(ledger, NEW, NEW)
    assert second.certificate.plan.grown is not None
    assert shown(second)[:OLD] == shown(first)
    assert sum(row["answer"] != row["truth"] for row in second.table[OLD:]) <= second.certificate.claim.allowance
    assert smart.verify(second.certificate, ledger=ledger) == []


def test_a_few_rows_more_cost_no_more_calls(whole: smart.Run, tmp_path: Path) -> None:
    """A look at some of them is hardly worth its rows then. Nobody else is asked about, and the rows there were keep
    their answers."""
    first, ledger = whole, copied(whole, tmp_path)
    for rows, more in ((OLD + 1, 1), (OLD + 4, 3)):
        done, asked = losing(ledger, rows, lambda _: False)
        assert set(asked) <= set(range(rows - more, rows))
        assert shown(done)[:OLD] == shown(first)
        assert done.certificate.granted
        assert found(done, ledger) == []


def _killed(ledger: Path, stop: int) -> None:
    """The run of the grown table, whose process dies after so many calls."""
    code = f"import test_learned_live as t; from pathlib import Path; t.run(Path({str(ledger)!r}), {NEW}, stop={stop})"
    died, said = ended(code, str(Path(__file__).parent))
    assert died == 9, said


def _changed(ledger: Path, run_id: str) -> None:
    """The certificate of a run is written anew, with fewer rows looked at."""
    with sqlite3.connect(ledger) as base:
        (told,) = base.execute("select certificate from runs where id = ?", (run_id,)).fetchone()
        looked = told.replace('"looked":', '"looked":1', 1)
        base.execute("update runs set certificate = ? where id = ?", (looked, run_id))
