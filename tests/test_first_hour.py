"""What a newcomer stumbled over in the first hour, each kind in a sentence that says what to do."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from commands import numbered, usual
from forks import Forked

import smart_llm as smart
from smart_llm.events import Delivering, Ended
from smart_llm.ledger import Reader
from smart_llm.mock.server import MockServer
from smart_llm.reports.progress.sentences import said as told
from smart_llm.tables import read

Command = Callable[..., tuple[int, str, str]]
TASK = smart.Task("Good? {text}", labels=["yes", "no"])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sixty rows."""
    return numbered(tmp_path, 60)


# --------------------------------------------------------------------------- the command line


@pytest.mark.parametrize("folder", [".", ".."])
def test_a_folder_without_a_name_needs_an_output(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """`smart run .` is answered by a sentence."""
    inside = tmp_path / "in"
    inside.mkdir()
    monkeypatch.chdir(inside)
    code, _, said = command(*usual(folder), "--yes")
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    assert "--output" in said


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("yes no", "did you mean --labels yes,no?"),
        ("yes", "give at least two, separated by commas"),
        ("yes,no,yes", "label 'yes' is there twice: drop one"),
        ("yes,YES", "'yes' and 'YES' count as the same answer"),
    ],
)
def test_labels_as_people_type_them(command: Command, table: Path, labels: str, words: str) -> None:
    """What is wrong with them is said in plain words."""
    code, _, said = command(*usual(table, labels=labels))
    assert code == 2
    assert words in said


def test_a_task_without_answers_names_the_options(command: Command, table: Path) -> None:
    """On the command line and in Python."""
    assert "--labels, or an --answer kind" in command(*usual(table, labels=None))[2]
    with pytest.raises(smart.InputError, match="labels=, or an answer= kind"):
        smart.Task("Good? {text}")


@pytest.mark.parametrize(
    "model",
    [
        *("http://127.0.0.1:8000/v1", "https://x.example/v1", "localhost:8000/v1", "127.0.0.1:8000", "localhost"),
        *("HTTP://x.example", "box.lan:8000/v1", "[::1]:8000/v1", "file:///etc/passwd"),
    ],
)
def test_an_address_is_no_name_of_a_model(model: str) -> None:
    """Rows must not go to the provider because the name before the address was left out."""
    with pytest.raises(smart.InputError, match="no name before the address; write openai:NAME@"):
        smart.plan([{"text": "a"}] * 9, TASK, reference=f"openai:{model}?in=1&out=1", candidates=["fake:a?in=1&out=1"])


