"""Files in the style of those that stand on the web, unchanged, through `smart plan` and `smart run`."""

from __future__ import annotations

import csv
import enum
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.types import Request

Command = Callable[..., tuple[int, str, str]]
TEXTS = ["Go until jurong point", 'U dun say "so early" hor', "WINNER!! Claim now", '"Nah I dont think so', "ok lar"]


def workbook(rows: list[list[object]]) -> bytes:
    """A workbook of one sheet, as small as one can be."""
    package = "http://schemas.openxmlformats.org/package/2006"
    document = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"

    def cell(value: object) -> str:
        return f"<c><v>{value}</v></c>" if isinstance(value, int) else f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    lines = "".join(f'<row r="{n}">{"".join(map(cell, row))}</row>' for n, row in enumerate(rows, 1))
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{document}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{document}"><sheets>'
        '<sheet name="Reviews" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{document}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return made.getvalue()


def sms() -> bytes:
    """Two columns without a header, quotes as they were typed."""
    labels = ["ham", "ham", "spam", "ham", "ham"]
    return "".join(f"{label}\t{text}\n" for label, text in zip(labels, TEXTS, strict=True)).encode()


def facts() -> bytes:
    """Fact-checking statements with a header: quotes open in one row and close in another, some cells empty."""
    rows = [f"{n}.json\thalf-true\t{text}\t\tnational" for n, text in enumerate(TEXTS)]
    return ("id\tlabel\ttext\tsubject\tcontext\n" + "\n".join(rows) + "\n").encode()


def indexed() -> bytes:
    """A data frame written with its index, and columns of the same name."""
    text = io.StringIO()
    csv.writer(text).writerows([["", "text", "v", "v", ""], *([n, t, 1, 2, ""] for n, t in enumerate(TEXTS))])
    return text.getvalue().encode()


def german() -> bytes:
    """Semicolons, Latin-1, a decimal comma, an `answer` column, a blank line in the middle."""
    rows = [f"{n};{text} schön, größer;3,5;ja" for n, text in enumerate(["Tür", "Öl", "Übel", "Maß", "Fön"])]
    return ("nr;text;note;answer\r\n" + "\r\n".join([*rows[:2], "", *rows[2:]]) + "\r\n").encode("latin-1")


FILES: dict[str, tuple[bytes, str, list[str]]] = {
    "SMSSpamCollection.tsv": (sms(), "column_2", TEXTS),
    "train.tsv": (facts(), "text", TEXTS),
    "frame.csv": (indexed(), "text", TEXTS),
    "umfrage.csv": (german(), "text", [f"{word} schön, größer" for word in ("Tür", "Öl", "Übel", "Maß", "Fön")]),
    "reviews.xlsx": (workbook([["id", "text"], *([n, t] for n, t in enumerate(TEXTS))]), "text", TEXTS),
    "reviews.jsonl.gz": (gzip.compress("".join(json.dumps({"text": t}) + "\n" for t in TEXTS).encode()), "text", TEXTS),
    "reviews.json": (json.dumps([{"text": t} for t in TEXTS], indent=1).encode(), "text", TEXTS),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_as_it_is_goes_through_plan_and_run(command: Command, tmp_path: Path, name: str) -> None:
    """As many rows as the file has, every text as it was written, the other columns beside it, and exit code 0."""
    data, column, texts = FILES[name]
    (tmp_path / name).write_bytes(data)
    out = tmp_path / "out.jsonl"
    options = ["--prompt", f"Good? {{{column}}}", "--labels", "yes,no", "--agreement", "0.9"]
    options += ["--reference", "fake:big?in=10&out=10", "--candidate", "fake:small?in=1&out=1"]
    options += ["--answer-column", "said"]
    code, printed, said = command("plan", tmp_path / name, *options)
    assert (code, f"{len(texts)} rows" in printed) == (0, True), said
    code, _, said = command("run", tmp_path / name, *options, "--output", out)
    assert code == 0, said
    delivered = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row[column] for row in delivered] == texts
    assert {row["said"] for row in delivered} <= {"yes", "no"}
    assert all(list(row)[-3:] == ["said", "said_by", "said_status"] for row in delivered)


