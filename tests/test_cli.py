"""The command line as a user meets it: what it prints, what it returns, what it says about bad input."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import BIG, on_a_terminal, usual
from forks import ran

import smart_llm as smart
from smart_llm import execution
from smart_llm.cli.demonstration import SHOW
from smart_llm.mock.server import MockServer
from smart_llm.providers.local.weights import KNOWN

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small CSV."""
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1,good film\n2,bad film\n3,so so\n", encoding="utf-8")
    return path


def test_help_is_quick() -> None:
    """`smart --help` answers in under 0.6 s of work, and imports none of the heavy libraries."""
    code = "import sys; sys.argv = ['smart', '--help']\nfrom smart_llm import cli\n"
    code += "try: cli.main()\nexcept SystemExit: pass\n"
    heavy = (
        "print([m for m in ('scipy', 'polars', 'numpy', 'aiohttp', 'genai_prices', 'rich.live') if m in sys.modules])"
    )
    heavy += "; import time; print(time.process_time())"

    def took() -> float:
        done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
        loaded, seconds = done.stdout.splitlines()[-2:]
        assert loaded == "[]"
        for verb in ("run", "report", "runs", "replay", "verify", "models", "demo", "doctor", "mock-provider"):
            assert verb in done.stdout
        return float(seconds)

    assert any(took() < 0.6 for _ in range(4)), "something heavy crept in"  # a busy core is slower, but not each time


def test_run_writes_answers_and_certificate(command: Command, table: Path, tmp_path: Path) -> None:
    """Rows in order with three columns more; a certificate beside them that verifies."""
    out = tmp_path / "out.jsonl"
    code, printed, _ = command(*usual(table, output=out))
    assert code == 0
    delivered = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in delivered] == ["1", "2", "3"]
    assert {row["status"] for row in delivered} == {"ok"}
    assert "agreement ≥ 0.9" in printed
    code, printed, _ = command("verify", f"{out}.certificate.json", "--ledger", f"{table}.ledger.db")
    assert (code, printed.split(":")[0]) == (0, "verifies")


def test_json_prints_one_object(command: Command, table: Path) -> None:
    """`--json` prints exactly one JSON object on stdout, and nothing else."""
    code, printed, _ = command(*usual(table), "--json")
    value = json.loads(printed)
    assert code == 0
    assert printed.count("\n") == 1
    assert Path(value["output"]).name == "t.answers.csv"
    assert value["certificate"]["claim"]["rows"] == 3


