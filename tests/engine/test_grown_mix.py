"""A table that grew after a mix: its rows keep their answers, a look at those added says what its candidate takes."""

import os
import random
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from killing import ended
from msgspec.structs import replace

import smart_llm as smart
from smart_llm.certificates import grown
from smart_llm.ledger import Reader, canonical, tagged
from smart_llm.mock.server import MockServer
from smart_llm.types import Request

sys.path.append(str(Path(__file__).parent))
from test_learned_live import shown

TASK = smart.Task("Good?\n{text}", labels=["no", "yes"])
OLD, NEW, LATER = 600, 660, 720
OTHER = {"no": "yes", "yes": "no"}
WRONG = 0.06
"""Of the rows: those on which the candidate is wrong, as a rule."""


def table(rows: int) -> list[dict[str, Any]]:
    """Rows whose text tells nothing."""
    rng = random.Random(1)
    return [
        {"text": f"{rng.randrange(10**9):09}", "truth": rng.choice(["no", "yes"]), "luck": rng.random()}
        for _ in range(rows)
    ]


@dataclass
class Asked:
    """A run, and the rows that were asked about, call by call."""

    rows: int
    wrong: Callable[[int, int], float] = lambda row, call: WRONG
    gone: Callable[[int], bool] = lambda call: False
    stop: int = 0
    reference: list[int] = field(default_factory=list)
    small: list[int] = field(default_factory=list)

    def run(self, ledger: Path, **options: Any) -> smart.Run[Any]:
        """wrong: of a row and a call of the candidate, the share of rows on which it is wrong; gone: calls of the
        reference that bring no answer; stop: the process dies after so many calls."""
        rows = table(self.rows)
        at = {row["text"]: number for number, row in enumerate(rows)}

        def reference(request: Request) -> str | smart.Answer:
            self.reference.append(number := at[request.prompt.split("\n")[1]])
            gone = self.gone(len(self.reference) - 1)
            return smart.Answer(None, error="cut off") if gone else str(rows[number]["truth"])

        def small(request: Request) -> str:
            self.small.append(number := at[request.prompt.split("\n")[1]])
            if self.stop and len(self.small) > self.stop:
                os._exit(9)
            told, luck = str(rows[number]["truth"]), float(rows[number]["luck"])
            return OTHER[told] if luck < self.wrong(number, len(self.small)) else told

        given: dict[str, Any] = {"agreement": 0.85, "seed": 3, "progress": False, "concurrency": 1}
        given |= {"candidates": ["fake:small?in=0.1&out=0.1"]} | options
        return smart.run(
            [{"text": row["text"]} for row in rows],
            TASK,
            reference="fake:ref?in=1&out=1",
            ledger=ledger,
            providers={
                "fake:ref": smart.FakeProvider(reference, keep=True),
                "fake:small": smart.FakeProvider(small, keep=True),
            },
            **given,
        )


def misses(done: smart.Run[Any]) -> int:
    """Rows that were delivered wrongly."""
    return sum(a["answer"] != b["truth"] for a, b in zip(done.table, table(len(done.table)), strict=True))


def found(done: smart.Run[Any], ledger: Path) -> list[str]:
    """What does not hold of a run's certificate."""
    return smart.verify(done.certificate, ledger=ledger)


def test_a_table_that_grew_after_a_mix_costs_its_share_whatever_kills_the_run(tmp_path: Path) -> None:
    """The rows there were are delivered as they were, for nothing; the rows added cost a small look, and the candidate
    is asked about those alone that are left to it. The certificate is one about all rows, which the ledger bears out. A
    run that is killed in its look comes to the same; a table that grows once more is continued again."""
    ledger, copy = tmp_path / "l.db", tmp_path / "k.db"
    first = Asked(OLD).run(ledger)
    assert "mix" in first.certificate.evidence
    assert first.certificate.granted
    copy.write_bytes(ledger.read_bytes())
    second = (asked := Asked(NEW)).run(ledger)
    certificate, plan = second.certificate, second.certificate.plan
    assert plan.grown is not None
    assert certificate.granted
    assert shown(second)[:OLD] == shown(first)
    assert certificate.claim.rows == NEW
    assert certificate.cost.paid < 0.5 * first.cost
    assert misses(second) <= certificate.claim.allowance
    added = [by for _, by in shown(second)[OLD:]]
    assert min(asked.small) >= OLD
    assert len(asked.small) == certificate.evidence["looked"] + added.count("fake:small")
    assert first.run_id in certificate.text()
    assert "the tables of the mix there" in " ".join(certificate.text().split())
    assert found(second, ledger) == []
    assert "picked at random beforehand" in smart.report(second, path=tmp_path / "r.html").read_text()
    _killed(copy, NEW, 5)
    resumed = Asked(NEW).run(copy)
    assert shown(resumed) == shown(second)
    assert resumed.certificate.evidence == certificate.evidence
    third = Asked(LATER).run(ledger)
    assert third.certificate.plan.grown is not None
    assert len(third.certificate.plan.grown.looks) == 1
    assert third.certificate.plan.grown.excess == plan.grown.excess
    assert shown(third)[:NEW] == shown(second)
    assert found(third, ledger) == []