@pytest.mark.parametrize("model", ["ft:gpt-4o-mini:acme::8x7", "meta-llama/llama-3:free", "qwen2.5:7b", "a.b:1/c"])
def test_a_name_with_signs_is_a_name(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Tuned models, models of others, and versions are not taken for addresses."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    given: dict[str, Any] = {"reference": f"openai:{model}?in=1&out=1", "candidates": ["fake:a?in=1&out=1"]}
    assert f"openai:{model}" in repr(smart.plan([{"text": "a"}] * 9, TASK, **given).text())


async def test_an_address_without_its_path_is_noticed() -> None:
    """A 404 under an address without a path asks whether /v1 is missing; under another it does not."""
    app = web.Application()
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    where = f"http://127.0.0.1:{runner.addresses[0][1]}"
    given: dict[str, Any] = {"candidates": [], "procedure": "reference-only", "progress": False}
    try:
        for path, asked in (("", True), ("/", True), ("/v1", False)):
            with pytest.raises(smart.SmartError) as failed:
                await asyncio.to_thread(
                    smart.run, [{"text": "a"}], TASK, reference=f"openai:m@{where}{path}?in=1&out=1", **given
                )
            assert (f"is {where}/v1 meant?" in str(failed.value)) == asked
    finally:
        await runner.cleanup()


def test_verify_is_given_another_file(command: Command, table: Path) -> None:
    """The answered table, or the ledger of a run: the certificate is named."""
    assert command(*usual(table), "--yes")[0] == 0
    answers = table.with_name("t.answers.csv")
    assert f"its certificate is {answers}.certificate.json" in command("verify", answers)[2]
    assert "cannot be read" in command("verify", ".")[2]
    assert "OUT.certificate.json, with this as its --ledger" in command("verify", f"{table}.ledger.db")[2]


@pytest.mark.parametrize(
    ("name", "instead"), [("a.json.gz", "a.json"), ("a.xlsx", "a.csv"), ("a.csv.zst", "a.csv"), ("a.txt", "a.tsv")]
)
def test_a_format_that_is_read_only(command: Command, table: Path, name: str, instead: str) -> None:
    """An output of this kind is refused with the name that would do."""
    code, _, said = command(*usual(table), "--yes", "--output", table.with_name(name))
    assert code == 2
    assert f"is read, but not written: write {table.with_name(instead)}" in said


def test_the_stand_in_names_the_models_it_was_given() -> None:
    """Its example asks the model that was told to stray."""
    command = [sys.executable, "-m", "smart_llm", "mock-provider", "--port", "0", "--error", "klein=0.03"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        lines = [server.stderr.readline() for _ in range(3)]
        server.terminate()
    assert '--candidate "openai:klein@http://' in lines[1]
    assert "small" not in "".join(lines)


# --------------------------------------------------------------------------- files


def test_a_mark_and_a_text_have_no_header(tmp_path: Path) -> None:
    """Where the first line is a number that recurs and a sentence, it is a row; where there are names, it is none."""
    rows = [(i % 3, f"user {i} writes a sentence, and more") for i in range(30)]
    body = "".join(f'{mark},"{text}"\n' for mark, text in rows)
    path = tmp_path / "t.csv"
    path.write_text(body)
    assert read(path).rows == 30
    for header in ("label,text", "0,1", "1,text", "0,How do you like it here?,name"):
        path.write_text(f"{header}\n" + (body if header.count(",") == 1 else body.replace('"\n', '",x\n')))
        assert read(path).rows == 30, header


def test_a_column_by_its_place_names_the_option(command: Command, tmp_path: Path) -> None:
    """Whoever writes {column_2} has a file without a header line."""
    path = tmp_path / "t.csv"
    path.write_text("".join(f"word{i},text {i}\n" for i in range(30)))
    assert "--no-header" in command(*usual(path, prompt="Good? {column_2}"))[2]


def workbook(**sheets: list[list[str]]) -> bytes:
    """A workbook with these cells, as XML."""
    package = "http://schemas.openxmlformats.org/package/2006"
    document = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/{name}.xml" ContentType="{kind}.worksheet+xml"/>' for name in sheets
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{document}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{document}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
        + "</sheets></workbook>",
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="14"/></cellXfs></styleSheet>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + "".join(
            f'<Relationship Id="r{n}" Type="{document}/worksheet" Target="worksheets/{name}.xml"/>'
            for n, name in enumerate(sheets, 1)
        )
        + f'<Relationship Id="r99" Type="{document}/styles" Target="styles.xml"/></Relationships>',
    }
    for name, rows in sheets.items():
        lines = "".join(f'<row r="{n}">{"".join(row)}</row>' for n, row in enumerate(rows, 1))
        parts[f"xl/worksheets/{name}.xml"] = f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>'
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return made.getvalue()


def text(value: str) -> str:
    """A cell."""
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>'


def number(value: float, style: int = 0) -> str:
    """A cell; style 1: a date."""
    return f'<c s="{style}"><v>{value}</v></c>'


def test_cells_of_a_workbook_are_read_as_they_look(command: Command, tmp_path: Path) -> None:
    """Whole numbers stay whole, days are days; what has parts keeps them."""
    names = ["id", "text", "price", "day", "time"]
    rows = [
        [number(n), text(f"row {n}"), number(n + 0.5), number(45000 + n, 1), number(45000 + n / 4, 1)]
        for n in range(1, 61)
    ]
    (tmp_path / "t.xlsx").write_bytes(workbook(Sheet=[[*map(text, names)], *rows]))
    assert command(*usual(tmp_path / "t.xlsx"), "--yes")[0] == 0
    first = (tmp_path / "t.answers.csv").read_text().splitlines()[1]
    assert first.startswith("1,row 1,1.5,2023-03-16,2023-03-15 06:00:00")


def test_a_cover_sheet_is_no_table(command: Command, tmp_path: Path) -> None:
    """A workbook whose first sheet has no rows names the others, and what to do."""
    (tmp_path / "t.xlsx").write_bytes(workbook(Cover=[[text("About")]], Data=[[text("text")], [text("a")]]))
    code, _, said = command(*usual(tmp_path / "t.xlsx"), "--yes")
    assert code == 2
    assert "'Data'" in said
    assert "move the sheet with the table to the front" in said


# --------------------------------------------------------------------------- waiting, and what it cost


def test_a_silent_server_does_not_silence_the_log(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no terminal, a line says every few seconds how long it has been."""
    code = (
        "from smart_llm.reports.progress import display\n"
        "import time\n"
        "display.LINE = display.TICK = 0.05\n"
        "with display.shown():\n"
        "    time.sleep(0.5)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("Waiting for the first answers, 0:00:0") for line in lines)


def test_a_run_counts_no_more_rows_without_an_answer_than_rows(tmp_path: Path) -> None:
    """Also while it stops because nobody has an answer and others are in flight."""
    seen: list[Delivering] = []
    slow = {"fake:big": smart.FakeProvider(lambda _: (time.sleep(0.001), "I cannot say")[1])}
    with pytest.raises(smart.SmartError, match="None of the first 20 rows"):
        smart.run(
            [{"text": f"row {i}"} for i in range(200)],
            TASK,
            reference="fake:big?in=10&out=10",
            candidates=[],
            procedure="reference-only",
            providers=slow,
            ledger=tmp_path / "l.db",
            on_event=lambda event: seen.append(event) if isinstance(event, Delivering) else None,
        )
    assert seen
    assert all(each.errors <= each.done for each in seen)


def test_money_for_failed_calls_is_named_apart() -> None:
    """What a saving leaves out is not in the sum beside it."""
    line = told(Ended("certified", 600, 0, 4.05, 0.02002, 0.0, 0.00752))
    assert "$0.0125 spent and at most $0.00752 for calls without an answer, 4.05× cheaper" in line
    assert re.search(r"\$0\.0200 spent, 4", told(Ended("certified", 600, 0, 4.05, 0.02002)))


def test_a_second_run_is_counted_in_good_english(tmp_path: Path) -> None:
    """One earlier run, or several."""
    given: dict[str, Any] = {"reference": "fake:big?in=10&out=10", "candidates": ["fake:small?in=1&out=1"]}
    for seed, words in ((1, None), (2, "There was 1 earlier run on"), (3, "There were 2 earlier runs on")):
        done = smart.run(
            [{"text": f"row {i}"} for i in range(60)], TASK, **given, ledger=tmp_path / "l.db", seed=seed, agreement=0.9
        )
        page = done.report(tmp_path / "r.html").read_text()
        assert words is None or words in page


async def test_nothing_is_learned_of_models_that_nobody_asks(tmp_path: Path) -> None:
    """Where the reference answers every row, no candidate is called, and none is paid for."""
    async with MockServer(rule="label:yes,no", port=0) as url:
        done = await asyncio.to_thread(
            smart.run,
            [{"text": f"row {i}"} for i in range(5)],
            TASK,
            reference=f"openai:big@{url}?in=10&out=10",
            candidates=[f"openai:small@{url}?in=1&out=1"],
            procedure="reference-only",
            ledger=tmp_path / "l.db",
            progress=False,
        )
    with Reader.open(done.ledger) as reader:
        called = {each.model for each in reader.account(done.run_id)}
    assert called == {f"openai:big@{url}"}


def test_calls_that_a_crash_left_open_are_not_miscounted(command: Command, table: Path, port: int) -> None:
    """What was announced for several calls at once is no number of calls."""
    smart_llm = [sys.executable, "-m", "smart_llm"]
    server = Forked([*smart_llm, "mock-provider", "--port", str(port), "--latency", "3"])
    try:
        url = f"http://127.0.0.1:{port}/v1"
        models = {"reference": f"openai:big@{url}?in=10&out=10", "candidate": f"openai:small@{url}?in=1&out=1"}
        ledger = f"{table}.ledger.db"
        run = Forked([*smart_llm, *usual(table, **models), "--yes"])
        until = time.monotonic() + 60
        while time.monotonic() < until and not _announced(Path(ledger)):
            time.sleep(0.05)
        run.kill()
        run.wait()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    page = table.with_name("r.html")
    assert command("report", "last", "--ledger", ledger, "--html", page)[0] == 0
    row = re.search(r"outcome unknown</td>\s*<td[^>]*>([^<]*)", page.read_text())
    assert row is not None
    assert row[1].strip() == "–"


def _announced(ledger: Path) -> bool:
    """Whether calls of a run are under way."""
    try:
        with Reader.open(ledger) as reader:
            return any(each.outcome == "sent" for run in reader.runs() for each in reader.account(run.run_id))
    except smart.SmartError:
        return False
