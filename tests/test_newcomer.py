"""What somebody meets in the first hour on the command line: what is not done is said, and no sentence needs a page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import numbered, usual

import smart_llm as smart
from smart_llm.mock.server import MockServer

Command = Callable[..., tuple[int, str, str]]
TASK = smart.Task("Good? {text}", labels=["yes", "no"])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small table."""
    return numbered(tmp_path, 60)


@pytest.mark.parametrize(("budget", "more"), [("0.00001", []), ("0.00001", ["--yes"]), ("50", []), (None, [])])
def test_a_hopeless_budget_is_said_where_nobody_is_asked(
    command: Command, table: Path, budget: str | None, more: list[str]
) -> None:
    """Without a terminal, and with --yes, the run says before it begins what the plan says of its budget."""
    _, _, said = command(*usual(table, budget=budget), *more)
    assert ("The budget of $1e-05 is less than the expected cost" in said) == (budget == "0.00001")
    assert "The budget of $50" not in said


@pytest.mark.parametrize(("text", "added"), [("short", False), ("word " * 2000, True)])
def test_auto_that_adds_no_way_says_so(tmp_path: Path, text: str, added: bool) -> None:
    """Plan and run say it; where a way is added, neither does."""
    rows = [{"text": f"{text} {i}"} for i in range(30)]
    said: list[str] = []
    given = {"reference": "fake:big?in=10&out=10", "candidates": ["fake:small?in=1&out=1"], "ways": "auto"}
    plan = smart.plan(rows, TASK, **given, ledger=tmp_path / "a.db")  # type: ignore[arg-type]
    smart.run(
        rows, TASK, **given, ledger=tmp_path / "b.db",  # type: ignore[arg-type]
        on_event=lambda event: said.append(event.text) if isinstance(event, smart.Said) else None,
    )  # fmt: skip
    for told in (plan.text(), " ".join(said)):
        assert ("adds no way of asking here" in re.sub(r"\s+", " ", told)) == (not added)


def test_the_help_of_yes_says_when_nobody_is_asked(command: Command) -> None:
    """A run in a script asks nobody, with or without --yes."""
    _, shown, _ = command("run", "--help")
    assert "Without a terminal, nobody is asked anyway." in re.sub(r"\s+", " ", shown)


def test_the_rule_says_that_equal_rows_are_answered_alike(tmp_path: Path) -> None:
    """The page's sentence on the rule explains why the reference answered more rows than were profiled."""
    rows = [{"text": f"row {i % 350}"} for i in range(400)]
    smart.run(
        rows, TASK, reference="fake:big?in=1000&out=1000", candidates=["fake:small?in=1&out=1"], agreement=0.8, seed=3,
        providers={name: smart.FakeProvider(lambda _: "yes") for name in ("fake:big", "fake:small")}, progress=False,
        ledger=tmp_path / "ledger.db", report=tmp_path / "r.html",
    )  # fmt: skip
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Rows that ask the same get the same answer" in page
    assert "wherever it has a score" not in page


async def test_rows_without_an_answer_are_told_with_what_to_do(command: Command, table: Path) -> None:
    """A misspelt label leaves some rows without an answer: the last lines say so, and where to look."""
    async with MockServer(rule="label:yes,no", port=0) as url:
        models = {"reference": f"openai:big@{url}?in=10&out=10", "candidate": f"openai:small@{url}?in=1&out=1"}
        _, printed, _ = await asyncio.to_thread(command, *usual(table, labels="yes,noo", **models))
        _, clean, _ = await asyncio.to_thread(command, *usual(table, **models))
    assert re.search(r"without an answer: \d+ rows; the column of statuses says why", printed)
    assert "do the labels, or the kind of answer, fit the prompt? --retry broken" in printed
    assert "without an answer" not in clean
