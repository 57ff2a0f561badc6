"""Rows without an answer: what the pilot's have used of the reserve is gone when others are lost while delivering."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chance import draw

import smart_llm as smart
from smart_llm.ledger import Reader
from smart_llm.types import Answer, Request, Usage

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
ROWS = [{"text": f"row {i}"} for i in range(2000)]
RESERVE = 2


def sure(request: Request) -> Answer:
    """Wrong on 15 %, and hardly ever where it says that it is sure."""
    doubt = draw(request.prompt, "doubt")
    strays = draw(request.prompt, "stray") < 0.3 * doubt
    said = "yes" if (draw(request.prompt, "truth") < 0.5) != strays else "no"
    return Answer(said, Usage(20, 1), logprobs=(("x", -doubt),))


def run(path: Path, lost: Collection[int] = ()) -> smart.Run:
    """A run whose reference has no answer to these rows."""
    prompts = {f"Yes or no?\nrow {row}" for row in lost}

    def big(request: Request) -> Any:
        if request.prompt in prompts:
            return smart.Refused("not this one", row_only=True)
        return Answer("yes" if draw(request.prompt, "truth") < 0.5 else "no", Usage(20, 1))

    path.mkdir()
    return smart.run(
        ROWS,
        TASK,
        reference="fake:big?in=10&out=10",
        candidates=["fake:small?in=0.1&out=0.1", "fake:tiny?in=0.05&out=0.05"],
        agreement=0.9,
        seed=2,
        ledger=path / "l.db",
        providers={
            "fake:big": smart.FakeProvider(big),
            "fake:small": smart.FakeProvider(sure),
            "fake:tiny": smart.FakeProvider(lambda request: "yes"),
        },
    )


def asked(done: smart.Run) -> list[list[int]]:
    """The rows of each ask, in order."""
    with Reader.open(done.ledger) as reader:
        return [event.payload["positions"] for event in reader.events(done.run_id) if event.kind == "ask"]


def deferred(done: smart.Run) -> list[int]:
    """The rows that the reference answered because the rule did not give them to a candidate."""
    profiled = {row for rows in asked(done) for row in rows}
    return [i for i, row in enumerate(done.table) if row["answered_by"] == "fake:big" and i not in profiled]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> smart.Run:
    """The run in which every row has an answer."""
    return run(tmp_path_factory.mktemp("calm") / "calm")


def test_what_the_pilot_has_used_of_the_reserve_is_gone(calm: smart.Run, tmp_path: Path) -> None:
    """Two rows of the pilot without an answer use the reserve up: one more, lost while delivering, and nothing is
    claimed any more. A certificate that claims it all the same is refused."""
    assert calm.certificate.claim["reserve"] == RESERVE
    pilot = asked(calm)[0][:RESERVE]
    used = run(tmp_path / "used", pilot)
    assert used.certificate.status == "certified"
    assert used.certificate.evidence["reserve"] == 0
    assert used.certificate.errors["rows"] == used.certificate.errors["while_profiling"] == RESERVE
    late = deferred(used)[:1]
    done = run(tmp_path / "late", [*pilot, *late])
    assert done.certificate.evidence == used.certificate.evidence
    assert done.certificate.errors["rows"] == RESERVE + 1
    assert done.certificate.status == "not-certified"
    assert smart.verify(done.certificate, done.ledger) == []
    told = replace(done.certificate, status="certified", granted=True)
    claim = {**told.claim, "words": used.certificate.claim["words"].replace("2 rows have", "3 rows have")}
    forged = json.loads(replace(told, claim=claim).to_json())
    assert any("than the evidence covers" in problem for problem in smart.verify(forged))


def test_what_is_left_of_the_reserve_covers_late_errors(calm: smart.Run, tmp_path: Path) -> None:
    """Without errors in the pilot the whole reserve is there."""
    for lost, status in ((RESERVE, "certified"), (RESERVE + 1, "not-certified")):
        done = run(tmp_path / str(lost), deferred(calm)[:lost])
        assert done.certificate.errors["rows"] == lost
        assert done.certificate.status == status
        assert smart.verify(done.certificate, done.ledger) == []
