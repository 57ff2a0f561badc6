"""The command line in somebody's first ten minutes: help, versions, questions, near misses, lines that fit."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import on_a_terminal, usual

from smart_llm import cli
from smart_llm.cli.helping import EXAMPLES

Command = Callable[..., tuple[int, str, str]]


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        yield from [((name, verb), each) for verb, each in below.items()] if below else [((name,), command)]


def test_the_version_can_be_asked_for(command: Command) -> None:
    """`smart --version`, `python -m smart_llm --version` and `smart_llm.__version__` say the same."""
    import smart_llm

    code, printed, _ = command("--version")
    told = subprocess.run([sys.executable, "-m", "smart_llm", "--version"], capture_output=True, text=True, check=True)
    assert (code, printed) == (0, f"smart {smart_llm.__version__}\n")
    assert told.stdout == printed


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_help_is_in_groups_with_an_example(command: Command, words: tuple[str, ...]) -> None:
    """`-h` works everywhere, fits 80 columns, has an example that the command itself can read, and no `--no-no-`."""
    code, printed, _ = command(*words, "-h")
    assert code == 0
    help_, _, example = printed.partition("Example:\n")
    assert max(map(len, help_.splitlines())) <= 80
    assert "--no-no-" not in printed
    assert not re.search(r"<(int|str|float|path|list)", printed)
    typed = shlex.split(example.replace("\\\n", " "))
    assert typed[: len(words) + 1] == ["smart", *words]
    found = dict(commands())[words]
    found.make_context(words[-1], typed[len(words) + 1 :])  # raises where an option is not one of its own


def test_long_help_has_headings(command: Command) -> None:
    """What belongs together stands together, and every option stands once."""
    _, printed, _ = command("run", "--help")
    for heading in ("The question:", "The models:", "The promise:", "Money and time:"):
        assert f"\n{heading}\n" in printed
    options = re.findall(r"^  (--[\w-]+)", printed, re.MULTILINE)
    assert len(options) == len(set(options))
    for value in ("label", "text", "number", "json-exact", "exact"):
        assert value in printed.partition("--equivalence")[2].partition("--tolerance")[0]


def test_every_verb_has_an_example() -> None:
    """And no example belongs to a verb that is gone."""
    assert {words[-1] for words, _ in commands()} == set(EXAMPLES)


def test_no_at_the_question_is_exit_130(tmp_path: Path) -> None:
    """Whoever says no is told in a sentence that nothing was spent."""
    source = tmp_path / "t.csv"
    source.write_text("text\na\nb\n", encoding="utf-8")
    for typed in (b"n\n", b"\x03"):
        code, shown = on_a_terminal([sys.executable, "-m", "smart_llm", *map(str, usual(source))], typed)
        assert code == 130
        assert "nothing was spent" in shown
        assert "Aborted" not in shown


def test_a_pilot_asks_before_it_spends(tmp_path: Path) -> None:
    """`plan --pilot` on a terminal names the price first; "n" buys nothing, `--yes` is not asked."""
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(50)), encoding="utf-8")
    command = [sys.executable, "-m", "smart_llm", "plan", *map(str, usual(source)[1:]), "--pilot", "20"]
    code, shown = on_a_terminal(command, b"n\n", question=b"for about $")
    assert code == 130
    assert "Ask 2 models about 20 rows" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    code, shown = on_a_terminal([*command, "--yes"], b"")
    assert code == 0, shown
    assert "20 rows asked of every model" in shown


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"agreement": "95"}, ["0.95"]),
        ({"confidence": "99.5"}, ["0.995"]),
        ({"prompt": "Good? {txt}"}, ["Did you mean text?"]),
        ({"candidate": "openai:gpt-4.1-mni"}, ["Did you mean gpt-4.1-mini?"]),
        ({"candidate": "opnai:gpt-4.1"}, ["Did you mean openai?"]),
        ({"candidate": "local:smollm2-135"}, ["Did you mean smollm2-135m?"]),
    ],
)
def test_a_near_miss_gets_the_nearest(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], words: list[str]
) -> None:
    """What is spelt almost right is answered with what was probably meant."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    source = tmp_path / "t.csv"
    source.write_text("text\na\n", encoding="utf-8")
    code, _, said = command(*usual(source, **changed))
    assert code == 2
    for word in words:
        assert word in said


def test_what_is_printed_wraps_at_words(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificate, plan and list of runs keep to the columns there are; what follows hangs under where it began."""
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(50)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for columns in (60, 80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        for words in (usual("t.csv"), ["plan", *usual("t.csv")[1:]], ["runs"]):
            code, printed, _ = command(*words)
            assert code == 0
            longest = [
                line
                for line in printed.splitlines()
                if not line.startswith(("written", "certificate", "ledger", "report"))
            ]
            assert max(map(len, longest)) <= columns
    claim = command(*usual("t.csv"))[1].partition("  assumes    ")[2].splitlines()
    assert claim[1].startswith(" " * 13 + claim[1].strip()[0])


def test_runs_show_question_models_and_cost(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run can be told from the others by what was asked, of whom, and for how much."""
    source = tmp_path / "t.csv"
    source.write_text("text\na\nb\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command(*usual(source))
    _, printed, _ = command("runs")
    for piece in ("Good? {text}", "fake:big", "fake:small", "t.csv", "$"):
        assert piece in printed


def test_a_share_below_one_never_prints_as_one(command: Command, tmp_path: Path) -> None:
    """Neither in a replay's figures nor in the words of a certificate."""
    lines = ["item_id,model,answer,cost_usd"]
    for i in range(100):
        lines += [f"{i},big,{i % 2},1.0", f"{i},small,{i % 2},0.1"]
    path = tmp_path / "recorded.csv"
    path.write_text("\n".join(lines))
    _, printed, _ = command("replay", path, "--reference", "big", "--agreement", ".9999999999999")
    assert "agreement              0.9999999999999\n" in printed
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(900)), encoding="utf-8")
    _, printed, _ = command(*usual(source, confidence="0.99999999"), "--json")
    words = json.loads(printed)["certificate"]["claim"]["words"]
    assert "100 %" not in words


def test_a_replay_makes_no_promise_per_label(command: Command, tmp_path: Path) -> None:
    """It says so in a line; no traceback."""
    path = tmp_path / "recorded.csv"
    path.write_text("item_id,model,answer,cost_usd\n1,big,a,1\n1,small,a,0.1\n")
    code, _, said = command("replay", path, "--reference", "big", "--procedure", "per-label")
    assert code == 2
    assert "--procedure per-label" in said


def test_a_message_wraps_on_a_terminal_only(command: Command, tmp_path: Path) -> None:
    """On a terminal no word is broken; in a log a message stays a line that can be searched."""
    source = tmp_path / "t.csv"
    source.write_text("text\na\n", encoding="utf-8")
    words = [*map(str, usual(source, candidate="nobody:x?in=1&out=1"))]
    _, shown = on_a_terminal([sys.executable, "-m", "smart_llm", *words], b"", columns=60)
    lines = [line.rstrip() for line in shown.replace("\r", "").splitlines() if line]
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
    assert lines[1].startswith("  ")
    assert len(command(*words)[2].splitlines()) == 1


def test_what_is_found_out_can_be_given_both_ways(command: Command) -> None:
    """`--header` has its opposite, for without either it is found out; plain flags have none."""
    _, printed, _ = command("run", "-h")
    assert "--header / --no-header" in printed
    assert "--no-batch" not in printed
    assert "--no-explode" not in printed