@pytest.mark.parametrize("name", FILES)
def test_the_answers_go_where_they_can_be_found(command: Command, tmp_path: Path, name: str) -> None:
    """Without --output they stand beside the table, in its own format where that is written, else as CSV."""
    (tmp_path / name).write_bytes(FILES[name][0])
    options = ["--prompt", f"Good? {{{FILES[name][1]}}}", "--labels", "yes,no", "--answer-column", "a"]
    options += ["--reference", "fake:big?in=10&out=10", "--procedure", "reference-only"]
    assert command("run", tmp_path / name, *options)[0] == 0
    wanted = {
        "reviews.xlsx": "reviews.answers.csv",
        "reviews.jsonl.gz": "reviews.answers.jsonl",
        "train.tsv": "train.answers.tsv",
    }
    [found] = [path.name for path in tmp_path.glob("*.answers.*") if not path.name.endswith(".json")] or [
        "reviews.answers.json"
    ]
    assert found == wanted.get(name, found)
    assert smart.__name__ == "smart_llm"


def test_guesses_and_doubts_are_said_before_anything_is_asked(command: Command, tmp_path: Path) -> None:
    """Encoding, blank lines, a dollar before a place: in the plan, and on stderr of the run."""
    (tmp_path / "t.csv").write_bytes(german())
    options = ["--prompt", "Good? ${text}", "--labels", "yes,no", "--answer-column", "a"]
    options += ["--reference", "fake:big?in=10&out=10", "--candidate", "fake:small?in=1&out=1"]
    printed = " ".join(command("plan", tmp_path / "t.csv", *options)[1].split())
    said = " ".join(command("run", tmp_path / "t.csv", *options)[2].split())
    for word in ("--encoding", "1 blank line is", "separated by ';'", "a dollar sign is sent"):
        assert word in printed
        assert word in said


def test_empty_rows_are_counted_and_skipped_on_request(command: Command, tmp_path: Path) -> None:
    """The plan counts them; --skip-empty delivers them without an answer, at their places."""
    rows = ["good", "", "bad", "  ", "so so", ""]
    (tmp_path / "t.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(rows)))
    options = ["--prompt", "Good? {text}", "--labels", "yes,no"]
    options += ["--reference", "fake:big?in=10&out=10", "--candidate", "fake:small?in=1&out=1"]
    assert "3 rows are empty" in " ".join(command("plan", tmp_path / "t.csv", *options)[1].split())
    out = tmp_path / "o.csv"
    assert command("run", tmp_path / "t.csv", *options, "--skip-empty", "--output", out)[0] == 0
    delivered = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["id"] for row in delivered] == list("012345")
    assert [row["status"] for row in delivered] == ["ok", *["skipped: empty", "ok"] * 2, "skipped: empty"]
    assert [bool(row["answer"]) for row in delivered] == [True, False, True, False, True, False]


def test_very_long_rows_are_counted(command: Command, tmp_path: Path) -> None:
    """Rows far longer than the others are said in the plan, with the longest."""
    (tmp_path / "t.csv").write_text("text\n" + "short\n" * 50 + "x" * 60_000 + "\n")
    options = ["--prompt", "Good? {text}", "--labels", "yes,no"]
    options += ["--reference", "fake:big?in=10&out=10", "--candidate", "fake:small?in=1&out=1"]
    printed = " ".join(command("plan", tmp_path / "t.csv", *options)[1].split())
    assert "1 row is far longer than the others" in printed
    assert "row 51" in printed


# --------------------------------------------------------------------------- Python


