"""Options as newcomers write them, and words that they need not look up."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import usual

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sixty rows."""
    path = tmp_path / "t.csv"
    path.write_text("text\n" + "".join(f"row {i}\n" for i in range(60)))
    return path


@pytest.mark.parametrize("budget", ["$5", "5 USD", "usd 0.5", "5$", "US$1,200.50", "1e1 dollars"])
def test_a_budget_as_people_write_money(command: Command, table: Path, budget: str) -> None:
    """US dollars, with their sign or without; far less than the run costs stops it."""
    assert command(*usual(table, budget=budget), "--yes")[0] == 0
    tiny = re.sub(r"[\d,.e]*\d", "0.0000001", budget)
    assert command(*usual(table, budget=tiny), "--yes", "--ledger", table.with_name("l.db"))[0] == 4


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("5 EUR", "give US dollars, such as 5 or 0.50"),
        ("€5", "give US dollars"),
        ("5,50", "give US dollars"),
        ("a lot", "--budget 'a lot'"),
        ("", "A shell takes $5 for a variable"),
        ("--yes", "A shell takes $5 for a variable"),
        ("$-5", "give USD, more than 0"),
    ],
)
def test_a_budget_that_is_none(command: Command, table: Path, budget: str, words: str) -> None:
    """Another currency, a decimal comma, or a variable of the shell that nobody set."""
    code, _, said = command(*usual(table), "--budget", budget)
    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert words in said


@pytest.mark.parametrize(("option", "kind"), [("--timeout", "a number"), ("--rows", "a whole number")])
def test_a_number_that_is_none(command: Command, table: Path, option: str, kind: str) -> None:
    """It is said in a line, and with the option's name."""
    code, _, said = command(*usual(table), option, "many")
    assert (code, said.strip()) == (2, f"smart: {option}: give {kind}.")


def test_a_replay_says_what_it_reads(command: Command, table: Path) -> None:
    """Whoever gives it a table of texts learns what a recorded table is."""
    code, _, said = command("replay", table, "--reference", "big")
    assert code == 2
    assert "one line for every row and model: item_id (which row), model, answer, cost_usd" in said


def test_a_plan_says_in_words_how_answers_are_kept_to_the_labels(command: Command, table: Path) -> None:
    """No name of an option stands there without what it means; no sum is written as 1e-05."""
    at = "@http://127.0.0.1:9/v1?in=.1&out=.1"
    plans = {
        way: " ".join(command("plan", *usual(table, candidate=f"openai:m{at}{way}")[1:])[1].split())
        for way in ("", "&enforce=schema")
    }
    assert "whether its server can keep it to the answers allowed will be learned by one call" in plans[""]
    assert "told to keep it to the answers allowed, by a schema" in plans["&enforce=schema"]
    assert not re.search(r"\$\S*e-\d", plans[""])
