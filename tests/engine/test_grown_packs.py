"""A table that grew, and a candidate asked about several rows in a call: calls made before are not made again."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import smart_llm as smart
from smart_llm.certificates import grown
from smart_llm.certificates.packing import Layout
from smart_llm.errors import BudgetExhausted
from smart_llm.ledger import Reader
from smart_llm.ledger.packing import PACKED
from smart_llm.types import Request

sys.path.append(str(Path(__file__).parent))
from test_packs import ITEM, TASK

PACK, AGAIN = 20, 30


def texts(rows: int, repeated: int = 0) -> list[str]:
    """One for each row; the last ones are those of the first rows."""
    return [f"the {i if i < rows - repeated else i - rows + repeated}th remark" for i in range(rows)]


def truth(text: str) -> str:
    """What the reference says."""
    return "yes" if int(text.split()[1][:-2]) % 3 else "no"


@dataclass
class Asked:
    """Both models, and what they were asked about: texts, and packs of them."""

    reference: list[str] = field(default_factory=list)
    packs: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, table: list[str], ledger: Path, **options: Any) -> smart.Run[Any]:
        """The candidate errs on one row in 33, and says of all others what the reference says."""

        def reference(request: Request) -> str:
            self.reference.append(request.prompt.rpartition("\n\n")[2])
            return truth(self.reference[-1])

        def small(request: Request) -> str:
            items = ITEM.findall(request.prompt)
            self.packs.append(tuple(text for _, text in items))
            wrong = {text: text.split()[1].endswith(("33th", "66th", "99th")) for _, text in items}
            return json.dumps({n: {"yes": "no", "no": "yes"}[truth(t)] if wrong[t] else truth(t) for n, t in items})

        providers = {"fake:ref": smart.FakeProvider(reference, keep=True)}
        providers |= {"fake:small": smart.FakeProvider(small, keep=True)}
        given: dict[str, Any] = {"agreement": 0.9, "seed": 5, "progress": False, "concurrency": 4} | options
        small_one = f"fake:small?in=1&out=1&pack={PACK}"
        return smart.run(
            [{"text": text} for text in table],
            TASK,
            reference="fake:ref?in=10&out=10",
            candidates=[small_one],
            ledger=ledger,
            providers=providers,
            **given,
        )


def test_rows_that_were_added_share_calls_with_each_other_alone(tmp_path: Path) -> None:
    """No call is about a row that was there before; a row that repeats one has the answer of the call that was about
    it. So growth costs no further calls, time and again, and the ledger bears out which rows shared one."""
    ledger, old = tmp_path / "l.db", texts(1000)
    second_table = texts(1100, AGAIN)
    third_table = [*second_table, *texts(1200)[1100:]]
    first = Asked().run(old, ledger)
    second = (asked := Asked()).run(second_table, ledger)
    third = (later := Asked()).run(third_table, ledger)
    for packs, table, before in ((asked.packs, second_table, old), (later.packs, third_table, second_table)):
        new = {*table} - {*before}
        assert 0 < len(packs) <= -(-len(new) // PACK)
        assert {text for pack in packs for text in pack} <= new
    for done, earlier in ((second, first), (third, second)):
        assert done.certificate.plan.grown is not None
        assert done.certificate.plan.grown.tables == earlier.certificate.plan.tables
        assert done.certificate.granted
        assert done.table[AGAIN : len(earlier.table)] == earlier.table[AGAIN:]
        assert smart.verify(done.certificate, ledger=ledger) == []
    assert [row["answer"] for row in second.table[-AGAIN:]] == [row["answer"] for row in second.table[:AGAIN]]


def test_a_grown_table_that_is_stopped_buys_no_call_twice(tmp_path: Path) -> None:
    """Stopped by its budget in mid-growth, it ends with the table and the calls of one that was not."""
    alone, stopped = tmp_path / "a.db", tmp_path / "s.db"
    Asked().run(texts(1000), alone)
    stopped.write_bytes(alone.read_bytes())
    whole = (asked := Asked()).run(texts(1300), alone)
    again, budget, stops = Asked(), whole.certificate.cost.paid * 0.3, 0
    while True:
        try:
            done = again.run(texts(1300), stopped, budget=budget)
            break
        except BudgetExhausted:
            budget, stops = budget * 1.3, stops + 1
    assert stops
    assert (sorted(again.packs), sorted(again.reference)) == (sorted(asked.packs), sorted(asked.reference))
    assert done.table == whole.table


def test_a_call_about_rows_of_two_tables_is_no_packing(tmp_path: Path) -> None:
    """Whatever the record says: calls of other sizes are one only where none holds rows of two tables."""
    ledger = tmp_path / "l.db"
    Asked().run(texts(1000), ledger)
    done = Asked().run(texts(1100), ledger)
    with Reader.open(ledger) as reader:
        (told,) = [event.payload for event in reader.events(done.run_id) if event.kind == PACKED]
    plan, name = done.certificate.plan, told["model"]
    assert told["counts"] == [[PACK, 55]]
    assert Layout.rebuilt(plan, name, told | {"counts": [[10, 2], [PACK, 54]]}) is not None
    assert Layout.rebuilt(plan, name, told | {"counts": [[10, 1], [PACK, 54], [10, 1]]}) is None


@pytest.mark.parametrize("tables", [(("0" * 64, 1000),), (), (("0" * 64, 10), ("0" * 64, 1000)), (("0" * 64, 1200),)])
def test_a_packing_by_other_tables_is_found_out(tmp_path: Path, tables: tuple[tuple[str, int], ...]) -> None:
    """The tables that a plan says its own has grown from are those of the run that it continues."""
    ledger = tmp_path / "l.db"
    Asked().run(texts(1000), ledger)
    certificate = Asked().run(texts(1100), ledger).certificate
    forged = changed(certificate, plan=replace(certificate.plan, grown=replace(certificate.plan.grown, tables=tables)))
    with Reader.open(ledger) as reader:
        assert grown.continued(certificate, reader, lambda _: []) == []
        assert any("does not fit: tables" in each for each in grown.continued(forged, reader, lambda _: []))
    assert smart.verify(forged, ledger=ledger)
