"""Runs that are stopped and resumed in every way: what was evidence stays so, and every certificate verifies."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smart_llm as smart
from smart_llm import procedures
from smart_llm.ledger import Ledger, Reader
from smart_llm.ledger.migrations import MIGRATIONS
from smart_llm.types import Answers, Ask, Mix, Problem, Verdict
from tests.engine.test_identity import PROMPT, profiled, reading, said
from tests.engine.test_run import answering, draw, providers, rows
from tests.engine.test_run import run as usual

ANSWERED = ("ask", "asks", "fixed", "set aside", "expected")
"""Kinds of events that nothing rewrites."""


def record(path: Path) -> list[tuple[str, Any]]:
    """What the only run of a ledger has recorded."""
    with Reader.open(path / "ledger.db") as reader:
        (run,) = reader.runs()
        return [(each.kind, each.payload) for each in reader.events(run.run_id) if each.kind in ANSWERED]


def flaky(answer: Callable[[smart.Request], str], share: float, salt: str, calls: Iterator[int]) -> smart.FakeProvider:
    """A model that refuses calls by chance: which ones depends on how many were made."""

    def reply(request: smart.Request) -> str | Exception:
        failed = draw(f"{request.prompt}{next(calls)}", salt) < share
        return smart.Refused("not now", row_only=True) if failed else answer(request)

    return smart.FakeProvider(reply)


class Stopping:
    """A listener that stops the run at its `after`-th event of the wanted kind."""

    def __init__(self, after: int, kind: type) -> None:
        self.left, self.kind = after, kind

    def __call__(self, event: object) -> None:
        """Count, and stop."""
        self.left -= isinstance(event, self.kind)
        if self.left < 0:
            raise TimeoutError("stopped")


@pytest.mark.parametrize(("procedure", "seed"), [("ladder", 0), ("smart/2024", 1), ("per-label", 2)])
def test_stopped_again_and_again_among_failures(tmp_path: Path, procedure: str, seed: int) -> None:
    """However often a run is stopped while both models fail by chance, no recorded ask, row or mark is ever rewritten,
    in the end every row has an answer, and each certificate on the way verifies with the ledger."""
    calls = iter(range(10**9))
    given = {
        "fake:big": flaky(answering(0.0), 0.05, "big", calls),
        "fake:small": flaky(answering(0.05, "s"), 0.1, "small", calls),
        "fake:tiny": flaky(answering(0.4, "t"), 0.1, "tiny", calls),
    }
    options: dict[str, Any] = {"providers": given, "seed": seed, "concurrency": 8, "agreement": 0.85}
    options |= {"per_label": 0.7} if procedure == "per-label" else {"procedure": procedure}
    before: list[Any] = []
    for after, kind in [
        (7, smart.Profiling),
        (60, smart.Profiling),
        (250, smart.Profiling),
        (7, smart.Profiling),
        (90, smart.Delivering),
    ]:
        with suppress(TimeoutError):
            usual(rows(600), tmp_path, on_event=Stopping(after, kind), **options)
        now = record(tmp_path)
        assert now[: len(before)] == before
        before = now
    lost = 600
    for _ in range(6):
        if lost:
            done = usual(rows(600), tmp_path, **options)
            assert record(tmp_path)[: len(before)] == before
            before, lost = record(tmp_path), sum(row["status"] != "ok" for row in done.table)
            assert smart.verify(json.loads(done.certificate.to_json()), done.ledger) == []
    assert lost == 0
    quiet = usual(rows(600), tmp_path, **{**options, "providers": (silent := providers())})
    assert sum(each.calls for each in silent.values()) == 0
    assert (quiet.certificate, quiet.table) == (done.certificate, done.table)


def test_without_a_ledger_a_seed_does_not_bring_back_the_order(tmp_path: Path) -> None:
    """Where a relation cannot be hashed, deleting the ledger does not help: chance goes into the order whatever the
    seed."""
    file = tmp_path / "accepted.txt"
    file.write_text("")
    task = smart.Task(PROMPT, labels=["yes", "no"], equivalence=reading(file))
    found = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        done = usual(rows(100), tmp_path / folder, task=task, procedure="ladder")
        assert done.certificate.plan["drawn"] is not None
        found.append(profiled(done)[:10])
    assert found[0] != found[1]


def test_a_given_seed_is_owned_up_to(tmp_path: Path) -> None:
    """A seed can be searched for by whoever knows the answers: the certificate says that it was given."""
    given, drawn = (usual(rows(40), tmp_path, seed=seed).certificate for seed in (7, None))
    assert any("seed was given" in each for each in given.assumptions)
    assert not any("seed was given" in each for each in drawn.assumptions)


# --------------------------------------------------------------------------- what is fixed first


def fixing(said: list[Any]) -> Callable[[str], Callable[[Problem], Any]]:
    """Procedures that say what they have fixed before they ask: the next of `said`, as long as there are any."""
    real = procedures.get

    def get(name: str) -> Callable[[Problem], Any]:
        def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
            conversation = real(name)(problem)
            told = iter(said)
            try:
                ask = next(conversation)
                while True:
                    ask = conversation.send((yield replace(ask, fixed=next(told, None))))
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]

        return procedure

    return get


def test_what_is_fixed_is_recorded_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durable before any call of its ask leaves, once; a run that fixes something else is another one."""
    ledger = tmp_path / "ledger.db"

    def small(request: smart.Request) -> str:
        with Reader.open(ledger) as reader:
            (run, *_) = reader.runs()
            kinds = [event.kind for event in reader.events(run.run_id)]
        seen.append((kinds.count("fixed"), kinds.count("ask")))
        return answering(0.04, "small")(request)

    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(procedures, "get", fixing([{"design": [1, 2]}, {"design": [3]}]))
    options: dict[str, Any] = {"procedure": "ladder", "candidates": ["fake:small?in=1&out=1"]}
    first = usual(rows(200), tmp_path, providers=providers(small=small), **options)
    assert all(fixed == min(2, asks + 1) for fixed, asks in seen if asks < 2)
    assert [payload for kind, payload in record(tmp_path) if kind == "fixed"] == [
        {"number": 0, "fixed": {"design": [1, 2]}},
        {"number": 1, "fixed": {"design": [3]}},
    ]
    assert usual(rows(200), tmp_path, **options).certificate == first.certificate
    for other in ([{"design": [1, 2]}, {"design": [4]}], [None, {"design": [3]}], []):
        monkeypatch.setattr(procedures, "get", fixing(other))
        lines, tell = said()
        done = usual(rows(200), tmp_path, on_event=tell, **options)
        assert done.run_id != first.run_id
        assert any("what is fixed before the evidence" in line for line in lines)
        first = done