def test_nobody_is_asked_about_rows_that_the_look_leaves_to_the_reference(tmp_path: Path) -> None:
    """Rows are handed over in an order that is known beforehand, so the candidate is asked about those alone that it
    gets, and about those of the look."""
    Asked(OLD).run(tmp_path / "l.db")
    second = (asked := Asked(NEW, wrong=lambda row, call: 3 * WRONG)).run(tmp_path / "l.db")
    by = [by for _, by in shown(second)[OLD:]]
    assert second.certificate.evidence["stop"] is not None
    assert second.certificate.granted
    assert len(asked.small) == second.certificate.evidence["looked"] + by.count("fake:small") < NEW - OLD
    assert found(second, tmp_path / "l.db") == []


def test_no_draws_are_bought_that_nothing_goes_by(tmp_path: Path) -> None:
    """After a mix nothing tells which rows are surer, so a candidate that is asked several times as evidence is asked
    once about a row that it answers."""
    often = {"candidates": ["fake:small?in=0.02&out=0.02&draws=3"]}
    Asked(OLD).run(tmp_path / "l.db", **often)
    second = (asked := Asked(NEW)).run(tmp_path / "l.db", **often)
    by = [by for _, by in shown(second)[OLD:]]
    assert second.certificate.plan.grown is not None
    assert second.certificate.rule.tiers
    assert len(asked.small) == 4 * second.certificate.evidence["looked"] + sum(each != "fake:ref" for each in by)
    assert found(second, tmp_path / "l.db") == []


def test_the_reference_is_asked_twice_about_rows_of_the_look(tmp_path: Path) -> None:
    """Not about rows that were there: it need not have been asked about those, and the first of a table are no random
    ones."""
    Asked(OLD).run(tmp_path / "l.db")
    second = (asked := Asked(NEW)).run(tmp_path / "l.db", self_check=5)
    by = [by for _, by in shown(second)[OLD:]]
    assert second.certificate.self_agreement is not None
    assert second.certificate.self_agreement.rows == 5
    assert min(asked.reference) >= OLD
    assert len(asked.reference) == by.count("fake:ref") + 5
    assert found(second, tmp_path / "l.db") == []


async def test_rows_that_were_there_are_in_no_call_again(tmp_path: Path) -> None:
    """Rows that are added share calls with one another alone, so nothing is paid for those that there were, and the
    ledger bears out which of them stood where."""
    server, texts = MockServer(rule="label:yes,no", errors={"small": 0.03}), [f"{row}. remark" for row in range(660)]
    options: dict[str, Any] = {"agreement": 0.85, "seed": 3, "progress": False, "ledger": tmp_path / "l.db"}
    async with server as url:
        for rows, calls in ((600, 30), (660, 33)):
            done = await smart.arun(
                [{"text": text} for text in texts[:rows]],
                smart.Task("Good? " + 40 * "Mind the tone. " + "\n\n{text}", labels=["no", "yes"]),
                reference=f"openai:big@{url}?in=10&out=10",
                candidates=[f"openai:small@{url}?in=1&out=1&pack=20"],
                **options,
            )
            assert server.stats()["models"]["small"]["requests"] == calls
    assert done.certificate.plan.grown is not None
    assert found(done, tmp_path / "l.db") == []