def test_what_libraries_print_is_not_ours(command: Command, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What anything prints while a run is under way (Ray does, of a dead worker) goes to stderr."""
    real = execution.run

    async def chatty(*arguments: Any, **options: Any) -> Any:
        print("a worker died")
        return await real(*arguments, **options)

    monkeypatch.setattr(execution, "run", chatty)
    _, printed, said = command(*usual(table), "--json")
    assert json.loads(printed)["certificate"]
    assert "a worker died" in said


def test_a_run_without_a_cheaper_candidate_verifies(command: Command, table: Path, tmp_path: Path) -> None:
    """A candidate as dear as the reference is not used; the certificate says so, and verifies with its ledger."""
    out = tmp_path / "out.csv"
    code, printed, _ = command(*usual(table, output=out, candidate="fake:dear?in=10&out=10"))
    assert code == 0
    assert "hardly cheaper" in printed
    assert command("verify", f"{out}.certificate.json", "--ledger", f"{table}.ledger.db")[0] == 0


def test_verify_fails_with_5(command: Command, table: Path, tmp_path: Path) -> None:
    """A changed certificate is told apart: exit 5."""
    out = tmp_path / "out.csv"
    command(*usual(table, output=out))
    path = tmp_path / "out.csv.certificate.json"
    path.write_text(path.read_text().replace('"rows": 3', '"rows": 4', 1))
    code, _, said = command("verify", path)
    assert code == 5
    assert "smart verify:" in said


def bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Every mistake of the issue's list: (command, a word the message must hold)."""
    table = folder / "t.csv"
    (folder / "empty.csv").write_text("id,text\n")
    (folder / "t.xyz").write_text("id,text\n1,a\n")
    (folder / "taken.csv").write_text("text,answer\na,b\n")
    (folder / "schema.json").write_text("{not json")
    return {
        "missing file": (usual(folder / "none.csv"), "none.csv"),
        "unknown column": (usual(table, prompt="Good? {txt}"), "text"),
        "prompt without a column": (usual(table, prompt="Good?"), "column"),
        "no prompt": (usual(table, prompt=None), "--prompt"),
        "prompt file missing": (usual(table, prompt=None, prompt_file=folder / "none.txt"), "none.txt"),
        "unknown format": (usual(folder / "t.xyz"), "format"),
        "empty table": (usual(folder / "empty.csv"), "no rows"),
        "agreement 1": (usual(table, agreement="1"), "--agreement"),
        "agreement 0": (usual(table, agreement="0"), "--agreement"),
        "agreement text": (usual(table, agreement="high"), "--agreement"),
        "agreement nan": (usual(table, agreement="nan"), "--agreement"),
        "confidence 95": (usual(table, confidence="95"), "--confidence"),
        "reference as candidate": (usual(table, candidate=BIG), "reference"),
        "no candidate": (usual(table, candidate=None), "--candidate"),
        "unknown provider": (usual(table, candidate="nobody:x?in=1&out=1"), "provider"),
        "no key": (usual(table, candidate="openai:gpt-4o-mini"), "OPENAI_API_KEY"),
        "no price": (usual(table, candidate="fake:unpriced"), "?in="),
        "labels alike": (usual(table, labels="Yes,yes"), "yes"),
        "one label": (usual(table, labels="yes"), "label"),
        "labels and answer": (usual(table, answer="number"), "labels"),
        "no contract": (usual(table, labels=None), "labels"),
        "columns taken": (usual(folder / "taken.csv"), "answer"),
        "output is the table": (usual(table, output=table), "output"),
        "output unwritable": (usual(table, output=folder / "none" / "out.csv"), "none"),
        "output format": (usual(table, output=folder / "out.doc"), "format"),
        "unknown procedure": (usual(table, procedure="magic"), "ladder"),
        "bad schema": (usual(table, labels=None, answer="json", schema=folder / "schema.json"), "schema"),
        "rows 0": (usual(table, rows="0"), "rows"),
        "budget negative": (usual(table, budget="-1"), "budget"),
        "concurrency 0": (usual(table, concurrency="0"), "concurrency"),
    }


@pytest.fixture(params=range(30))
def mistake(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[object], str]:
    """One mistake after the other."""
    mistakes = list(bad_inputs(tmp_path).values())
    assert len(mistakes) == 30
    return mistakes[request.param]


def test_bad_input_is_said_in_a_line_or_two(
    command: Command, table: Path, tmp_path: Path, mistake: tuple[list[object], str]
) -> None:
    """Exit 2, one or two lines on stderr that name the matter, nothing on stdout, nothing spent."""
    words, word = mistake
    code, printed, said = command(*words, "--json")
    assert code == 2
    assert printed == ""
    assert 1 <= len(said.strip().splitlines()) <= 2, said
    assert word in said
    assert not list(tmp_path.glob("*.answers.csv"))


def test_stdin_is_spooled_and_resumed(tmp_path: Path) -> None:
    """A table from stdin is kept, so that the same pipe taken up again pays nothing; output goes where it is told."""
    out = tmp_path / "out.csv"
    words = [sys.executable, "-m", "smart_llm.cli", *map(str, usual("-", output=out)), "--json"]
    first, second = (json.loads(ran(words, "text\na\nb\n").stdout) for _ in range(2))
    assert first["run"] == second["run"]
    assert first["certificate"] == second["certificate"]
    assert out.read_text().splitlines()[0] == "text,answer,answered_by,status"
    listed = ran([sys.executable, "-m", "smart_llm.cli", "runs"], "").stdout
    assert first["run"] in listed.partition("of tables in memory and from stdin")[2]


def test_no_key_reaches_anything_written(
    command: Command, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in the environment is in no file and no message, also when the endpoint cannot be reached."""
    secret = "sk-very-secret-value"
    monkeypatch.setenv("MY_KEY", secret)
    model = "openai:m@http://127.0.0.1:9/v1?in=1&out=1&key_env=MY_KEY"
    code, printed, said = command(
        *usual(table, candidate=model, reference="fake:big?in=10&out=10", output=tmp_path / "o.csv", patience=1)
    )
    assert code in (0, 3)
    assert secret not in printed + said
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()


def test_replay_json_has_the_fields_of_the_interface(command: Command, tmp_path: Path) -> None:
    """`smart replay --json` prints the figures by their fixed names."""
    lines = ["item_id,model,answer,cost_usd"]
    for i in range(200):
        lines += [f"{i},big,{i % 2},1.0", f"{i},small,{i % 2 if i % 20 else 9},0.1"]
    path = tmp_path / "recorded.csv"
    path.write_text("\n".join(lines))
    code, printed, _ = command("replay", path, "--reference", "big", "--agreement", "0.8", "--trials", "3", "--json")
    assert code == 0
    assert list(json.loads(printed)) == [
        *("rows", "trials", "procedure", "reference", "candidates", "agreement", "confidence"),
        *("cost_ratio_mean", "cost_ratio_max", "saving", "violations", "violation_rate_upper"),
        *("agreement_mean", "agreement_min", "profiled_mean", "reference_share_mean", "certified_runs"),
        *("hindsight_cost_ratio", "seconds_per_trial"),
    ]


def test_plan_asks_nobody(tmp_path: Path) -> None:
    """`smart plan` against a real server sends no request, and the JSON has the fields of the Python object."""
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(2000)), encoding="utf-8")
    server = MockServer(rule="label:yes,no")

    async def plan(url: str, *more: str) -> str:
        models = [f"--reference=openai:big@{url}?in=10&out=10", f"--candidate=openai:small@{url}?in=1&out=1"]
        arguments = ["plan", str(source), "--prompt", "Yes? {text}", "--labels", "yes,no", *models, *more]
        done = await asyncio.to_thread(ran, [sys.executable, "-m", "smart_llm.cli", *arguments])
        assert done.returncode == 0
        out: str = done.stdout
        return out

    async def both() -> tuple[str, str]:
        async with server as url:
            return await plan(url), await plan(url, "--json")

    text, told = asyncio.run(both())
    assert server.stats()["requests"] == 0
    assert "Yes? row 1999" in text
    assert "saving" in text
    assert set(json.loads(told)) == {field.name for field in dataclasses.fields(execution.Plan)}
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_terminal_is_asked_before_money_is_spent(tmp_path: Path) -> None:
    """On a terminal the plan's short form and a question come first; "n" spends nothing, "y" goes on."""
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(50)), encoding="utf-8")
    command = [sys.executable, "-m", "smart_llm.cli", *map(str, usual(source))]
    code, shown = on_a_terminal(command, b"n\n")
    assert code != 0
    assert "expected $" in shown
    assert "Go on (no budget set)?" in shown
    assert not (tmp_path / "t.csv.ledger.db").exists()
    code, shown = on_a_terminal(command, b"y\n")
    assert code == 0, shown
    assert (tmp_path / "t.answers.csv").exists()


