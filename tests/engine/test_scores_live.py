"""Per-row routing live: log-probabilities where a provider gives them, other scores where it refuses, and said so."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.mock.answers import Said, by_rule
from smart_llm.mock.server import MockServer
from smart_llm.types import Request

ROWS = [{"id": i, "text": f"review number {i}"} for i in range(1500)]
TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])


async def asked(url: str, ledger: Path, *, price: float = 1, draws: str = "") -> smart.Run:
    """The run of this file, at this address. price: of the candidate; the reference costs 10."""
    return await smart.arun(
        ROWS,
        TASK,
        reference=f"openai:big@{url}?in=10&out=10",
        candidates=[f"openai:small@{url}?in={price}&out={price}&enforce=none{draws}"],
        agreement="0.95",
        seed=3,
        ledger=ledger,
    )


async def run(folder: Path, port: int, *, refuse: bool) -> smart.Run:
    """The same run against a provider that gives log-probabilities, or refuses to."""
    async with MockServer(rule="label:yes,no", errors={"small": 0.12}, refuse_logprobs=refuse, port=port) as url:
        return await asked(url, folder / f"{refuse}.db")


async def repeated(folder: Path, port: int, draws: str) -> tuple[smart.Run, list[int]]:
    """A run without log-probabilities whose candidate says how sure it is by further draws; how many requests the
    server had got after it, and after the same command again."""
    counts = []
    server = MockServer(rule="label:yes,no", errors={"small": 0.12}, refuse_logprobs=True, port=port)
    async with server as url:
        for _ in range(2):
            done = await asked(url, folder / f"draws{draws}.db", price=0.1, draws=draws)
            counts.append(server.stats()["requests"])
    return done, counts


async def test_further_draws_stand_in_for_log_probabilities(tmp_path: Path, port: int) -> None:
    """Where a provider refuses log-probabilities, a candidate that is drawn from several times routes rows by how often
    it repeats itself, in most orders of the rows: said so, every draw paid for once and counted. (What it saves is
    measured in benchmarks.)"""
    for other in range(4):
        (folder := tmp_path / str(other)).mkdir()
        often, counts = await repeated(folder, port + other, "&draws=8")
        if any("8 further draws repeat its answer" in note for note in often.certificate.notes):
            break
    else:
        pytest.fail("it never routes by draws")
    assert not any("no log-probabilities" in note for note in often.certificate.notes)
    assert counts[0] == counts[1]
    assert {row["status"] for row in often.table} == {"ok"}
    assert smart.verify(json.loads(often.certificate.to_json()), often.ledger) == []
    small = next(name for name in often.certificate.cost["by_model"] if "draws=8" in name)
    with sqlite3.connect(often.ledger) as ledger:
        (paid,) = ledger.execute("SELECT sum(cost) FROM answers WHERE model = ?", [small]).fetchone()
    assert often.certificate.cost["by_model"][small] == pytest.approx(paid)
    assert often.certificate.plan["models"][1]["draws"] == 8


def told(request: Request) -> str:
    """Follows from the row, and from the draw."""
    assert request.labels is not None
    return request.labels[(int(request.prompt[-1]) + request.draw) % 2]


@pytest.mark.parametrize("pilot", [None, 30])
def test_a_plan_counts_every_draw(tmp_path: Path, pilot: int | None) -> None:
    """A row of a candidate that is drawn from three times more costs four calls, expected or piloted."""
    row = []
    for number, draws in enumerate(("", "&draws=3")):
        plan = smart.plan(
            ROWS,
            TASK,
            reference="fake:big?in=9&out=9",
            candidates=[f"fake:small?in=1&out=1{draws}"],
            providers={name: smart.FakeProvider(told) for name in ("fake:big", "fake:small", "fake:small?draws=3")},
            pilot=pilot,
            procedure="reference-only",  # whose forecast takes no time
            seed=3,
            ledger=tmp_path / f"{number}.db",
        )
        assert (plan.pilot is None) == (pilot is None)
        row.append(plan.models[1].cost)
    assert row[1] == pytest.approx(4 * row[0], rel=0.05)  # other rows are piloted


def test_the_reference_is_not_drawn_from() -> None:
    """The reference's first answer is its answer: draws on it are refused before anything is asked."""
    with pytest.raises(smart.InputError, match="its first answer stands; draws= is for candidates"):
        smart.run(ROWS, TASK, reference="fake:big?in=9&out=9&draws=2", candidates=["fake:small?in=1&out=1"])


async def test_log_probabilities_make_it_cheaper_and_their_refusal_is_said(tmp_path: Path, port: int) -> None:
    """With log-probabilities rows are routed by them and the run is cheaper; without, it works and says so."""
    told, refused = await run(tmp_path, port, refuse=False), await run(tmp_path, port, refuse=True)
    assert told.cost < 0.8 * refused.cost
    assert any("routed" in note and "log-probability" in note for note in told.certificate.notes)
    assert any("no log-probabilities" in note for note in refused.certificate.notes)
    for each in (told, refused):
        assert {row["status"] for row in each.table} == {"ok"}
        assert smart.verify(json.loads(each.certificate.to_json()), each.ledger) == []


async def test_listed_alternatives_and_log_odds_route_two_labels_alike(tmp_path: Path, port: int) -> None:
    """A candidate whose server lists what else it might have said is routed by the same odds as one whose server does
    not: for two labels the same rows are delivered at the same cost, and the ledger keeps what was listed."""
    whole, costs, kept = by_rule("label:yes,no", {"small": 0.12}), [], []
    for alone in (False, True):

        def answer(model: str, prompt: str, alone: bool = alone) -> Said:
            said = whole(model, prompt)
            assert isinstance(said, Said)
            return replace(said, other=None) if alone else said

        async with MockServer(answer, port=port) as url:
            done = await asked(url, tmp_path / f"{alone}.db")
        costs.append((done.cost, [row["answer"] for row in done.table]))
        with sqlite3.connect(tmp_path / f"{alone}.db") as ledger:
            kept.append(sum("listed" in str(row) for row in ledger.execute("SELECT answer FROM answers")))
    assert costs[0] == costs[1]
    assert kept[0] > 100 > kept[1] == 0