def test_a_forged_mix_is_found_out(tmp_path: Path) -> None:
    """A mix that is said to hand over too many bad rows less often than its tables do, or in no order; another
    candidate's tier; and an earlier run whose tables, or whose record of them, were changed."""
    ledger = tmp_path / "l.db"
    first, second = Asked(OLD).run(ledger), Asked(NEW).run(ledger)
    c = second.certificate
    assert c.plan.grown is not None
    lower = tuple((count, chance / 2) for count, chance in c.plan.grown.excess)
    forged = _with(c, lower)
    with Reader.open(ledger) as reader:
        assert grown.continued(c, reader, lambda _: []) == []
        assert any("does not fit: looks" in each for each in grown.continued(forged, reader, lambda _: []))
    assert any("no run with this plan" in each for each in smart.verify(forged, ledger=ledger))
    assert any("not those of the plan" in each for each in smart.verify(_evidence(c, excess=lower)))
    assert any("does not fall" in each for each in smart.verify(_with(c, c.plan.grown.excess[::-1])))
    tier = [{"model": "fake:ref", "score": [], "stop": None, "peers": []}]
    other = _evidence(c, tiers=tier)
    with Reader.open(ledger) as reader:
        assert any("does not fit: tiers" in each for each in grown.continued(other, reader, lambda _: []))
    copy = tmp_path / "k.db"
    copy.write_bytes(ledger.read_bytes())
    _changed(
        copy, "update runs set certificate = replace(certificate, '\"looks\":[0,', '\"looks\":[0,1,')", first.run_id
    )
    assert any(f"run {first.run_id}, which is continued: " in each for each in found(second, copy))
    _changed(ledger, "update events set payload = replace(payload, '\"sums\":[-1,', '\"sums\":[-2,')")
    assert any("is not the one that was named" in each for each in found(second, ledger))


def test_what_had_not_been_decided_by_then_is_not_continued(tmp_path: Path) -> None:
    """A run that is said to continue one that was given up before, or that has decided on its evidence since, is found
    out. To give it up afterwards takes nothing back."""
    ledger = tmp_path / "l.db"
    first, second = Asked(OLD).run(ledger), Asked(NEW).run(ledger)
    given_up = (
        "insert into events select {}, run, 'given up', '{{}}', created from events where kind = 'fixed' and run = ?"
    )
    for number, problem in ((0, "had been given up"), (1000, "")):
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(ledger.read_bytes())
        _changed(copy, given_up.format(number), first.run_id, where="")
        assert any(problem in each for each in found(second, copy)) == bool(problem)
    _changed(ledger, "update events set id = id + 1000 where run = ?", first.run_id, where="")
    assert any("had decided on no evidence yet when this one began" in each for each in found(second, ledger))


@pytest.mark.parametrize("change", ["seed = seed + 1", "lookup = lookup || '0'"])
def test_an_earlier_run_that_is_recorded_otherwise_than_planned_is_found_out(tmp_path: Path, change: str) -> None:
    """By these two it is seen whether an order was had before, and how often the command was given up."""
    first, second = Asked(60).run(tmp_path / "l.db"), Asked(61).run(tmp_path / "l.db")
    assert found(second, tmp_path / "l.db") == []
    _changed(tmp_path / "l.db", f"update runs set {change}", first.run_id)
    assert f"ledger: run {first.run_id} is not recorded by its plan" in found(second, tmp_path / "l.db")


def test_numbers_that_no_table_has_end_in_no_traceback(tmp_path: Path) -> None:
    """More rows than any machine holds, in the run that is continued or in all: refused."""
    c = Asked(60).run(tmp_path / "l.db").certificate, Asked(61).run(tmp_path / "l.db").certificate
    assert c[1].plan.grown is not None
    many = 10**13
    for plan in (
        replace(c[1].plan, grown=replace(c[1].plan.grown, rows=many)),
        replace(c[1].plan, rows=2 * many, grown=replace(c[1].plan.grown, rows=many)),
        replace(c[1].plan, grown=replace(c[1].plan.grown, rows=-1)),
    ):
        claim = replace(c[1].claim, rows=plan.rows)
        assert smart.verify(changed(c[1], plan=plan, plan_hash=tagged(canonical(plan)), claim=claim)) != []


def test_a_mix_that_granted_nothing_is_continued_too(tmp_path: Path) -> None:
    """Else a run that broke its promise would be continued, and any other have a second chance to break it. The rows
    added are left to its candidate as far as a look at them allows, to none where that is bad."""
    ledger, copy = tmp_path / "l.db", tmp_path / "k.db"
    first = Asked(OLD, wrong=lambda row, call: 0.0 if call <= 20 else 0.7).run(ledger)
    assert first.certificate.status == "reference-only"
    assert first.certificate.evidence["mix"]["profiled"]["rows"]
    copy.write_bytes(ledger.read_bytes())
    second = (asked := Asked(NEW)).run(ledger)
    assert second.certificate.plan.grown is not None
    assert shown(second)[:OLD] == shown(first)
    assert min(asked.small) >= OLD
    assert "fake:small" in {by for _, by in shown(second)[OLD:]}
    assert found(second, ledger) == []
    third = Asked(NEW, wrong=lambda row, call: 0.7).run(copy)
    assert third.certificate.plan.grown is not None
    assert third.certificate.status == "reference-only"
    assert misses(third) == 0
    assert found(third, copy) == []