@pytest.mark.parametrize(
    ("labels", "meant"),
    [
        ("good; bad", "--labels good,bad"),
        ("good\nbad\n", "--labels good,bad"),
        ("good|bad|so so", "--labels 'good,bad,so so'"),
        ("very good; bad", "--labels 'very good,bad'"),
    ],
)
def test_labels_by_other_signs_than_commas(command: Command, tmp_path: Path, labels: str, meant: str) -> None:
    """Semicolons, bars and new lines between labels: the message says what to write."""
    (tmp_path / "t.csv").write_text("text\na\nb\n")
    code, _, said = command(*usual(tmp_path / "t.csv", labels=labels), "--yes")
    assert code == 2
    assert f"did you mean {meant}?" in said


def test_one_label_that_holds_several_in_python() -> None:
    """The same for a list of one."""
    with pytest.raises(smart.InputError, match=r"did you mean \['a', 'b'\]"):
        smart.Task("{text}", labels=["a; b"])


def test_a_terminal_of_few_signs_is_no_traceback(tmp_path: Path) -> None:
    """In ASCII other signs stand in for those that are missing, and JSON stays JSON."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"Stück {i}\n" for i in range(40)), encoding="utf-8")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for more in ([], ["--json"]):
        words = [str(word) for word in (*usual("t.csv", prompt="Güt? {text}"), "--yes", *more)]
        done = subprocess.run(
            [sys.executable, "-m", "smart_llm", *words], cwd=tmp_path, env=env, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        assert b"Traceback" not in done.stderr
    assert json.loads(done.stdout)["certificate"]["plan"]["task"]["prompt"] == "Güt? {text}"


def test_sizes_are_the_same_everywhere(command: Command) -> None:
    """What the demo downloads and what it takes on disk, in README, help and list, is what the files have."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    model = KNOWN[SHOW.model]
    helped = " ".join(command("demo", "-h")[1].split())
    for text in (readme, helped):
        assert f"{model.download / 1e9:.1f} GB" in text
        assert f"{SHOW.rows:,}" in text
    listed = " ".join(command("models", "list")[1].split())
    assert all(f"{each.bytes / 1e6:,.0f} MB on disk" in listed for each in KNOWN.values())


def test_hints_are_given_once(tmp_path: Path) -> None:
    """On a terminal, what stood before the question is not said again while the run goes on."""
    (tmp_path / "t.csv").write_bytes(b"text;n\n" + "".join(f"Größe {i};{i}\n" for i in range(30)).encode("cp1252"))
    words = [str(word) for word in usual(tmp_path / "t.csv")]
    code, shown = on_a_terminal([sys.executable, "-m", "smart_llm", *words], b"y\n", columns=200)
    assert code == 0
    assert shown.count("is not UTF-8") == 1
    assert shown.count("separated by ';'") == 1
