"""One model: a snapshot that the evidence is not about delivers nothing, and a run whose model changes stops."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from chance import draw
from killing import Command

import smart_llm as smart
from smart_llm.errors import BudgetExhausted, Refused
from smart_llm.ledger import Reader
from smart_llm.mock.http import Call, Reply
from smart_llm.mock.server import MockServer
from smart_llm.types import Answer, Request, Usage

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
ROWS = [{"text": f"row {i}"} for i in range(1000)]
ALLOWED = 100


def said(prompt: str, error: float, salt: str) -> str:
    """The truth, but for this share of the prompts."""
    return "yes" if (draw(prompt, "truth") < 0.5) != (draw(prompt, salt) < error) else "no"


class Changing(smart.FakeProvider):
    """A model whose snapshot `name(calls so far)` answers; the errors of each snapshot are its own."""

    def __init__(self, name: Callable[[int], str], errors: dict[str, float], *, sure: bool = False) -> None:
        super().__init__(self._said)
        self.name, self.errors, self.sure = name, errors, sure

    def _said(self, request: Request) -> Answer:
        name = self.name(self.calls)
        level = float(-int(3 * draw(request.prompt, "sure")))
        logprobs = (("x", level),) if self.sure else ()
        return Answer(said(request.prompt, self.errors[name], name), Usage(20, 1), snapshot=name, logprobs=logprobs)


def reference(name: str = "r-1") -> Changing:
    """The truth, under whatever name."""
    return Changing(lambda _: name, {name: 0.0})


def run(path: Path, small: Any, big: Any = None, **options: Any) -> smart.Run:
    """A run of two models."""
    return smart.run(
        options.pop("rows", ROWS),
        TASK,
        reference="fake:big?in=10&out=10",
        candidates=["fake:small?in=1&out=1"],
        **{"agreement": 0.9, "seed": 7, "ledger": path / "l.db", "concurrency": 8, **options},
        providers={"fake:big": big or reference(), "fake:small": small},
    )


def misses(done: smart.Run) -> int:
    """Delivered rows that are not what the reference says."""
    return sum(row["answer"] != said(f"Yes or no?\n{row['text']}", 0.0, "") for row in done.table)


FIRST, SECOND = {"s-1": 0.04}, {"s-1": 0.04, "s-2": 0.4}


@pytest.mark.parametrize("sure", [False, True], ids=["mix", "cascade"])
def test_another_snapshot_after_a_resume_stops_the_run(tmp_path: Path, sure: bool) -> None:
    """The candidate changes while the run is stopped: it stops again, names both snapshots, and delivers nothing of the
    new one. Once the old one answers again, the table is that of the undisturbed run."""
    whole = run(tmp_path / "whole", Changing(lambda _: "s-1", FIRST, sure=sure))
    assert whole.certificate.granted
    profiling = whole.certificate.cost["profiling"]
    with pytest.raises(BudgetExhausted):
        run(tmp_path, Changing(lambda _: "s-1", FIRST, sure=sure), budget=profiling + 0.5 * (whole.cost - profiling))
    for _ in range(2):
        with pytest.raises(Refused, match=r"(?s)s-2.*s-1") as stopped:
            run(tmp_path, Changing(lambda _: "s-2", SECOND, sure=sure))
        assert "ledger=NEWFILE" in str(stopped.value)
    with Reader.open(tmp_path / "l.db") as reader:
        (record,) = reader.runs()
        assert record.certificate is not None
        assert record.certificate["status"] == "pending"
    done = run(tmp_path, Changing(lambda _: "s-1", FIRST, sure=sure))
    assert done.table == whole.table
    assert smart.verify(done.certificate, done.ledger) == []


def test_another_snapshot_of_the_reference_stops_the_run(tmp_path: Path) -> None:
    """The promise is about the reference that answered the evidence."""

    def small() -> Changing:
        return Changing(lambda _: "s-1", {"s-1": 0.15})

    whole = run(tmp_path / "whole", small())
    assert whole.certificate.granted
    assert whole.certificate.delivered["by"]["fake:big"] > whole.certificate.delivered["profiled"]
    profiling = whole.certificate.cost["profiling"]
    with pytest.raises(BudgetExhausted):
        run(tmp_path, small(), budget=profiling + 0.1 * (whole.cost - profiling))
    with pytest.raises(Refused, match=r"(?s)r-2.*r-1"):
        run(tmp_path, small(), big=reference("r-2"))
    assert run(tmp_path, small()).table == whole.table


@pytest.mark.parametrize(
    ("sure", "calls"),
    [(False, each) for each in (1, 5, 20, 60, 160, 400)] + [(True, each) for each in (3, 10, 40, 120, 250, 800)],
)
def test_a_model_that_changes_in_mid_run_breaks_no_promise(tmp_path: Path, calls: int, sure: bool) -> None:
    """After so many calls, while profiling or while delivering, another snapshot answers, which is wrong on 40 %: a
    mix, or a cascade where the candidate has a score, stops, or what it delivers keeps the promise."""
    small = Changing(lambda done: "s-1" if done <= calls else "s-2", {"s-1": 0.01, "s-2": 0.4}, sure=sure)
    try:
        done = run(tmp_path, small)
    except Refused as error:
        stopped = str(error)
    else:
        assert not done.certificate.granted or misses(done) <= ALLOWED
        return
    assert {"s-1", "s-2"} <= set(stopped.replace(",", " ").replace(".", " ").split())


def test_snapshots_that_take_turns_are_one_model(tmp_path: Path) -> None:
    """Behind a load balancer two snapshots answer from the first rows on: the run ends as ever."""
    done = run(tmp_path, Changing(lambda calls: f"s-{1 + calls % 2}", {"s-1": 0.03, "s-2": 0.05}))
    assert done.certificate.granted
    assert misses(done) <= ALLOWED
    assert smart.verify(done.certificate, done.ledger) == []


def test_a_model_that_does_not_say_is_not_known_to_have_changed(tmp_path: Path) -> None:
    """Without a name there is nothing to compare; a model that begins to say or ceases to is not another one."""
    for name in (lambda _: "", lambda calls: "s-1" if calls < 300 else ""):
        path = tmp_path / str(name(400) + str(name(1)))
        assert run(path, Changing(name, {"": 0.03, "s-1": 0.03})).certificate.granted


def test_answers_of_an_earlier_run_by_another_snapshot_are_not_mixed_in(tmp_path: Path) -> None:
    """Answers of the first run are in the ledger, and half of the second one's evidence would be of them: it stops."""
    run(tmp_path, Changing(lambda _: "s-1", FIRST), rows=ROWS[:700], agreement=0.8)
    with pytest.raises(Refused, match=r"(?s)s-1.*s-2"):
        run(tmp_path, Changing(lambda _: "s-2", SECOND))


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_a_reference_that_answered_some_rows_as_another_snapshot_stops_the_run(tmp_path: Path, seed: int) -> None:
    """A few of its answers are in the ledger, of a run on fewer rows, and none of them is evidence now: what it said
    then is not what the reference says, so it is not delivered as that."""
    run(tmp_path, Changing(lambda _: "s-1", FIRST), reference("r-0"), rows=ROWS[:12])
    with pytest.raises(Refused, match=r"(?s)r-0.*r-1"):
        run(tmp_path, Changing(lambda _: "s-1", FIRST), reference("r-1"), seed=seed)


