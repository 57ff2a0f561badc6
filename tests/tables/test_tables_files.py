"""Files in and out: nothing lost, nothing reordered, nothing changed."""

import codecs
import csv
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smart_llm.errors import InputError
from smart_llm.tables import ADDED, Table, check_output, open_table, read, reading, spool, table, write, writing
from smart_llm.tables import large as stored

SUFFIXES = ("csv", "tsv", "jsonl", "parquet")
NASTY = [
    "007",
    "",
    " x ",
    'a "b" c',
    '"',
    '""',
    "a,b",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\r",
    "ü 文 😀 \u2028",
    "NULL",
    "nan",
    "#",
    "\\n",
]

cells = st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8))
tables = (
    st.integers(1, 3)
    .flatmap(lambda width: st.lists(st.tuples(*[cells] * width), max_size=6))
    .map(
        lambda rows: pl.DataFrame(
            {f"c {i}": list(c) for i, c in enumerate(zip(*rows, strict=True))} or {"c 0": []}, orient="col"
        ).cast(pl.String)
    )
)


@pytest.fixture(params=["in memory", "on disk"], autouse=True)
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds for small files holds for large ones, which are kept on disk and read in slices."""
    if request.param == "on disk":
        monkeypatch.setattr(stored, "LARGE", 1)
        monkeypatch.setattr(stored, "PART", 2)
        monkeypatch.setattr(writing, "SLICE", 2)
        monkeypatch.setattr(table, "_SLICE", 3)
        monkeypatch.setattr(reading, "_CHUNK", 4)


def texts(table: Table, columns: Any = None) -> list[dict[str, str]]:
    """All cells as text."""
    return list(table.cells(columns or table.columns))


def written(table: Table, path: Path) -> Table:
    """The table with answers, written to `path` and read again."""
    answers = [f"é{i}" if i % 3 else None for i in range(table.rows)]
    write(table, answers, ["m"] * table.rows, ["ok"] * table.rows, path)
    return read(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(frame=tables)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)
def test_every_cell_survives_every_format(suffix: str, frame: pl.DataFrame, tmp_path: Path) -> None:
    """What is written is read back: same rows, same order, same cells, plus the three columns."""
    table = Table(frame, "frame")
    again = written(table, tmp_path / f"out.{suffix}")
    if table.rows == 0 and suffix == "jsonl":
        assert again.rows == 0
        return
    assert again.columns == (*table.columns, *ADDED)
    assert texts(again, table.columns) == texts(table)
    assert [row["answer"] for row in again.cells(["answer"])] == [f"é{i}" if i % 3 else "" for i in range(table.rows)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(frame=tables)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=15)
def test_identity_does_not_depend_on_the_format(suffix: str, frame: pl.DataFrame, tmp_path: Path) -> None:
    """The table's hash is that of its cells, whatever file they came from."""
    table = Table(frame, "frame").frame
    first = written(Table(table, "frame"), tmp_path / "out.parquet")
    again = written(Table(table, "frame"), tmp_path / f"out.{suffix}")
    if len(table):
        assert again.table_hash == first.table_hash


@given(
    rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_csv_is_read_as_the_standard_library_reads_it(
    rows: list[tuple[str, str]], end: str, bom: bool, tmp_path: Path
) -> None:
    """Cells are exactly what was written, with either line end, with or without a byte order mark."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("a", "b c"), *rows])
    path = tmp_path / "t.csv"
    path.write_bytes((codecs.BOM_UTF8 if bom else b"") + text.getvalue().encode())
    assert texts(read(path)) == [{"a": a, "b c": b} for a, b in rows]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"a,b\n007,\n,x\n", [("007", ""), ("", "x")]),
        (b"a,b\n1,2\n\n", [("1", "2")]),
        (b"a,b\n1,2", [("1", "2")]),
        (b'a,b\n"1\n2",3\n', [("1\n2", "3")]),
        (b'a,b\nx "q",2\n', [('x "q"', "2")]),
        (b"a\nx\n\ny\n", [("x",), ("",), ("y",)]),
        (b"a\n", []),
        (b'"a ""q""",b\n1,2\n', [("1", "2")]),
    ],
)
def test_what_a_csv_file_means(data: bytes, rows: list[tuple[str, ...]], tmp_path: Path) -> None:
    """Small files with a trap each."""
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    assert [tuple(row.values()) for row in texts(read(path))] == rows


