"""What Ray's workers share, without Ray: partitions, their accounts and manifest, routing, and who may buy what."""

from __future__ import annotations

import asyncio
import builtins
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import smart_llm as smart
from smart_llm.engine.live import Live
from smart_llm.engine.ways import Way
from smart_llm.errors import BudgetExhausted, InputError, Refused
from smart_llm.events import Stop
from smart_llm.ledger import Ledger, request_key
from smart_llm.ledger.aside import Aside
from smart_llm.ledger.store import answer_row
from smart_llm.providers.specs import resolve
from smart_llm.ray import options_of
from smart_llm.ray.cluster import cluster
from smart_llm.ray.governor import Failure, Governor
from smart_llm.ray.parts import Delivered, Finished, Orders, Part, take
from smart_llm.ray.shared import BUSY, SharedLedger
from smart_llm.ray.sources import InTable, parts_of
from smart_llm.ray.worker import Worker
from smart_llm.routing import Routing
from smart_llm.tables import open_table
from smart_llm.tables.output_folder import to_bytes
from smart_llm.types import Answer, Model, Rate, Request, Usage


def test_engine_option() -> None:
    """`local` is nobody else; an address goes with ray; what makes no sense is said."""
    assert options_of("local") is None
    assert getattr(options_of("ray:10.0.0.1:6379", 3), "address", None) == "10.0.0.1:6379"
    for engine, workers in (("spark", None), ("local", 2), ("ray", 0), ("ray:ray://head:10001", None)):
        with pytest.raises(InputError):
            options_of(engine, workers)


def test_batches_do_not_go_with_ray() -> None:
    """Who asks for the batch price is not given calls at the full one."""
    with pytest.raises(InputError, match="one of the two"):
        smart.run(
            [{"t": "x"}],
            smart.Task("{t}", labels=["a", "b"]),
            reference="fake:a?in=1&out=1",
            candidates=["fake:b?in=0.1&out=0.1"],
            batch=True,
            engine="ray",
        )


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray the message says what to install."""
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    options = options_of("ray")
    assert options is not None
    with pytest.raises(InputError, match=r"smart-llm\[ray\]"), cluster(options):
        pass


def test_blank_scores_of_parts() -> None:
    """The blank scores made for each partition are those of the whole table, rows set aside or not; rows that ask what
    another row asks have those of their group."""
    table = open_table([{"text": str(n)} for n in range(53)])
    aside = Aside(53, np.array([0, 7, 19, 20, 52]))
    parts = parts_of(table, 10)
    blank: Any = dict.fromkeys(Orders.__dataclass_fields__)
    some: Any = "some"
    repeated = np.array([3, 9, 10, 41])
    low, high = np.array([1, 2, 3, 4], np.uint64), np.array([11, 12, 13, 14], np.uint64)
    given = {"repeated": repeated, "low": low, "high": high, "chosen": np.ones(53, np.int8)}
    orders = Orders(**{**blank, "seed": 5, "aside": aside, "cascade": some, **given})
    from smart_llm.stats.sampling import uniforms

    whole = aside.spread(uniforms(5, "shares", 48))
    made: list[Routing] = [orders.routing(part) for part in parts]
    for name, own in (("low", low), ("high", high)):
        expected = whole.copy()
        expected[repeated] = own
        np.testing.assert_array_equal(np.concatenate([getattr(each, name) for each in made]), expected)


def test_parts_cover_the_table() -> None:
    """Partitions are consecutive, whole and in order."""
    parts = parts_of(open_table([{"text": str(n)} for n in range(53)]), 10)
    assert [(part.first, part.rows) for part in parts] == [(0, 10), (10, 10), (20, 10), (30, 10), (40, 10), (50, 3)]


def test_finished_survives_a_torn_line(tmp_path: Path) -> None:
    """A line a crash cut off counts for nothing and harms no later one; another geometry empties the folder."""
    part = Part(3, 30, 10, None)  # type: ignore[arg-type]
    account = to_bytes(pl.DataFrame({"by": [0] * 10}))
    finished = Finished(tmp_path / "run", {"a": 1})
    finished.add(part, Delivered(3, account, "b2:0"))
    with (tmp_path / "run" / "manifest.jsonl").open("ab") as file:
        file.write(b'{"part": 4, "fir')
    again = Finished(tmp_path / "run", {"a": 1})
    assert [entry["part"] for entry in again.entries()] == [3]
    again.add(Part(5, 50, 10, None), Delivered(5, account, "b2:1"))  # type: ignore[arg-type]
    assert [entry["part"] for entry in again.entries()] == [3, 5]
    assert len(again.account(5)) == 10
    assert Finished(tmp_path / "run", {"a": 2}).entries() == []


def test_one_buyer_per_request(tmp_path: Path) -> None:
    """Of two workers one may buy; the other gets its answer, and, should the first one die, the right to buy."""

    async def both() -> None:
        with Ledger.open(tmp_path / "l.db") as ledger:
            shared = SharedLedger(ledger)
            shared.hello("part-0", "one")
            request = Request("m", "p", 5)
            key = request_key(request)
            assert shared.look("one", [key]) == [None]
            assert shared.look("two", [key]) == [BUSY]
            waiting = asyncio.ensure_future(shared.wait("two", key))
            await asyncio.sleep(0)
            shared.hello("part-0", "one, again")
            assert await waiting is None
            row = answer_row(key, request, Answer("yes", Usage(1, 1), 0.5))
            await shared.write("two", [("put", row, "run", None)])
            [found] = shared.look("one, again", [key])
            assert found
            assert "yes" in found

    asyncio.run(both())


def test_leased_money_never_exceeds_the_budget() -> None:
    """What two workers reserve together stays within the budget; money a dead one held counts as spent."""

    async def both() -> None:
        governor = Governor([Model("m", "fake", "m", Rate(1.0, 1.0))], concurrency=3, budget=1.0, spent=0.0)
        governor.hello("part-0", "one")
        await governor.say("one", [("reserve", 1, 0.6)])
        assert (await governor.hear("one")) == [(1, None)]
        governor.hello("part-0", "one, again")
        await governor.say("two", [("reserve", 1, 0.6)])
        [(number, outcome)] = await governor.hear("two")
        assert number == 1
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error(), BudgetExhausted)

    asyncio.run(both())


def test_leased_turns_are_bounded() -> None:
    """No more calls are let through than there may be in flight, whoever asks; a dead worker's turns are free again."""

    async def both() -> None:
        governor = Governor([Model("m", "fake", "m", Rate(1.0, 1.0))], concurrency=3, budget=None, spent=0.0)
        governor.hello("part-0", "one")
        granted = await governor.say("one", [("enter", n, "m", 1.0) for n in range(5)])
        most = len(granted)
        assert 1 <= most <= 3
        waiting = asyncio.ensure_future(governor.say("two", [("enter", 9, "m", 1.0)]))
        assert await waiting == []
        governor.hello("part-0", "one, again")
        assert [number for number, _ in await governor.hear("two")] == [9]

    asyncio.run(both())