def test_rows_that_were_piloted_by_another_snapshot_stop_the_run(tmp_path: Path) -> None:
    """They are set aside and never evidence, but their answers would be delivered as the reference's."""
    for name in ("r-0", "r-1"):
        smart.plan(
            ROWS,
            TASK,
            pilot=40,
            procedure="reference-only",  # whose forecast takes no time
            reference="fake:big?in=10&out=10",
            candidates=["fake:small?in=1&out=1"],
            ledger=tmp_path / name,
            providers={"fake:big": reference(name), "fake:small": Changing(lambda _: "s-1", FIRST)},
        )
    with pytest.raises(Refused, match=r"(?s)r-0.*r-1"):
        run(tmp_path, Changing(lambda _: "s-1", FIRST), reference("r-1"), ledger=tmp_path / "r-0")
    assert run(tmp_path, Changing(lambda _: "s-1", FIRST), reference("r-1"), ledger=tmp_path / "r-1")


def test_an_answer_by_a_snapshot_without_evidence_is_not_delivered(tmp_path: Path) -> None:
    """A few answers by another snapshot are in the ledger from elsewhere: those rows go to the reference."""
    import sqlite3

    whole = run(tmp_path, Changing(lambda _: "s-1", FIRST))
    mine = [row["text"] for row in whole.table if row["answered_by"] == "fake:small"][:20]
    with Reader.open(tmp_path / "l.db") as reader:
        db = sqlite3.connect(reader.path)
        rows = db.execute("SELECT id, request, answer FROM answers WHERE model = 'fake:small'").fetchall()
    others = {number for number, request, _ in rows if json.loads(request)["prompt"].split("\n")[1] in mine}
    copy = smart_copy(tmp_path / "l.db", tmp_path / "copy.db", others)
    done = run(tmp_path, Changing(lambda _: "s-1", FIRST), ledger=copy)
    assert {row["answered_by"] for row in done.table if row["text"] in mine} == {"fake:big"}
    assert [row for row in done.table if row["text"] not in mine] == [
        row for row in whole.table if row["text"] not in mine
    ]


