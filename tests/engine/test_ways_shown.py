"""What trying ways of answering costs is said before the run, on the certificate and in the report."""

from __future__ import annotations

import re
from math import fsum
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.mock.server import MockServer

TASK = smart.Task("Is this praise? " + "Mind the tone. " * 40 + "\n\n{text}", labels=["yes", "no"])
ROWS = [{"text": f"the {i}th remark"} for i in range(3000)]


async def test_what_trying_ways_costs_is_shown(tmp_path: Path) -> None:
    """The plan gives a limit, and what was paid is within it; certificate and report name the ways tried in vain and
    the sum of their calls."""
    async with MockServer(rule="label:yes,no", errors={"small": 0.02, "poor": 0.5}) as url:
        ways = ["", "&pack=4", "&pack=16"]
        options: dict[str, Any] = {
            "reference": f"openai:big@{url}?in=20&out=20",
            "candidates": [f"openai:{name}@{url}?in=1&out=1{way}" for name in ("small", "poor") for way in ways],
            "agreement": "0.9",
            "seed": 5,
            "ledger": tmp_path / "l.db",
        }
        plan = await smart.aplan(ROWS, TASK, **options)
        done = await smart.arun(ROWS, TASK, progress=False, report=tmp_path / "r.html", **options)
    c = done.certificate
    cost, by = c.cost["by_model"], c.delivered["by"]
    idle = [cost[name] for name, rows in by.items() if cost[name] and not rows]
    assert c.granted
    assert len(idle) > 1
    assert plan.trials is not None
    assert fsum(idle) <= plan.trials < 0.01 * plan.reference_only
    assert "trying 6 ways of answering at most $" in plan.text()
    assert f"{len(idle)} ways tried that answer no row cost ${fsum(idle):.6g}"[:40] in c.text()
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"{len(idle)} ways were tried that answer no row: $" in page
    assert "of its call" in " ".join(c.text().split()).partition("assumes")[2]  # rows of a pack are neighbours
    told = re.findall(r"not used: (.*?)</td>", page)
    assert len(told) == len(idle)
    assert all(re.search(r"(costs less|agreed more often|was expected to cost less)$", why) for why in told)


def test_models_without_ways_are_said_nothing_of() -> None:
    """Where every candidate is a model of its own, nothing is said of trials."""
    plan = smart.plan([{"text": "a"}] * 50, TASK, reference="fake:a?in=9&out=9", candidates=["fake:b?in=1&out=1"])
    assert plan.trials is None
    assert "trying" not in plan.text()


@pytest.mark.parametrize("procedure", ["reference-only", "smart/2024"])
def test_other_procedures_try_no_ways(procedure: str) -> None:
    """Only the default explores ways within a limit."""
    candidates = ["fake:b?in=1&out=1", "fake:b?in=1&out=1&head=100"]
    plan = smart.plan(
        [{"text": "a"}] * 50, TASK, reference="fake:a?in=9&out=9", candidates=candidates, procedure=procedure
    )
    assert plan.trials is None


@pytest.mark.parametrize(
    ("rows", "text", "room", "sizes", "kept", "holds"),
    [
        (50, "short", 1000, (50, 100), (50,), 7),  # room for seven answers in a reply
        (50, "word " * 1100, 16, (50, 20, 100), (50,), 8),  # eight texts fit
        (12, "short", 16, (50, 8, 100), (50, 8), 12),  # there are no more
        (50, "short", 16, (8, 20), (8, 20), None),
        (50, "short", 1000, (3, 50), (3, 50), None),
    ],
)
def test_sizes_that_come_to_the_same_are_one_way(
    rows: int, text: str, room: int, sizes: tuple[int, ...], kept: tuple[int, ...], holds: int | None
) -> None:
    """Packs that are cut to the same number of rows by what fits into a call are tried once, which a note says."""
    table = [{"text": f"{i} {text}"} for i in range(rows)]
    task = smart.Task(TASK.prompt, labels=["yes", "no"], max_tokens=room)
    small = [f"fake:b?in=1&out=1&pack={size}" for size in sizes]
    plan = smart.plan(table, task, reference="fake:a?in=9&out=9", candidates=small)
    assert [model.name for model in plan.models[1:]] == [f"fake:b?pack={size}" for size in kept]
    told = [note for note in plan.warnings if "is not tried" in note]
    assert len(told) == len(sizes) - len(kept)
    if holds is not None:
        assert f"its calls hold {holds} rows at most, as those of fake:b?pack={sizes[0]} do" in told[0]