def test_jsonl_rows_are_written_back_as_they_were(tmp_path: Path) -> None:
    """JSON lines keep their own fields to the letter: number forms, missing fields, order, mixed kinds."""
    lines = [
        '{"id": 1, "x": 1.10}',
        '{ "x":"one" , "id":2 }',
        '{"id": 12345678901234567890, "n": {"a": [1, null]}}',
        "{}",
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    table = read(path)
    write(table, ["ä", None, "c", "d"], ["m"] * 4, ["ok"] * 4, tmp_path / "out.ndjson")
    out = (tmp_path / "out.ndjson").read_text(encoding="utf-8").splitlines()
    assert out[0] == '{"id": 1, "x": 1.10, "answer": "ä", "answered_by": "m", "status": "ok"}'
    assert out[1] == '{ "x":"one", "id":2, "answer": null, "answered_by": "m", "status": "ok"}'.replace(
        '"one", ', '"one" , '
    )
    assert [json.loads(line)["status"] for line in out] == ["ok"] * 4
    assert texts(table, ["x"]) == [{"x": "1.1"}, {"x": "one"}, {"x": ""}, {"x": ""}]
    assert texts(table, ["n"])[2] == {"n": '{"a": [1, null]}'}


def test_types_survive_parquet(tmp_path: Path) -> None:
    """Columns of a Parquet file keep their types and values."""
    from datetime import date

    frame = pl.DataFrame(
        {
            "i": [1, None],
            "f": [0.5, None],
            "b": [True, None],
            "d": [date(2026, 1, 2), None],
            "l": [[1], None],
            "y": [b"\xff", None],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet")
    assert texts(table)[0] == {"i": "1", "f": "0.5", "b": "true", "d": "2026-01-02", "l": "[1]", "y": "ff"}
    assert set(texts(table)[1].values()) == {""}
    for suffix in SUFFIXES:
        assert texts(written(table, tmp_path / f"o.{suffix}"), table.columns) == texts(table)
    assert pl.read_parquet(tmp_path / "o.parquet").select(frame.columns).equals(frame)


def test_rows_are_found_by_position_and_content() -> None:
    """Cells at positions come in the order asked; equal rows are one group."""
    table = Table(pl.DataFrame({"a": ["x", "y", "x", "x"], "b": ["1", "1", "1", "2"]}), "frame")
    assert table.cells_at([3, 0], ["b", "a"]) == [{"b": "2", "a": "x"}, {"b": "1", "a": "x"}]
    assert table.cells_at([], ["a"]) == []
    assert table.groups(["a"]).tolist() == [0, 1, 0, 0]
    assert table.groups(["a", "b"]).tolist() == [0, 1, 0, 2]
    with pytest.raises(InputError, match="columns: a, b"):
        table.cells_at([0], ["c"])


def test_cells_do_not_run_into_each_other() -> None:
    """Moving text from one cell to the next, renaming a column or swapping rows changes the table's hash."""
    frames = [
        {"a": ["xy"], "b": [""]},
        {"a": ["x"], "b": ["y"]},
        {"a": ["1:x"], "b": ["y"]},
        {"ab": ["x"], "": ["y"]},
        {"a": ["x", "y"]},
        {"a": ["y", "x"]},
        {"^a$": ["x"]},
        {"a": ["x"]},
    ]
    assert len({Table(pl.DataFrame(frame), "frame").table_hash for frame in frames}) == len(frames)


def test_first_rows(tmp_path: Path) -> None:
    """`head` takes the first rows, and JSON lines with them."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n', encoding="utf-8")
    table = read(path)
    assert texts(table.head(2)) == [{"a": "1"}, {"a": "2"}]
    assert written(table.head(2), tmp_path / "o.jsonl").rows == 2
    assert table.head(9).rows == table.head(None).rows == 3
    with pytest.raises(InputError, match="at least 1"):
        table.head(0)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.xlsx", b"x", "not a readable workbook"),
        ("t.zip", b"x", "unpack it first: unzip"),
        ("t", b"x", "unknown format"),
        ("t.csv", b"", "empty"),
        ("t.csv", b"\n\n", "empty"),
        ("t.csv", b"a,b\n1,2,3\n", "more cells than the header"),
        ("t.csv", b'a,b\n"x,2\n', "malformed"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
        ("t.jsonl", b'{"a": 1}\n\n[1]\n', "line 3: each line"),
        ("t.jsonl", b'[{"a": 1}]', "line 1: each line"),
        ("t.jsonl", b'{"a": "\\ud800"}', "line 1: not valid"),
        ("t.jsonl", b"\xff", "not UTF-8"),
        ("t.parquet", b"PAR1 no", "not a readable Parquet"),
        ("t.parquet", b"", "not a readable Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    """Each kind of broken file is an input error of one or two lines."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path / name)
    assert len(str(error.value).splitlines()) <= 2


def test_missing_files_and_folders(tmp_path: Path) -> None:
    """A path that is no file is an input error."""
    with pytest.raises(InputError, match="no file"):
        read(tmp_path / "none.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(InputError, match="folder"):
        read(tmp_path / "d.csv")


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    """A file name with brackets or a star is that file, and a column name may look like an expression."""
    path = tmp_path / "a[1]*.csv"
    path.write_text("^a$,*\nx,y\n", encoding="utf-8")
    assert texts(read(path)) == [{"^a$": "x", "*": "y"}]
    assert texts(written(read(path), tmp_path / "o.tsv"), ["*"]) == [{"*": "y"}]


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"a,b\n1,2\n", ".csv"),
        (b"a\n1\n", ".csv"),
        (b"a\tb\n1\t2,3\n", ".tsv"),
        (b'\n {"a": 1}\n', ".jsonl"),
        (codecs.BOM_UTF8 + b'{"a": 1}\n', ".jsonl"),
        (b' [\n {"a": 1}]', ".json"),
    ],
)
def test_standard_input_is_kept_under_its_content(data: bytes, suffix: str, tmp_path: Path) -> None:
    """The same bytes go to the same file, readable by its owner only, in the format its first bytes show."""
    folder = tmp_path / "spool"
    path = spool(io.BytesIO(data), folder)
    assert path == spool(io.BytesIO(data), folder)
    assert [p.name for p in folder.iterdir()] == [path.name]
    assert path.suffix == suffix
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path).rows == 1