def test_a_task_travels() -> None:
    """A task is the same in another process, and still cannot be changed."""
    cloudpickle = pytest.importorskip("ray.cloudpickle", reason="Ray is not installed: pip install 'smart-llm[ray]'")
    task = smart.Task("Which? {text}", labels=["a", "b"])
    other = cloudpickle.loads(cloudpickle.dumps(task))
    assert other == task
    assert other.parse("a") == task.parse("a")
    with pytest.raises(AttributeError):
        other.prompt = "else"


def test_a_foreign_fault_is_told() -> None:
    """An exception that is not ours reaches the driver as an error of ours that says what was raised, and where."""
    try:
        raise ZeroDivisionError("mine")
    except ZeroDivisionError as error:
        told = Failure.of(error).error()
    assert "ZeroDivisionError: mine" in str(told)
    assert Path(__file__).name in str(told)


class Desk:
    """The shared state in this process, as workers reach it on Ray."""

    def __init__(self, ledger: Ledger, models: list[Model]) -> None:
        self.ledger = SharedLedger(ledger)
        self.governor = Governor(models, concurrency=8, budget=None, spent=0.0)

    async def hello(self, worker: str, life: str) -> None:
        """An owner begins."""
        self.ledger.hello(worker, life)
        self.governor.hello(worker, life)

    async def bye(self, owner: str) -> None:
        """An owner has ended."""
        self.ledger.bury(owner)
        self.governor.bury(owner)

    async def look(self, owner: str, keys: Any) -> Any:
        """See `SharedLedger`."""
        return self.ledger.look(owner, keys)

    async def drop(self, owner: str, keys: Any) -> None:
        """See `SharedLedger`."""
        self.ledger.drop(owner, keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger if name in ("wait", "write") else self.governor, name)


def told_to(table: Any, models: list[Model], given: Any, **more: Any) -> Orders:
    """Orders to deliver every row by the first candidate, in partitions of 20 rows."""
    empty: Any = {"known": {}, "covered": {}, "before": 0, "patience": 5.0, "elsewhere": False, "repeated": ()}
    empty |= {"layouts": {}, "settled": {}, "failed": {}, "columns": ("text",), "run_id": "run", "limited": False}
    empty |= {"concurrency": 4, "timeout": 5.0, "store_text": True, "providers": given, "models": tuple(models)}
    empty |= {"task": smart.Task("{text}", labels=["a", "b"]), "chosen": np.ones(table.rows, np.int8)}
    empty |= {"aside": Aside(table.rows, np.empty(0, np.int64)), "parts": parts_of(table, 20), **more}
    return Orders(**{name: empty.get(name) for name in Orders.__dataclass_fields__})