def asking(change: str) -> Callable[[str], Callable[[Problem], Any]]:
    """Procedures that ask in another way: other rows, one ask less, one more."""
    real = procedures.get

    def get(name: str) -> Callable[[Problem], Any]:
        def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
            conversation, asks = real(name)(problem), list[Ask]()
            try:
                asks.append(next(conversation))
                while True:
                    ask = asks[-1]
                    turned = change == "others" and len(asks) == 2
                    answers = yield replace(ask, positions=ask.positions[::-1]) if turned else ask
                    asks.append(conversation.send(answers))
                    if change == "fewer" and len(asks) == 2:
                        return Verdict(False, Mix(), asks[0].positions, name, {})
            except StopIteration as stop:
                verdict: Verdict = stop.value
            if change == "more":
                yield Ask(np.arange(3), (0,), "more")
            return verdict

        return procedure

    return get


@pytest.mark.parametrize("change", ["others", "fewer", "more"])
def test_a_procedure_that_asks_for_something_else_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Other rows, more or fewer of them: the record of what was asked stands, and a new run begins."""
    options: dict[str, Any] = {"procedure": "ladder", "candidates": ["fake:small?in=1&out=1"]}
    first = usual(rows(200), tmp_path, **options)
    before = record(tmp_path)
    monkeypatch.setattr(procedures, "get", asking(change))
    done = usual(rows(200), tmp_path, **options)
    assert done.run_id != first.run_id
    with Reader.open(tmp_path / "ledger.db") as reader:
        events = [(each.kind, each.payload) for each in reader.events(first.run_id)]
    assert [event for event in events if event[0] in ANSWERED] == before
    assert events[-1][0] == "given up"


# --------------------------------------------------------------------------- finished, and more


def test_a_finished_run_that_is_interrupted_stays_finished(tmp_path: Path) -> None:
    """Ctrl-C while a finished run fills its rows: certificate and state stay, in the ledger and beside the output."""
    table, out = tmp_path / "t.csv", tmp_path / "out.csv"
    table.write_text("text\n" + "".join(f"row {i}\n" for i in range(300)))
    met: set[str] = set()

    def big(request: smart.Request) -> str | Exception:
        if request.prompt not in met and draw(request.prompt, "x") < 0.1:
            met.add(request.prompt)
            return smart.Refused("not now", row_only=True)
        return answering(0.0)(request)

    given = {**providers(), "fake:big": smart.FakeProvider(big)}
    usual(table, tmp_path, providers=given, output=out)
    before = (tmp_path / "out.csv.certificate.json").read_text()
    with pytest.raises(TimeoutError):
        usual(table, tmp_path, providers=given, output=out, on_event=Stopping(0, smart.Delivering))
    assert (tmp_path / "out.csv.certificate.json").read_text() == before
    with Reader.open(tmp_path / "ledger.db") as reader:
        (run,) = reader.runs()
    assert (run.state, run.certificate) == ("done", json.loads(before))
    done = usual(table, tmp_path, providers=given, output=out)
    assert done.certificate.claim["errors"] == 0


def test_a_second_look_is_not_taken_again(tmp_path: Path) -> None:
    """What asking the reference twice showed stays, though calls of it failed and rows were answered later."""
    calls = iter(range(10**9))
    given = {**providers(), "fake:big": flaky(answering(0.0), 0.2, "twice", calls)}
    found = [usual(rows(300), tmp_path, providers=given, self_check=40) for _ in range(6)]
    assert all(each.certificate.self_agreement == found[0].certificate.self_agreement for each in found)
    assert 0 < found[0].certificate.self_agreement["rows"] < 40  # type: ignore[index]
    assert all(smart.verify(each.certificate, each.ledger) == [] for each in found)
    assert all(row["status"] == "ok" for row in found[-1].table)


def test_a_budget_covers_runs_that_were_given_up(tmp_path: Path) -> None:
    """A hard stop is one for the command, however many runs it takes."""
    file = tmp_path / "accepted.txt"
    file.write_text("")
    task = smart.Task(PROMPT, labels=["yes", "no"], equivalence=reading(file))
    poor = {**providers(small=answering(0.2, "small")), "fake:tiny": smart.FakeProvider(answering(0.4))}
    first = usual(rows(300), tmp_path, task=task, providers=poor)
    file.write_text("yes,no no,yes")
    with pytest.raises(smart.BudgetExhausted):
        usual(rows(300), tmp_path, task=task, providers=poor, budget=first.cost * 1.001)


def test_every_row_that_is_marked_is_recorded_at_once(tmp_path: Path) -> None:
    """Rows of an ask that was cut off are in the ledger with their marks; the same run goes on with them."""
    marked: dict[int, Any] = {}
    for after in range(2, 40, 2):
        with pytest.raises(TimeoutError):
            usual(rows(400), tmp_path, procedure="ladder", concurrency=4, on_event=Stopping(after, smart.Profiling))
        with Reader.open(tmp_path / "ledger.db") as reader:
            (run,) = reader.runs()
            asks = sum(event.kind == "ask" for event in reader.events(run.run_id))
            marked = reader.marks(run.run_id, asks)
        if len(marked) > 3:
            break
    assert 3 < len(marked) < 400
    assert all(len(each["marks"]) == len(each["keys"]) and not each["failed"] for each in marked.values())
    done = usual(rows(400), tmp_path, procedure="ladder")
    assert done.run_id == run.run_id
    (entry,) = [payload for kind, payload in record(tmp_path) if kind == "ask" and payload["number"] == asks]
    assert all(entry["marks"][place] == each["marks"] for place, each in marked.items())
    with (
        sqlite3.connect(tmp_path / "ledger.db") as ledger,
        pytest.raises(sqlite3.IntegrityError, match="only be added"),
    ):
        ledger.execute("UPDATE marks SET reading = '{}'")


FORGERIES: dict[str, Callable[[dict[str, Any], int], None]] = {
    "a mark": lambda ask, at: ask["marks"][at].__setitem__(1, 1 - ask["marks"][at][1]),
    "a score": lambda ask, at: ask["scores"][at].__setitem__(1, 0.5),
    "an answer": lambda ask, at: ask["said"][at].__setitem__(1, 5),
    "a failure": lambda ask, at: ask["failed"].append([at, 1]),
    "a row": lambda ask, at: ask["positions"].__setitem__(at, (ask["positions"][at] + 1) % 400),
    "a row less": lambda ask, _: ask["marks"].pop(),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> smart.Run:
    """A run whose record nobody has changed. Whoever does works on a copy."""
    folder = tmp_path_factory.mktemp("honest")
    return usual(rows(400), folder, procedure="ladder", candidates=["fake:small?in=1&out=1"])


@pytest.mark.parametrize("what", FORGERIES)
def test_a_record_that_does_not_follow_from_the_answers_is_refused(
    honest: smart.Run, tmp_path: Path, what: str
) -> None:
    """In the first ask as in the last: marks, scores and answers must come out of what the ledger holds; what is called
    a failure must be marked as one."""
    path = shutil.copy(honest.ledger, tmp_path / "ledger.db")
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        ledger.execute("DROP TRIGGER events_no_update")
        asks = ledger.execute("SELECT id, payload FROM events WHERE kind = 'ask' ORDER BY id").fetchall()
    assert len(asks) > 2
    with sqlite3.connect(tmp_path / "ledger.db", isolation_level=None) as ledger:
        for number, payload in (asks[0], asks[-1]):
            ask = json.loads(payload)
            FORGERIES[what](ask, min(3, len(ask["marks"]) - 1))
            ledger.execute("UPDATE events SET payload = ? WHERE id = ?", (json.dumps(ask), number))
            assert smart.verify(honest.certificate, path) != []
            ledger.execute("UPDATE events SET payload = ? WHERE id = ?", (payload, number))
    assert smart.verify(honest.certificate, path) == []


def test_an_older_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    """A ledger without a table of answers set apart gets one; its answers are used, its runs are not taken up."""
    done = usual(rows(60), tmp_path)
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        ledger.execute("DROP TABLE set_apart")
        plan = json.loads(ledger.execute("SELECT plan FROM runs").fetchone()[0])
        del plan["format"]
        ledger.execute("UPDATE runs SET lookup = 'older', plan = ?", (json.dumps(plan),))
        ledger.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
    again = usual(rows(60), tmp_path, providers=(silent := providers()))
    assert again.run_id != done.run_id
    assert again.certificate.earlier_runs == 1
    assert sum(each.calls for each in silent.values()) == 0
    with pytest.raises(smart.InputError, match="another version"):
        done.report(tmp_path / "report.html")
    older = {**json.loads(done.certificate.to_json()), "format": "smart-certificate/1"}
    (tmp_path / "old.json").write_text(json.dumps(older))
    with pytest.raises(smart.InputError, match="smart-certificate/1"):
        smart.verify(tmp_path / "old.json")


def test_a_clock_that_goes_back_hides_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are counted, and found, in the order they were recorded."""
    import time

    real, hours = time.time, iter(range(10**6))
    monkeypatch.setattr(
        Ledger.__init__, "__kwdefaults__", {"store_text": True, "clock": lambda: real() - 3600 * next(hours)}
    )
    assert [usual(rows(40), tmp_path, seed=seed).certificate.earlier_runs for seed in (1, 2, 3)] == [0, 1, 2]