@pytest.mark.parametrize("calls", [40, 300], ids=["in the evidence", "among the rows handed over"])
def test_a_mix_that_was_killed_is_brought_to_its_end_first(tmp_path: Path, calls: int) -> None:
    """It is continued once its tables are settled, whatever it came to after that, and delivers what it would have."""
    ledger, copy = tmp_path / "l.db", tmp_path / "k.db"
    _killed(ledger, OLD, calls)
    copy.write_bytes(ledger.read_bytes())
    rows = [{"text": row["text"]} for row in table(NEW)]
    models = {"reference": "fake:ref?in=1&out=1", "candidates": ["fake:small?in=0.1&out=0.1"]}
    plan = smart.plan(rows, TASK, agreement=0.85, seed=3, ledger=ledger, **models)
    assert any("brought to its end first" in line for line in plan.known)
    second = (asked := Asked(NEW)).run(ledger)
    assert second.certificate.plan.grown is not None
    assert found(second, ledger) == []
    assert len({*asked.small}) == len(asked.small)
    assert shown(Asked(OLD).run(copy)) == shown(second)[:OLD]


@pytest.mark.parametrize("lost", [30, 70], ids=["in the evidence", "among the rows left"])
def test_rows_that_a_mix_has_no_answer_for(tmp_path: Path, lost: int) -> None:
    """The run is continued all the same, and pays for no row twice. The rows are asked again; where one has no answer
    still, it counts among those that may have none."""
    ledger, copy, easier = tmp_path / "l.db", tmp_path / "k.db", {"agreement": 0.8}
    first = (asked := Asked(OLD, wrong=lambda row, call: 0.17, gone=lambda call: call == lost)).run(ledger, **easier)
    assert first.certificate.claim.errors == 1
    assert first.certificate.granted
    gone = asked.reference[lost]
    copy.write_bytes(ledger.read_bytes())
    second = (again := Asked(NEW)).run(ledger, **easier)
    assert second.certificate.plan.grown is not None
    assert second.certificate.claim.errors == 0
    assert {*again.reference} & {*asked.reference} == {gone}
    assert found(second, ledger) == []
    third = (again := Asked(NEW, gone=lambda call: call == 0)).run(copy, **easier)
    assert again.reference[0] == gone
    assert third.certificate.claim.errors == 1
    assert third.certificate.status == "certified"
    assert found(third, copy) == []


def test_a_cascade_without_a_taught_candidate_is_continued_as_well(tmp_path: Path) -> None:
    """Its tiers answer the rows added, by the scores that the candidate gives of its own answers."""

    def run(rows: int) -> smart.Run[Any]:
        told = {row["text"]: row for row in table(rows)}

        def small(request: Request) -> smart.Answer:
            row = told[request.prompt.split("\n")[1]]
            said = OTHER[row["truth"]] if row["luck"] < 5 * WRONG else row["truth"]
            return smart.Answer(said, smart.Usage(20, 1), logprobs=((said, -1 + row["luck"]),))

        providers = {
            "fake:ref": smart.FakeProvider(lambda request: told[request.prompt.split("\n")[1]]["truth"], keep=True),
            "fake:small": smart.FakeProvider(small, keep=True),
        }
        names = {"reference": "fake:ref?in=1&out=1", "candidates": ["fake:small?in=0.1&out=0.1"]}
        texts = [{"text": text} for text in told]
        given: dict[str, Any] = {"agreement": 0.9, "seed": 3, "progress": False, "ledger": tmp_path / "l.db"}
        return smart.run(texts, TASK, providers=providers, **names, **given)

    first, second = run(OLD), run(NEW)
    assert "looked" in first.certificate.evidence
    assert second.certificate.plan.grown is not None
    assert second.certificate.plan.grown.excess == ()
    assert second.certificate.granted
    assert shown(second)[:OLD] == shown(first)
    assert found(second, tmp_path / "l.db") == []


def _with(c: smart.Certificate, excess: tuple[tuple[int, float], ...]) -> smart.Certificate:
    """The certificate with other chances, in plan and evidence."""
    assert c.plan.grown is not None
    plan = replace(c.plan, grown=replace(c.plan.grown, excess=excess))
    return _evidence(changed(c, plan=plan, plan_hash=tagged(canonical(plan))), excess=excess)


def _evidence(c: smart.Certificate, **fields: Any) -> smart.Certificate:
    return changed(c, evidence={**c.evidence, **fields})


