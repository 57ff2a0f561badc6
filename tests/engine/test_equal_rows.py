"""Equal requests, one answer: rows that ask the same are delivered alike, by the reference wherever it was asked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chance import answering, draw

import smart_llm as smart
from smart_llm.client.batch.options import BatchOptions
from smart_llm.errors import Retryable
from smart_llm.mock.server import MockServer
from smart_llm.types import Answer, Request, Usage

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
BIG, SMALL = "fake:big?in=10&out=10", "fake:small?in=1&out=1"


def repeated(distinct: int, copies: int) -> list[dict[str, str]]:
    """Each text in several rows, far from one another."""
    return [{"text": f"row {i % distinct}"} for i in range(distinct * copies)]


class Watched(smart.FakeProvider):
    """Keeps the prompts it gave a whole answer to."""

    def __init__(self, answer: Callable[[Request], Any], latency: float = 0.0) -> None:
        super().__init__(answer, latency=latency)
        self.answered: set[str] = set()

    async def complete(self, request: Request) -> Answer:
        """As ever."""
        answer = await super().complete(request)
        self.answered.add(request.prompt)
        return answer


def sure(error: float, levels: int) -> Callable[[Request], Answer]:
    """A model that strays on this share of the prompts and says how sure it is in so few levels that many rows tie."""
    plain = answering(error, "small")

    def answer(request: Request) -> Answer:
        level = int(draw(request.prompt, "sure") * levels) - levels
        return Answer(plain(request), Usage(20, 1), logprobs=(("x", float(level)),))

    return answer


def run(path: Path, rows: Any, small: Any = None, big: Any = None, **options: Any) -> smart.Run:
    """A run of two models."""
    given = {
        "fake:big": big or Watched(answering(0.0)),
        "fake:small": small or smart.FakeProvider(answering(0.04, "small")),
    }
    asked = {"reference": BIG, "candidates": [SMALL], "agreement": 0.9, "seed": 7, "providers": given}
    return smart.run(rows, options.pop("task", TASK), ledger=path / "ledger.db", **{**asked, **options})


def alike(table: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """What each text was delivered; fails where equal rows were not delivered alike."""
    delivered = defaultdict[str, set[tuple[Any, ...]]](set)
    for row in table:
        delivered[row["text"]].add((row["answer"], row["answered_by"], row["status"]))
    assert {text: given for text, given in delivered.items() if len(given) > 1} == {}
    return {text: next(iter(given)) for text, given in delivered.items()}


@pytest.mark.parametrize("procedure", ["ladder", "smart/2024"])
def test_a_mix_delivers_equal_rows_alike(tmp_path: Path, procedure: str) -> None:
    """Shares are drawn row by row, yet equal rows get one answer: the reference's, wherever it was asked."""
    big = Watched(answering(0.0))
    done = run(tmp_path, repeated(500, 3), big=big, procedure=procedure)
    given = alike(done.table)
    assert done.certificate.granted
    assert {answered_by for _, answered_by, _ in given.values()} == {"fake:big", "fake:small"}
    for text, (_, answered_by, _) in given.items():
        assert (answered_by == "fake:big") == (f"Yes or no?\n{text}" in big.answered)
    assert smart.verify(done.certificate, done.ledger) == []


@pytest.mark.parametrize("options", [{}, {"per_label": 0.85}], ids=["ladder", "per-label"])
def test_a_cascade_delivers_equal_rows_alike(tmp_path: Path, options: dict[str, Any]) -> None:
    """Where the score of the stopping row is that of many rows, the blank score decides; equal rows get one answer."""
    for levels in (1, 2, 3, 5):
        big = Watched(answering(0.0))
        small = smart.FakeProvider(sure(0.04, levels))
        done = run(tmp_path / str(levels), repeated(700, 3), big=big, small=small, **options)
        given = alike(done.table)
        for text, (_, answered_by, _) in given.items():
            assert (answered_by == "fake:big") == (f"Yes or no?\n{text}" in big.answered)
        assert smart.verify(done.certificate, done.ledger) == []


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for name in ("1", "2", "3", "5", "again", "64", "7"):
        (tmp_path / name).mkdir()


def test_rows_of_other_cells_that_ask_the_same_are_equal(tmp_path: Path) -> None:
    """Equal is the request, not the cells: two columns that make the same prompt share one answer."""
    rows = [{"a": f"{i}"[:cut], "b": f"{i}"[cut:]} for i in range(1000, 1600) for cut in (1, 2, 3)]
    task = smart.Task("Yes or no?\n{a}{b}", labels=["yes", "no"])
    big = Watched(answering(0.0))
    done = run(tmp_path, rows, task=task, big=big)
    assert done.certificate.granted
    alike([{**row, "text": row["a"] + row["b"]} for row in done.table])
    assert done.certificate.delivered["by"]["fake:big"] == 3 * len(big.answered)


def flaky(failing: Callable[[str], bool], plain: Callable[[Request], str]) -> Callable[[Request], str | Exception]:
    """A model whose first call about some prompts fails for good; the next one is answered."""
    failed = set[str]()

    def answer(request: Request) -> str | Exception:
        if failing(request.prompt) and request.prompt not in failed:
            failed.add(request.prompt)
            return smart.Refused("not now", row_only=True)
        return plain(request)

    return answer


