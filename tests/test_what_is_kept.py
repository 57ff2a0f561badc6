"""What a run leaves behind: no file of another run is lost, and what was paid is told from what may have been."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import numbered, usual
from killing import ended as killed

import smart_llm as smart
from smart_llm.ledger import Reader

Command = Callable[..., tuple[int, str, str]]
KILLED = """
import os, signal, sys
import smart_llm as smart

calls = 0

def answer(request):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
    return "yes"

fakes = {name: smart.FakeProvider(answer, keep=True) for name in ("fake:big", "fake:small")}
task = smart.Task("Good? {text}", labels=["yes", "no"])
smart.run([{"text": f"row {i}"} for i in range(300)], task, reference="fake:big?in=10&out=10",
          candidates=["fake:small?in=1&out=1"], providers=fakes, ledger=sys.argv[1], seed=3, concurrency=4)
"""

WRITING = """
import os, signal, sys
from smart_llm.cli import main

real, calls = os.replace, 0

def replace(*names, **options):
    global calls
    calls += 1
    if calls == NTH and WHEN == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(*names, **options)
    if calls == NTH:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace
sys.argv = ["smart", *ARGUMENTS]
main()
"""
"""A command that is killed at one of the moments at which a file gets its name."""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """300 rows."""
    return numbered(tmp_path, 300)


def status(certificate: Path) -> str:
    """What a certificate file says."""
    return str(json.loads(certificate.read_text())["status"])


def ended(ledger: Path, calls: int, by: str) -> int:
    """How a run ends that sends itself a signal with so many calls."""
    command = [sys.executable, "-c", KILLED, str(ledger), str(calls), by]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_a_run_that_stops_leaves_the_files_of_another_one(command: Command, table: Path) -> None:
    """A finished run's table and certificate are set aside together, and both certificates verify."""
    output = table.with_name("o.csv")
    assert command(*usual(table, output=output), "--yes")[0] == 0
    before, certificate = output.read_bytes(), status(Path(f"{output}.certificate.json"))
    other = usual(table, output=output, prompt="Bad? {text}", budget="0.001")
    code, _, said = command(*other, "--yes")
    assert code == 4
    assert f"{output} was there, and not of this run: it is o.csv.before now." in said
    assert not output.exists()
    aside = table.with_name("o.csv.before")
    assert aside.read_bytes() == before
    assert status(Path(f"{aside}.certificate.json")) == certificate != "pending"
    assert status(Path(f"{output}.certificate.json")) == "pending"
    ledger = f"{table}.ledger.db"
    assert command("verify", f"{aside}.certificate.json", "--ledger", ledger)[0] == 0


def test_a_file_that_nobody_here_wrote_is_set_aside(command: Command, table: Path) -> None:
    """Whatever stands at the output's place is kept under another name; a second run of the same keeps only its own."""
    output = table.with_name("o.csv")
    output.write_text("important\n")
    for _ in range(2):
        assert command(*usual(table, output=output), "--yes")[0] == 0
    assert table.with_name("o.csv.before").read_text() == "important\n"
    assert len(output.read_text().splitlines()) == 301
    assert not table.with_name("o.csv.before.certificate.json").exists()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_kill_while_files_are_written_loses_none_of_another_run(
    command: Command, table: Path, nth: int, when: str
) -> None:
    """Whichever file has its name by then: by the same command again the other run's table and certificate are set
    aside, and this run's stand in their place."""
    output = table.with_name("o.csv")
    assert command(*usual(table, output=output), "--yes")[0] == 0
    files = [output, Path(f"{output}.certificate.json")]
    before = [each.read_bytes() for each in files]
    other = [str(word) for word in (*usual(table, output=output, prompt="Bad? {text}"), "--yes")]
    told = {"NTH": nth, "WHEN": when, "ARGUMENTS": other}
    code = "".join(f"{name} = {value!r}\n" for name, value in told.items()) + WRITING
    assert killed(code, str(table.parent))[0] == -signal.SIGKILL
    assert command(*other)[0] == 0
    aside = table.with_name("o.csv.before")
    assert [each.read_bytes() for each in (aside, Path(f"{aside}.certificate.json"))] == before
    assert json.loads(files[1].read_text())["plan"]["task"]["prompt"] == "Bad? {text}"
    assert len(output.read_text().splitlines()) == 301


@pytest.mark.parametrize("module", ["engine.outputs", "tables.writing"], ids=["certificate", "table"])
def test_a_file_that_there_is_no_room_for_is_named(
    command: Command, table: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name and why, also where the error has no number, and no traceback; with room again nothing is paid twice."""
    output = table.with_name("o.csv")
    output.write_text("important\n")
    given = [*usual(table, output=output), "--yes"]

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(f"smart_llm.{module}.whole", full)
        code, _, said = command(*given)
    assert code == 2
    assert "could not be written: No space left on device (os error 28)" in said
    assert command(*given)[0] == 0
    assert table.with_name("o.csv.before").read_text() == "important\n"
    assert len(output.read_text().splitlines()) == 301


def test_what_a_killed_run_may_have_paid_is_told_apart(command: Command, tmp_path: Path) -> None:
    """After a SIGKILL `smart runs` calls paid what answers cost, and the rest what it is: an upper limit."""
    ledger = tmp_path / "l.db"
    assert ended(ledger, 150, "SIGKILL") == -signal.SIGKILL
    _, printed, _ = command("runs", "--ledger", ledger, "--json")
    [run] = json.loads(printed)["runs"]
    with Reader.open(ledger) as reader:
        answers = sum(each.cost for each in reader.account(run["run"]) if each.outcome == "answered")
    assert run["lost_at_most"] > 0
    assert run["paid"] - run["lost_at_most"] == pytest.approx(answers, abs=1e-12)
    _, told, _ = command("runs", "--ledger", ledger)
    assert re.search(r"open \$[\d.]+ paid and at most \$[\d.]+ for calls without an answer", " ".join(told.split()))


def test_a_run_that_goes_on_counts_what_was_bought_since_it_was_stopped(command: Command, tmp_path: Path) -> None:
    """Stopped, taken up again and killed: the next start tells the answers there are, not those at the stop."""
    ledger = tmp_path / "l.db"
    assert ended(ledger, 60, "SIGINT") == 1
    assert ended(ledger, 100, "SIGKILL") == -signal.SIGKILL
    with Reader.open(ledger) as reader:
        [run] = reader.runs()
        bought = sum(each.calls for each in reader.account(run.run_id) if each.outcome == "answered")
    said = list[str]()
    fake = smart.FakeProvider(lambda request: "yes", keep=True)
    smart.run(
        [{"text": f"row {i}"} for i in range(300)],
        smart.Task("Good? {text}", labels=["yes", "no"]),
        reference="fake:big?in=10&out=10",
        candidates=["fake:small?in=1&out=1"],
        providers={"fake:big": fake, "fake:small": fake},
        ledger=ledger,
        seed=3,
        on_event=lambda event: said.append(event.text) if isinstance(event, smart.Said) else None,
    )
    assert bought > 100
    assert f"Resuming run {run.run_id}: {bought} answers already bought, and not paid for again." in said