async def test_rows_of_different_partitions_share_calls(tmp_path: Path) -> None:
    """Workers that settle partitions at the same time make each call for several rows once, whatever partitions these
    lie in; the driver's books have what every call has cost, exactly."""
    table = open_table([{"text": f"row {n % 90}"} for n in range(120)])
    big, small = resolve("fake:big?in=1&out=1"), resolve("fake:small?in=1&out=1&pack=8")
    calls: list[str] = []

    def packed(request: Request) -> str:
        calls.append(request.prompt)
        count = request.prompt.count("</item ")
        return (
            "No."
            if count == 8 and len(calls) % 3 == 0
            else json.dumps(dict.fromkeys(map(str, range(1, count + 1)), "a"))
        )

    given = {big.name: smart.FakeProvider(lambda _: "b"), small.name: smart.FakeProvider(packed)}
    way = Way(table, smart.Task("{text}", labels=["a", "b"]), small)
    orders = told_to(table, [big, small], given, layouts={1: way.layout}, texts=InTable(table, 0, table.rows))
    with Ledger.open(tmp_path / "l.db") as ledger:
        live = Live(table, orders.task, orders.models, given[big.name], stop=Stop())  # type: ignore[arg-type]
        desk = Desk(ledger, [big, small])
        workers = [Worker(orders, desk), Worker(orders, desk)]
        settling = [workers[part.number % 2].settle(part.number) for part in orders.parts]
        for part, delivered in zip(orders.parts, await asyncio.gather(*settling), strict=True):
            assert delivered.stopped is None, delivered.stopped
            take(live, part.first, pl.read_parquet(delivered.account))
        spent, calls_made = ledger.spent(orders.run_id), ledger.count()
    assert live.rows.by.tolist() == [1] * 120
    assert len(calls) == len(set(calls)) == calls_made > 12
    assert live.account.total() == pytest.approx(spent, abs=1e-15)
    assert math.fsum(live.account.costs[1, :90]) == pytest.approx(spent, abs=1e-15)


async def test_rows_of_different_partitions_that_a_way_asks_alike_are_paid_for_once(tmp_path: Path) -> None:
    """A way that shows the beginning of a text asks the same about rows that the task tells apart: the driver's books
    have what the ledger has."""
    table = open_table([{"text": f"row {n % 15:03} and {n:03} more"} for n in range(60)])
    big, small = resolve("fake:big?in=1&out=1"), resolve("fake:small?in=1&out=1&head=8")
    given = {big.name: smart.FakeProvider(lambda _: "b"), small.name: smart.FakeProvider(lambda _: "a")}
    orders = told_to(table, [big, small], given)
    with Ledger.open(tmp_path / "l.db") as ledger:
        live = Live(table, orders.task, orders.models, given[big.name], stop=Stop())  # type: ignore[arg-type]
        for part in orders.parts:
            delivered = await Worker(orders, Desk(ledger, [big, small])).settle(part.number)
            take(live, part.first, pl.read_parquet(delivered.account))
        spent, calls_made = ledger.spent(orders.run_id), ledger.count()
    assert calls_made == 15
    assert live.account.total() == pytest.approx(spent, abs=1e-15)


async def test_what_failed_travels_to_workers_and_back(tmp_path: Path) -> None:
    """A worker asks for nothing that is known to have failed, and tells what failed there; the driver's books have it,
    so that a finished run that is run again on Ray changes nothing but rows without an answer."""
    table = open_table([{"text": f"row {n}"} for n in range(40)])
    models = [Model(f"fake:{name}", "fake", name, Rate(1.0, 1.0)) for name in ("big", "small")]
    calls: list[str] = []

    def small(request: Request) -> str | Exception:
        calls.append(request.prompt)
        return Refused("not now", row_only=True) if request.prompt.endswith("3") else "a"

    given = {"fake:big": smart.FakeProvider(lambda _: "b"), "fake:small": smart.FakeProvider(small)}
    orders = told_to(table, models, given)
    with Ledger.open(tmp_path / "l.db") as ledger:
        found = list[tuple[list[int], dict[str, str]]]()
        for _ in range(2):
            live = Live(table, orders.task, orders.models, given["fake:big"], stop=Stop())  # type: ignore[arg-type]
            worker = Worker(orders, Desk(ledger, models))
            for part in orders.parts:
                delivered = await worker.settle(part.number)
                assert delivered.stopped is None, delivered.stopped
                take(live, part.first, pl.read_parquet(delivered.account))
            found.append((live.rows.by.tolist(), dict(live.client.failed)))
            orders = replace(orders, failed=found[0][1])
    assert found[0][0] == [0 if n % 10 == 3 else 1 for n in range(40)]
    assert len(found[0][1]) == 4
    assert found[1] == (found[0][0], {})
    assert len(calls) == 40