def asked(table: Any, task: smart.Task, answer: Callable[[Request], str], folder: Path, **options: Any) -> Any:
    """A run with a provider that answers so."""
    fake = smart.FakeProvider(answer)
    return smart.run(
        table,
        task,
        reference="fake:r?in=1&out=1",
        candidates=[],
        procedure="reference-only",
        ledger=folder / "l.db",
        providers={"fake:r": fake},
        **options,
    )


class Mood(enum.Enum):
    """Labels."""

    GOOD = "good"
    BAD = "bad"


@pytest.fixture
def frames() -> dict[str, Any]:
    """The same two rows in every kind of frame."""
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    data = {"text": ["x 5", "y 7"]}
    return {
        "dicts": [{"text": "x 5"}, {"text": "y 7"}],
        "pandas": pd.DataFrame(data, index=[3, 4]),
        "polars": pl.DataFrame(data),
        "arrow": pa.table(data),
    }


def column(table: Any, name: str) -> list[Any]:
    """A column's values, whatever the frame."""
    if isinstance(table, list):
        return [row[name] for row in table]
    return list(table[name].to_pylist() if hasattr(table[name], "to_pylist") else table[name])


@pytest.mark.parametrize("kind", ["dicts", "pandas", "polars", "arrow"])
def test_numbers_and_truth_values_come_back_as_such(kind: str, frames: dict[str, Any], tmp_path: Path) -> None:
    """A number is a number in every frame, whole ones whole; true is True."""
    for name in "abc":
        (tmp_path / name).mkdir()
    number = smart.Task("{text}", answer="number")
    whole = asked(frames[kind], number, lambda r: r.prompt.split()[1], tmp_path / "a")
    assert column(whole.table, "answer") == [5, 7]
    part = asked(frames[kind], number, lambda r: r.prompt[2:] + ".5", tmp_path / "b")
    assert column(part.table, "answer") == [5.5, 7.5]
    task = smart.Task("{text}", schema={"type": "boolean"})
    true = asked(frames[kind], task, lambda r: "true" if "x" in r.prompt else "false", tmp_path / "c")
    assert [value is True or value is False for value in map(_plain, column(true.table, "answer"))] == [True, True]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def test_types_in_files(tmp_path: Path) -> None:
    """JSON lines and Parquet hold numbers; CSV what was read."""
    (tmp_path / "t.csv").write_text("text\nx 5\ny 7.0\n")
    task = smart.Task("{text}", answer="number")
    for name in ("o.jsonl", "o.json", "o.parquet", "o.csv"):
        asked(tmp_path / "t.csv", task, lambda r: r.prompt.split()[1], tmp_path, output=tmp_path / name)
    lines = [json.loads(line)["answer"] for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert lines == [row["answer"] for row in json.loads((tmp_path / "o.json").read_text())] == [5, 7]
    assert pl.read_parquet(tmp_path / "o.parquet")["answer"].to_list() == [5, 7]
    assert [row["answer"] for row in csv.DictReader((tmp_path / "o.csv").read_text().splitlines())] == ["5", "7"]


def test_objects_come_back_and_are_taken_apart(tmp_path: Path) -> None:
    """A pydantic model is the schema and the kind of `answers`; explode gives its fields columns with their types."""
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Item", name=(str, ...), price=(float, ...), new=(bool, False))
    task = smart.Task("{text}", schema=model)

    def answer(request: Request) -> str:
        name, price = request.prompt.split()
        return json.dumps({"name": name, "price": float(price), "new": name == "x"})

    (tmp_path / "t.csv").write_text("text\nx 5\ny 7.25\n")
    done = asked(tmp_path / "t.csv", task, answer, tmp_path, explode=True, output=tmp_path / "o.jsonl")
    assert done.answers[1] == model(name="y", price=7.25)
    first = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])
    assert first["answer"] == {"name": "x", "price": 5.0, "new": True}
    assert (first["answer.name"], first["answer.price"], first["answer.new"]) == ("x", 5.0, True)
    again = asked(tmp_path / "t.csv", task, answer, tmp_path, explode=True)
    assert again.table["answer.price"].to_list() == [5.0, 7.25]
    with pytest.raises(InputError, match="explode=True goes with JSON"):
        asked(tmp_path / "t.csv", smart.Task("{text}", answer="number"), answer, tmp_path, explode=True)
    with pytest.raises(InputError, match="JSON schema or a pydantic model"):
        smart.Task("{text}", schema=int)