@pytest.mark.parametrize("concurrency", [1, 7, 64])
@pytest.mark.parametrize("failing", ["fake:big", "fake:small"])
def test_an_answer_to_one_of_equal_rows_is_the_answer_to_all(tmp_path: Path, failing: str, concurrency: int) -> None:
    """A call about one row failed, one about its equal was answered: the answer that stands goes to both, whatever the
    order, while profiling and while delivering; and the same command again changes nothing."""
    share = 0.5

    def some(prompt: str) -> bool:
        return draw(prompt, "flaky") < share

    big = flaky(some, answering(0.0)) if failing == "fake:big" else answering(0.0)
    small = flaky(some, answering(0.04, "small")) if failing == "fake:small" else answering(0.04, "small")
    models = {"big": Watched(big, latency=0.0005), "small": smart.FakeProvider(small)}
    done = run(tmp_path, repeated(200, 4), **models, concurrency=concurrency)
    given = alike(done.table)
    for text, (answer, answered_by, _) in given.items():
        if f"Yes or no?\n{text}" in models["big"].answered:
            assert (answer, answered_by) == (answering(0.0)(Request("", f"Yes or no?\n{text}", 1)), "fake:big")
    assert [row for row in done.table if row["status"] != "ok"] == [] or failing == "fake:big"


def test_an_error_of_one_of_equal_rows_is_the_error_of_all(tmp_path: Path) -> None:
    """Rows whose request the reference finally fails on are errors together, with one text, and counted each."""

    def big(request: Request) -> str | Exception:
        if request.prompt.endswith((" 3", " 5")):
            return smart.Refused(f"no {Watched.__name__} {len(request.prompt)}", row_only=True)
        return answering(0.0)(request)

    done = run(tmp_path, repeated(40, 5), big=Watched(big), procedure="reference-only", candidates=[])
    given = alike(done.table)
    assert sorted(text for text, (_, _, status) in given.items() if status != "ok") == ["row 3", "row 5"]
    assert done.certificate.errors["rows"] == 10


def test_a_candidate_that_fails_once_is_not_asked_for_the_equal_row(tmp_path: Path) -> None:
    """While delivering, rows that ask the same are settled together: one failed call sends all of them to the
    reference, which is asked once."""
    counts = defaultdict[tuple[str, str], int](int)

    def counted(name: str, plain: Callable[[Request], Any]) -> Callable[[Request], Any]:
        def answer(request: Request) -> Any:
            counts[name, request.prompt] += 1
            return plain(request)

        return answer

    def small(request: Request) -> Any:
        if draw(request.prompt, "down") < 0.1:
            return smart.Refused("too long", row_only=True)
        return answering(0.02, "small")(request)

    big = Watched(counted("big", answering(0.0)))
    done = run(tmp_path, repeated(600, 3), big=big, small=smart.FakeProvider(counted("small", small)))
    alike(done.table)
    assert max(count for (name, _), count in counts.items() if name == "big") == 1


def test_what_the_reference_answered_before_is_delivered(tmp_path: Path) -> None:
    """The reference's answers in the ledger, bought by whatever run, are delivered: they cost nothing and agree."""
    rows = repeated(400, 2)
    run(tmp_path, rows[:200], procedure="reference-only", candidates=[])
    big = Watched(answering(0.0))
    done = run(tmp_path, rows, big=big)
    given = alike(done.table)
    assert done.certificate.granted
    assert {given[f"row {i}"][1] for i in range(200)} == {"fake:big"}
    assert "fake:small" in {given[f"row {i}"][1] for i in range(200, 400)}


def test_stopped_and_taken_up_again_equal_rows_are_alike(tmp_path: Path) -> None:
    """However often the money runs out on the way, the table is that of the undisturbed run."""
    rows = repeated(300, 3)
    whole = run(tmp_path, rows, small=smart.FakeProvider(sure(0.05, 2)))
    budget = 0.1 * whole.cost
    while True:
        try:
            done = run(tmp_path / "again", rows, small=smart.FakeProvider(sure(0.05, 2)), budget=budget)
            break
        except smart.BudgetExhausted:
            budget += 0.17 * whole.cost
    alike(done.table)
    assert done.table == whole.table
    assert json.loads(done.certificate.to_json())["delivered"] == json.loads(whole.certificate.to_json())["delivered"]


async def test_equal_rows_in_flight_together(tmp_path: Path) -> None:
    """Over real sockets, with faults and many calls at once: equal rows are alike, by batch as well."""
    server = MockServer(rule="label:yes,no", errors={"small": 0.1}, jitter=0.02)
    async with server as url:
        for batch in (False, BatchOptions(poll=0.02, quiet=0.02, patient=0.05)):
            done = await smart.arun(
                repeated(400, 3),
                TASK,
                reference=f"openai:big@{url}?in=10&out=10",
                candidates=[f"openai:small@{url}?in=1&out=1"],
                agreement=0.9,
                seed=3,
                ledger=tmp_path / f"{bool(batch)}.db",
                concurrency=200,
                batch=batch,
            )
            alike(done.table)
            assert smart.verify(done.certificate, done.ledger) == []


def test_a_failing_reference_is_retried_for_the_equal_row(tmp_path: Path) -> None:
    """A row lost while profiling gets the answer its equal gets later; what was evidence stays what it was."""

    def big(failures: dict[str, int]) -> Callable[[Request], str | Exception]:
        def answer(request: Request) -> str | Exception:
            failures[request.prompt] = failures.get(request.prompt, 0) + 1
            late = draw(request.prompt, "late") < 0.03 and failures[request.prompt] == 1
            return Retryable("down") if late else answering(0.0)(request)

        return answer

    done = run(tmp_path, repeated(300, 4), big=Watched(big({})))
    alike(done.table)
    assert {row["status"] for row in done.table} == {"ok"}