def test_parquet_on_standard_input(tmp_path: Path) -> None:
    """Parquet is known by its first bytes."""
    data = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(data)
    data.seek(0)
    assert texts(read(spool(data, tmp_path))) == [{"a": "1"}]


@pytest.mark.parametrize("data", [b"", b" \n", b"[1, 2]", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"])
def test_nothing_useful_on_standard_input(data: bytes, tmp_path: Path) -> None:
    """An empty stream, an array of no rows, or a packed file is an input error and leaves nothing behind."""
    with pytest.raises(InputError, match="standard input"):
        spool(io.BytesIO(data), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_spool_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be made is an input error."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be kept"):
        spool(io.BytesIO(b"a\n1\n"), tmp_path / "file")


@pytest.fixture
def source(tmp_path: Path) -> Table:
    """A small table in a file."""
    (tmp_path / "t.csv").write_text("a\nx\n", encoding="utf-8")
    return read(tmp_path / "t.csv")


def test_an_output_that_cannot_be_is_found_before(source: Table, tmp_path: Path) -> None:
    """The table itself (also through links), a folder, a missing folder, an unknown format."""
    (tmp_path / "soft.csv").symlink_to(tmp_path / "t.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "t.csv")
    (tmp_path / "d.csv").mkdir()
    for name, said in [
        ("t.csv", "itself"),
        ("./d.csv/../t.csv", "itself"),
        ("soft.csv", "itself"),
        ("hard.csv", "itself"),
        ("d.csv", "folder"),
        ("none/o.csv", "no folder"),
        ("o.xlsx", "read, but not written"),
        ("o", "unknown format"),
    ]:
        with pytest.raises(InputError, match=said):
            check_output(f"{tmp_path}/{name}", source)
    check_output(tmp_path / "o.csv", source)
    assert not (tmp_path / "o.csv").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written(source: Table, tmp_path: Path) -> None:
    """An unwritable folder is found before anything is spent."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot be written"):
        check_output(locked / "o.csv", source)


def test_a_place_where_no_file_can_be_made(source: Table) -> None:
    """A folder that refuses new files (whoever asks) is found before anything is spent."""
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a folder that refuses new files even to the superuser: /proc")
    with pytest.raises(InputError, match="cannot be written"):
        check_output("/proc/self/o.csv", source)


@pytest.mark.parametrize("name", ADDED)
def test_columns_a_run_adds_may_not_be_there(name: str, tmp_path: Path) -> None:
    """A table that already has one of the three columns is refused."""
    (tmp_path / "t.csv").write_text(f"a,{name}\nx,y\n", encoding="utf-8")
    with pytest.raises(InputError, match=name):
        open_table(tmp_path / "t.csv")
    with pytest.raises(InputError, match=name):
        check_output(tmp_path / "o.csv", read(tmp_path / "t.csv"))


def test_a_write_that_fails_leaves_what_was_there(
    source: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output appears whole or not at all, and no half file stays."""
    out = tmp_path / "o.csv"
    out.write_text("before", encoding="utf-8")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left"):
            write(source, ["1"], ["m"], ["ok"], out)
    assert out.read_text(encoding="utf-8") == "before"
    assert not list(tmp_path.glob(".*"))
    write(source, ["1"], ["m"], ["ok"], out)
    assert out.read_text(encoding="utf-8") == "a,answer,answered_by,status\nx,1,m,ok\n"


def test_an_output_through_a_link_goes_where_the_link_points(source: Table, tmp_path: Path) -> None:
    """A link stays a link."""
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to("real.csv")
    write(source, ["1"], ["m"], ["ok"], tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert read(tmp_path / "real.csv").rows == 1


def test_as_many_answers_as_rows(source: Table, tmp_path: Path) -> None:
    """A wrong number of answers is a fault of ours and never written."""
    with pytest.raises(ValueError, match="1 rows"):
        write(source, ["1", "2"], ["m"], ["ok"], tmp_path / "o.csv")


def test_an_output_that_is_a_link_is_said(tmp_path: Path) -> None:
    """Where a link leads is written to, and said before anything is spent."""
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "real.csv").write_text("precious\n")
    (tmp_path / "out.csv").symlink_to("real.csv")
    with pytest.warns(UserWarning, match=r"out\.csv is a link: .*real\.csv is what is written"):
        check_output(tmp_path / "out.csv", read(tmp_path / "t.csv"))