def test_labels_of_every_kind(tmp_path: Path) -> None:
    """An Enum gives members back, truth values come back as such, and what a dict says of its labels is sent."""
    rows, sent = [{"text": "x"}, {"text": "y"}], list[str]()

    def answer(request: Request) -> str:
        sent.append(request.system or "")
        assert request.labels is not None
        return request.labels["y" in request.prompt]

    done = asked(rows, smart.Task("{text}", labels=Mood), answer, tmp_path)
    assert list(done.answers) == [Mood.GOOD, Mood.BAD]
    assert [row["answer"] for row in done.table] == ["good", "bad"]
    done = asked(rows, smart.Task("{text}", labels=[True, False]), answer, tmp_path)
    assert [row["answer"] for row in done.table] == [True, False]
    meant = smart.Task("{text}", labels={"spam": "wants money", "ham": "all else"}, system="Be brief.")
    done = asked(rows, meant, answer, tmp_path)
    assert sent[-1] == "Be brief.\n\nAnswer with one of these labels:\n- spam: wants money\n- ham: all else"
    assert [row["answer"] for row in done.table] == ["spam", "ham"]
    with pytest.raises(InputError, match="says what it means"):
        smart.Task("{text}", labels={"a": 1, "b": 2})


def test_a_series_and_a_list_of_texts(tmp_path: Path) -> None:
    """A column alone is a table of that column, called `text` where it has no name; the index stays."""
    pd = pytest.importorskip("pandas")
    task = smart.Task("{text}", labels=["a", "b"])
    done = asked(pd.Series(["x", "y"], index=[7, 8]), task, lambda r: "a", tmp_path)
    assert list(done.table.index) == [7, 8]
    assert list(done.table.columns) == ["text", "answer", "answered_by", "status"]
    named = asked(pl.Series("text", ["x", "y"]), task, lambda r: "a", tmp_path)
    assert named.table.columns == ["text", "answer", "answered_by", "status"]
    assert asked(["x", "y"], task, lambda r: "a", tmp_path).table[1]["text"] == "y"


def test_small_floats_are_sent_as_they_were_written(tmp_path: Path) -> None:
    """0.1 in a float32 column is sent as 0.1 from every frame."""
    pd, np = pytest.importorskip("pandas"), pytest.importorskip("numpy")
    values = np.array([0.1, 2.5], np.float32)
    for table in (pd.DataFrame({"x": values}), pl.DataFrame({"x": values}), [{"x": value} for value in values]):
        sent: list[str] = []
        asked(table, smart.Task("{x}", labels=["a", "b"]), lambda r, s=sent: s.append(r.prompt) or "a", tmp_path)
        assert not sent or sorted(sent) == ["0.1", "2.5"]


def test_a_name_for_the_answers(tmp_path: Path) -> None:
    """A table with an `answer` column is refused with the option that helps, and taken with it."""
    rows = [{"text": "x", "answer": "old"}]
    task = smart.Task("{text}", labels=["a", "b"])
    with pytest.raises(InputError, match="answer_column=NAME"):
        asked(rows, task, lambda r: "a", tmp_path)
    done = asked(rows, task, lambda r: "a", tmp_path, answer_column="new")
    assert done.table == [{"text": "x", "answer": "old", "new": "a", "new_by": "fake:r", "new_status": "ok"}]
    with pytest.raises(InputError, match="answer_column="):
        asked(rows, task, lambda r: "a", tmp_path, answer_column="text")
    with pytest.raises(InputError, match="give a name"):
        asked(rows, task, lambda r: "a", tmp_path, answer_column=" ")