def smart_copy(source: Path, target: Path, others: set[int]) -> Path:
    """The ledger as it would be had another snapshot given these answers."""
    import shutil
    import sqlite3

    from smart_llm.ledger.keys import seal

    shutil.copy(source, target)
    db = sqlite3.connect(target)
    db.execute("DROP TRIGGER answers_no_update")
    for number, key, answer in db.execute("SELECT id, key, answer FROM answers").fetchall():
        if number in others:
            told = answer.replace('"s-1"', '"s-0"')
            db.execute("UPDATE answers SET answer = ?, digest = ? WHERE id = ?", (told, seal(key, told), number))
    db.execute("CREATE TRIGGER answers_no_update BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'no'); END")
    db.commit()
    db.close()
    return target


class Renaming(MockServer):
    """Says that another snapshot answers, once it was told to."""

    changed = False

    def handle(self, call: Call) -> Reply:
        """The name it is called by has as many letters."""
        answer = super().handle(call)
        if self.changed:
            answer = Reply(answer.data.replace(b'"model":"small"', b'"model":"snail"'), answer.delay)
        return answer


async def test_the_command_line_says_so(tmp_path: Path) -> None:
    """Over real sockets: exit 3 with both names on stderr, a pending certificate, and what was bought is kept."""
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(900)))
    async with (server := Renaming(rule="label:yes,no", errors={"small": 0.04})) as url:
        command = [
            *(sys.executable, "-m", "smart_llm.cli", "run", str(source), "--prompt", "? {text}", "--labels", "yes,no"),
            *("--reference", f"openai:big@{url}?in=10&out=10", "--candidate", f"openai:small@{url}?in=1&out=1"),
            *("--agreement", "0.9", "--seed", "1", "--json", "--budget", "0.015"),
        ]
        for budget, code in (("0.015", 4), ("50", 3)):
            process = Command([*command[:-1], budget])
            _, err = await process.communicate()
            assert process.returncode == code, err.decode()
            server.changed = True
    assert b"snail" in err
    assert b"small answer" in err or b"of small" in err
    assert b"Traceback" not in err
    assert json.loads((tmp_path / "t.answers.csv.certificate.json").read_text())["status"] == "pending"


async def test_by_batch_another_snapshot_stops_the_run(tmp_path: Path) -> None:
    """The same where answers come by batch."""
    from smart_llm.client.batch.options import BatchOptions

    options = BatchOptions(poll=0.02, quiet=0.02, patient=0.05)

    class Quiet(Renaming):
        def _quiet(self) -> MockServer:
            twin, outer = super()._quiet(), self
            plain = twin.handle

            def handle(call: Call) -> Reply:
                answer = plain(call)
                return Reply(answer.data.replace(b'"small"', b'"snail"') if outer.changed else answer.data)

            twin.handle = handle  # type: ignore[method-assign]
            return twin

    async with (server := Quiet(rule="label:yes,no", errors={"small": 0.04})) as url:

        def decided(event: Any) -> None:
            server.changed = server.changed or isinstance(event, smart.Decided)

        with pytest.raises(Refused, match=r"(?s)snail.*small"):
            await smart.arun(
                ROWS[:900],
                TASK,
                reference=f"openai:big@{url}?in=10&out=10",
                candidates=[f"openai:small@{url}?in=1&out=1"],
                agreement=0.9,
                seed=3,
                ledger=tmp_path / "l.db",
                batch=options,
                on_event=decided,
            )


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for name in ("whole", "s-1", ""):
        (tmp_path / name).mkdir(exist_ok=True)


def test_a_change_is_told_from_taking_turns() -> None:
    """In random order hardly ever a change, with the old before the new always one, also where a few came late."""
    from smart_llm.engine.snapshots import changed, overtaken

    random = Random(1)
    for count in (2, 5, 20, 100, 400):
        for other in (1, 3, 30, 300):
            names = ["a"] * count + ["b"] * other
            found = 0
            for _ in range(100):
                random.shuffle(names)
                found += changed(names) is not None
            assert found <= 1
    for count, other in ((3, 60), (6, 12), (20, 20), (300, 5), (300, 300)):
        assert changed(["a"] * count + ["b"] * other) == ("a", "b")
    names = ["a"] * 100 + ["b"] * 100
    for _ in range(200):
        at = random.randrange(199)
        names[at], names[at + 1] = names[at + 1], names[at]
    assert changed(names) == ("a", "b")
    assert overtaken(["a", "a", *["b"] * 9]) == ("a", "b")
    assert overtaken(["a"] * 9 + ["b"]) is overtaken(["a"] * 9) is overtaken([]) is None
    assert changed([]) is changed(["a"]) is changed(["a", "b"]) is changed(["a"] * 9) is None
