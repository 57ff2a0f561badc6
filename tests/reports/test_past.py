"""`smart runs` and `smart report`: what ledgers remember, and how a run is named."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart

Made = Callable[..., smart.Run[Any]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are given in the test's folder."""
    monkeypatch.chdir(tmp_path)


def test_runs_are_listed_with_state_and_money(run: Made, command: Command) -> None:
    """Every run of the ledgers here, oldest first: what it cost, what it promises, where it stands."""
    first = run(1200)
    with pytest.raises(smart.BudgetExhausted):
        run(1200, agreement=0.9, budget=0.01, ledger="other.ledger.db")
    code, printed, _ = command("runs", "--json")
    listed = json.loads(printed)["runs"]
    assert code == 0
    assert [each["state"] for each in listed] == ["certified", "pending"]
    assert listed[0]["run"] == first.run_id
    assert (listed[0]["cost"], listed[0]["saving"]) == (first.cost, first.saving)
    assert listed[1]["saving"] is None
    assert [each["table"] for each in listed] == ["texts.csv", "other"]
    code, printed, _ = command("runs")
    assert first.run_id in printed.splitlines()[0]
    assert printed.count("What is it?") == 2


def test_no_runs_is_no_error(command: Command) -> None:
    """An empty folder has no runs, and says so."""
    assert command("runs") == (0, "", "no runs here yet\n")
    assert json.loads(command("runs", "--json")[1]) == {"runs": []}


def test_runs_of_tables_in_memory_are_found(run: Made, command: Command) -> None:
    """Their ledgers stand in the user's folder."""
    run(20, ledger=None)
    (listed,) = json.loads(command("runs", "--json")[1])["runs"]
    assert listed["table"] is None
    assert command("report", "last", "--html", "r.html")[0] == 0


def test_a_report_by_id_beginning_or_last(run: Made, command: Command, tmp_path: Path) -> None:
    """A run is named by its id, the beginning of it, or `last`; the page has a name of its own by default."""
    done = run(40)
    code, printed, _ = command("report", done.run_id)
    told = f"report: report-{done.run_id}.html (run {done.run_id}, ledger texts.csv.ledger.db)\n"
    assert (code, printed) == (0, told)
    assert (tmp_path / f"report-{done.run_id}.html").is_file()
    code, printed, _ = command("report", done.run_id[:8], "--html", "a.html", "--json")
    assert json.loads(printed) == {"run": done.run_id, "ledger": "texts.csv.ledger.db", "report": "a.html"}
    assert command("report", "last", "--html", "b.html", "--ledger", done.ledger)[0] == 0
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()


def test_what_cannot_be_found_is_said_in_a_line(run: Made, command: Command, tmp_path: Path) -> None:
    """No ledger, no run of that name, several, no place to write: exit 2 and a line that says what to do."""
    assert command("report", "last")[0] == 2
    run(20)
    run(20, agreement=0.7)
    for arguments, word in (
        (("report", "nobody"), "no such run"),
        (("report", "2"), "several"),
        (("report", "last", "--html", "none/r.html"), "no folder"),
        (("report", "last", "--ledger", "none.db"), "none.db"),
        (("runs", "--ledger", "none.db"), "none.db"),
    ):
        code, printed, said = command(*arguments)
        assert (code, printed) == (2, "")
        assert len(said.splitlines()) == 1
        assert word in said


def test_a_damaged_ledger_does_not_hide_the_others(run: Made, command: Command, tmp_path: Path) -> None:
    """What is no ledger is named and passed over; asked for by name, it is an error of its own kind."""
    run(20)
    (tmp_path / "broken.ledger.db").write_text("not a database, though long enough to look like one" * 50)
    code, printed, said = command("runs", "--json")
    assert code == 0
    assert len(json.loads(printed)["runs"]) == 1
    assert "broken.ledger.db" in said
    assert command("report", "last", "--html", "r.html")[0] == 0
    assert command("runs", "--ledger", "broken.ledger.db")[0] == 5
    assert command("report", "last", "--ledger", "broken.ledger.db")[0] == 5


def test_run_writes_a_report(command: Command, tmp_path: Path) -> None:
    """`smart run --report` writes the page beside everything else and says where; `--json` names it."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"film {i}\n" for i in range(30)))
    asked = ("--prompt", "Good? {text}", "--labels", "yes,no", "--agreement", "0.9", "--yes")
    models = ("--reference", "fake:big?in=10&out=10", "--candidate", "fake:small?in=1&out=1")
    code, printed, _ = command("run", "t.csv", *asked, *models, "--report", "r.html")
    assert code == 0
    assert "report: r.html" in printed
    assert "t.csv" in (tmp_path / "r.html").read_text()
    code, printed, _ = command("run", "t.csv", *asked, *models, "--report", "r.html", "--json")
    assert json.loads(printed)["report"] == "r.html"


def test_this_folder_comes_first(run: Made, command: Command) -> None:
    """Runs of tables in memory are listed after those of this folder, whenever they were made, and `last` is the latest
    run of this folder, in whatever ledger it is."""
    mine = run(20, ledger="mine.db")
    run(20, ledger="older.ledger.db", agreement=0.6)
    latest = run(20, ledger="mine.db", agreement=0.7)
    memory = run(20, ledger=None, agreement=0.8)
    listed = json.loads(command("runs", "--json")[1])["runs"]
    assert [listed[k]["run"] for k in (0, 2, 3)] == [mine.run_id, latest.run_id, memory.run_id]
    printed = command("runs")[1]
    assert printed.index(latest.run_id) < printed.index("of tables in memory") < printed.index(memory.run_id)
    code, printed, _ = command("report", "last", "--html", "r.html")
    assert (code, printed) == (0, f"report: r.html (run {latest.run_id}, ledger mine.db)\n")
    assert smart.report("last").name == f"report-{latest.run_id}.html"


def test_what_is_no_ledger_is_no_concern(run: Made, command: Command, tmp_path: Path) -> None:
    """Other databases in the folder are passed over in silence."""
    run(20)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    (tmp_path / "text.db").write_text("not a database")
    code, printed, said = command("runs", "--json")
    assert (code, said) == (0, "")
    assert len(json.loads(printed)["runs"]) == 1


def test_reused_answers_are_told_from_money_paid(run: Made, command: Command) -> None:
    """A run that takes its answers from earlier ones is not made cheaper by it: the factor counts both, and the listing
    says which is which."""
    run(1200)
    again = run(1200, agreement=0.8)
    _, second = json.loads(command("runs", "--json")[1])["runs"]
    cost = again.certificate.cost
    assert second["reused"] == cost["reused"] > 0
    assert second["saving"] == pytest.approx(cost["reference_only"] / (second["paid"] + second["reused"]), rel=0.01)
    told = " ".join(command("runs")[1].partition(again.run_id)[2].split())
    assert "re-used" in told
    assert "cheaper with both counted" in told


def test_a_run_that_was_given_up_is_listed_so(run: Made, command: Command, model: Callable[..., Any]) -> None:
    """After `--retry` began anew, the run it took the place of is not called pending for ever."""
    broken = {
        name: smart.FakeProvider(lambda _: "who knows", keep=True) for name in ("fake:big", "fake:small", "fake:tiny")
    }
    with pytest.raises(smart.Refused):
        run(60, providers=broken)
    well = {name: smart.FakeProvider(lambda _: "positive", keep=True) for name in broken}
    run(60, providers=well, retry="broken")
    first, _ = json.loads(command("runs", "--json")[1])["runs"]
    assert first["state"] == "given up"
