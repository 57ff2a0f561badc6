"""Files that are no tables we read, or are called what they are not: a sentence says what they are and what to do."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.tables import read

ROWS = b"id,text\n1,a\n2,b\n"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl", ".json"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(ROWS, mtime=0), "compressed by gzip"),
        (bz2.compress(ROWS), "compressed by bzip2"),
        (b"PAR1" + b"\0abc" * 99, "a Parquet file"),
        (b"PK\x03\x04" + b"\0abc" * 99, "a workbook or a zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an old workbook"),
        (b"SQLite format 3\0" + b"\0" * 100, "a SQLite database"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    ],
    ids=["gzip", "bzip2", "parquet", "zip", "ole", "sqlite", "html"],
)
def test_a_file_that_is_called_a_text_and_is_none(tmp_path: Path, suffix: str, data: bytes, words: str) -> None:
    """What it is stands in the error; it is never read as an empty table."""
    path = tmp_path / f"t{suffix}"
    path.write_bytes(data)
    with pytest.raises(smart.InputError, match=words) as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("t.feather", "pandas.read_feather('{path}').to_parquet('{stem}.parquet')"),
        ("t.dta", "pandas.read_stata('{path}')"),
        ("t.PKL", "pandas.read_pickle('{path}')"),
        ("t.xml", "pandas.read_xml('{path}')"),
        ("t.sqlite", "sqlite3 -header -csv {path}"),
    ],
)
def test_a_table_of_another_format_names_its_conversion(tmp_path: Path, name: str, command: str) -> None:
    """One command makes a file of it that is read."""
    path = tmp_path / name
    path.write_bytes(b"anything")
    with pytest.raises(smart.InputError) as caught:
        read(path)
    assert command.format(path=path, stem=path.with_suffix("")) in str(caught.value)


SHAPES = {
    "pandas by default": ({"id": {"0": 1, "1": 2}, "text": {"0": "a", "1": "b"}}, "columns"),
    "lists": ({"id": [1, 2], "text": ["a", "b"]}, "columns"),
    "by row": ({"0": {"id": 1, "text": "a"}, "1": {"id": 2, "text": "b"}}, "index"),
    "split": ({"columns": ["id", "text"], "index": [0, 1], "data": [[1, "a"], [2, "b"]]}, "split"),
    "named rows": ({"id": {"x": 1, "y": 2}, "text": {"x": "a", "y": "b"}}, "columns"),
}


@pytest.mark.parametrize(("whole", "orient"), SHAPES.values(), ids=SHAPES)
def test_a_table_in_one_object_is_not_one_row(tmp_path: Path, whole: object, orient: str) -> None:
    """A table that pandas wrote as one object is refused with the command that writes its rows, which does."""
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "t.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(smart.InputError) as caught:
        read(path)
    assert f"pandas.read_json('{path}', orient='{orient}').to_json('rows.jsonl'" in str(caught.value)
    pandas.read_json(path, orient=orient).to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    assert read(tmp_path / "rows.jsonl").frame["text"].to_list() == ["a", "b"]


@pytest.mark.parametrize("row", [{"id": 1, "text": "a", "more": {"x": 1}}, {"text": "a"}, {"tags": [1], "text": "a"}])
def test_one_object_is_one_row(tmp_path: Path, row: object) -> None:
    """A row whose cells have parts is a row."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps(row))
    assert len(read(path).frame) == 1


def test_two_columns_of_one_name_are_named(tmp_path: Path) -> None:
    """A prompt that names a column which is there twice is told how the two are called."""
    path = tmp_path / "t.csv"
    path.write_text("id,text,text\n1,a,b\n2,c,d\n")
    task = smart.Task("Good? {text}", labels=["yes", "no"])
    with pytest.raises(smart.InputError, match=r"there are several: write \{text_1\} or \{text_2\}"):
        smart.plan(path, task, reference="fake:a?in=1&out=1", candidates=["fake:b?in=1&out=1"])
