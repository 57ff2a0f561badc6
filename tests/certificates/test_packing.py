"""Which rows share a call is rebuilt by `verify`: packed answers that stand anywhere else do not verify."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smart_llm as smart
from smart_llm.engine import ways
from smart_llm.ledger.packing import PACKED, packing_orders
from smart_llm.mock.packs import Packs
from smart_llm.mock.server import MockServer
from smart_llm.types import Ints, Json

TASK = smart.Task("Is this praise? " + "Mind the tone. " * 40 + "\n\n{text}", labels=["yes", "no"])


async def ran(folder: Path, rows: list[str], way: str = "pack=6") -> list[str]:
    """What `verify` says of a run whose ledger is in that folder."""
    async with MockServer(rule="label:yes,no", errors={"small": 0.02}, packs=Packs(spoil=0.1)) as url:
        await smart.arun(
            [{"text": text} for text in rows],
            TASK,
            reference=f"openai:big@{url}?in=10&out=10",
            candidates=[f"openai:small@{url}?in=1&out=1&{way}"],
            agreement="0.9",
            seed=5,
            progress=False,
            ledger=folder / "ledger.db",
            output=folder / "out.csv",
        )
    return verified(folder)


def verified(folder: Path) -> list[str]:
    """What `verify` says now."""
    return smart.verify(str(folder / "out.csv.certificate.json"), ledger=folder / "ledger.db")


SHAPES = {
    "all different": [f"the {i}th remark" for i in range(400)],
    "many alike": [f"the {i // 3}th remark" for i in range(600)],
    "some too long for company": [f"the {i}th remark" + " and so on" * (1500 * (i % 50 == 7)) for i in range(300)],
    "a full call": [f"the {i}th remark" + " and so on" * (900 * (i % 9 == 7)) for i in range(300)],
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an honest run, which verifies."""
    folder = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMART_HOME", str(folder / "home"))
        assert asyncio.run(ran(folder, SHAPES["all different"])) == []
    return folder


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    """A copy of it, to be tampered with."""
    shutil.copytree(honest, tmp_path / "copy")
    assert verified(tmp_path / "copy") == []
    return tmp_path / "copy"


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_honest_run_verifies(tmp_path: Path, shape: str) -> None:
    """Whatever the rows are like: equal ones, long ones that go alone, calls that are full before they hold so many."""
    assert await ran(tmp_path, SHAPES[shape]) == []


def events(folder: Path, kind: str, change: Callable[[Json], Json]) -> None:
    """Rewrite events of that kind in the ledger."""
    with sqlite3.connect(folder / "ledger.db") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for number, payload in db.execute("SELECT id, payload FROM events WHERE kind = ?", (kind,)).fetchall():
            db.execute("UPDATE events SET payload = ? WHERE id = ?", (json.dumps(change(json.loads(payload))), number))
    db.close()


def swapped(ask: Json) -> Json:
    """Two rows told as each other's items: everything else of the record follows."""
    at = ask["models"].index(1)
    alike = [k for k, row in enumerate(ask["keys"]) if ask["marks"][k] == ask["marks"][0] and row[at]]
    j, k = alike[0], alike[-1]
    for name in ("keys", "said", "scores"):
        ask[name][j][at], ask[name][k][at] = ask[name][k][at], ask[name][j][at]
    return ask


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda told: told | {"counts": [[5, 1], *told["counts"]]}, "no packing"),
        (lambda told: told | {"counts": [[200, 2]]}, "no packing"),
        (lambda told: told | {"alone": told["alone"] + [3]}, "no packing"),
        (lambda told: told | {"alone": [9999]}, "no packing"),
        (lambda told: told | {"repeats": [[0, 0]]}, "no packing"),
        (lambda told: told | {"repeats": [[5, 70]]}, "no packing"),
        (lambda told: told | {"counts": [[4, 1], *told["counts"][:-1], [6, 1]]}, "no packing|in the call where"),
        (lambda told: told | {"model": "another"}, "was not recorded"),
    ],
)
def test_a_record_of_the_calls_that_was_changed_does_not_verify(
    folder: Path, change: Callable[[Json], Json], why: str
) -> None:
    """Other sizes, rows alone or alike that are not: no packing of the table, or not the one that was asked."""
    events(folder, PACKED, change)
    found = " ".join(verified(folder))
    assert any(each in found for each in why.split("|")), found


def test_the_answer_to_one_row_told_as_that_to_another_does_not_verify(folder: Path) -> None:
    """Two profiled rows with the same marks change places in their calls; answers, marks and seals still fit."""
    events(folder, "ask", swapped)
    assert any("where table, task and way put it" in problem for problem in verified(folder))


@pytest.mark.parametrize("how", ["by another hash", "in the table's order"])
async def test_another_packing_does_not_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """An engine that puts rows into calls in another order: its ledger is sound in every digest, and is refused."""

    def other(*told: Any) -> list[Ints]:
        (order,) = packing_orders(*told)
        return [np.roll(order, 1) if how == "by another hash" else np.arange(len(order))]

    monkeypatch.setattr(ways, "packing_orders", other)
    found = await ran(tmp_path, SHAPES["all different"])
    assert any("where table, task and way put it" in problem for problem in found)