def _killed(ledger: Path, rows: int, stop: int) -> None:
    """A run whose process dies after so many calls of the candidate."""
    code = (
        f"import test_grown_mix as t; from pathlib import Path; t.Asked({rows}, stop={stop}).run(Path({str(ledger)!r}))"
    )
    died, said = ended(code, str(Path(__file__).parent))
    assert died == 9, said


def _changed(ledger: Path, statement: str, run_id: str | None = None, where: str = " where id = ?") -> None:
    """What a ledger holds is written anew. where: which run's, if that is named."""
    with sqlite3.connect(ledger) as base:
        for (name,) in base.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            base.execute(f"drop trigger {name}")
        told = base.execute(f"{statement}{where}", (run_id,)) if run_id else base.execute(statement)
        assert told.rowcount


def test_rows_added_that_ask_the_same_as_before_are_answered_alike(tmp_path: Path) -> None:
    """Rows added that ask what a candidate has answered are left to it, for nothing, like any others. Where one is
    looked at, or left to the reference, the rows there were that ask the same are delivered the reference's answer,
    too. A further run by the same command comes to the same."""
    asked = list[str]()
    says: dict[str, Callable[[str], str]] = {
        "fake:ref": lambda prompt: asked.append(prompt) or "yes",
        "fake:small": lambda prompt: "no" if random.Random(prompt).random() < 1.5 * WRONG else "yes",
    }

    def run(texts: list[str]) -> smart.Run[Any]:
        given = {
            name: smart.FakeProvider(lambda request, said=said: said(request.prompt), keep=True)
            for name, said in says.items()
        }
        return smart.run(
            [{"text": text} for text in texts],
            TASK,
            reference="fake:ref?in=1&out=1",
            candidates=["fake:small?in=0.1&out=0.1"],
            agreement=0.85,
            seed=3,
            progress=False,
            ledger=tmp_path / "l.db",
            providers=given,
        )

    old = [f"row {number}" for number in range(600)]
    first, before = run(old), len(asked)
    second = run([*old, *old[:60]])
    assert second.certificate.plan.grown is not None
    assert len(asked) - before <= second.certificate.evidence["looked"] + 6
    assert {row["answered_by"] for row in second.table[600:]} == {"fake:ref", "fake:small"}
    answers = {row["text"]: set[str]() for row in second.table}
    for row in second.table:
        answers[row["text"]].add(row["answer"])
    assert all(len(each) == 1 for each in answers.values())
    changed_rows = [k for k in range(600) if first.table[k]["answer"] != second.table[k]["answer"]]
    assert changed_rows
    assert all(second.table[k]["answer"] == "yes" for k in changed_rows)
    assert found(second, tmp_path / "l.db") == []
    assert run([*old, *old[:60]]).table == second.table


def test_a_copy_that_is_left_to_the_reference_raises_the_row_it_repeats(tmp_path: Path) -> None:
    """Where delivery ends early, copies behind that place are answered by the reference, beyond the look: the rows that
    they repeat have its answer then, too."""
    bought = list[str]()

    def run(texts: list[str]) -> smart.Run[Any]:
        def reference(request: Request) -> str:
            bought.append(request.prompt.split("\n")[1])
            return "yes"

        def small(request: Request) -> str:
            return "no" if "new" in request.prompt or random.Random(request.prompt).random() < WRONG else "yes"

        providers = {
            "fake:ref": smart.FakeProvider(reference, keep=True),
            "fake:small": smart.FakeProvider(small, keep=True),
        }
        names = {"reference": "fake:ref?in=1&out=1", "candidates": ["fake:small?in=0.1&out=0.1"]}
        given: dict[str, Any] = {"agreement": 0.85, "seed": 3, "progress": False, "ledger": tmp_path / "l.db"}
        return smart.run([{"text": text} for text in texts], TASK, providers=providers, **names, **given)

    old = [f"row {number}" for number in range(600)]
    first = run(old)
    bought.clear()
    second = run([*old, *(f"new {number}" for number in range(40)), *old[:60]])
    evidence = second.certificate.evidence
    assert second.certificate.plan.grown is not None
    assert evidence["stop"] is not None or not second.certificate.granted
    behind = [text for text in bought[evidence["looked"] :] if text in old]
    assert behind
    by = {row["text"]: row["answered_by"] for row in first.table}
    assert any(by[text] == "fake:small" for text in behind)
    told = {(row["text"], row["answered_by"], row["answer"]) for row in second.table if row["text"] in behind}
    assert told == {(text, "fake:ref", "yes") for text in behind}
    assert found(second, tmp_path / "l.db") == []
