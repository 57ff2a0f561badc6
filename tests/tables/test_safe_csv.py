"""`--safe-csv`: what a spreadsheet would carry out on opening is written as text; everything else as ever."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import smart_llm as smart
from smart_llm import tables
from smart_llm.tables.writing import FORMULA, _harmless, _unquoted

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "=HYPERLINK(1)",
    "＝1+1",
    "-",
    "+49 170 12",
]
NUMBERS = ["-5", "+1", "-0.5", "-1,234.5", "+2e10", "-3 %", "-.5", "12"]
PLAIN = ["", "text", "a=b", "'=1", " =1", "–5", "1-2"]


def written(frame: pl.DataFrame) -> list[list[str]]:
    """The cells of the CSV that is made of a frame, names first."""
    return list(csv.reader(io.StringIO(_harmless(frame).write_csv(), newline="")))


def test_formulas_become_text_and_numbers_stay() -> None:
    """An apostrophe before formulas; numbers as text or as numbers, and all other texts, are untouched."""
    cells = [*FORMULAS, *NUMBERS, *PLAIN]
    frame = pl.DataFrame({"cell": cells, "number": [-1.5] * len(cells), "whole": [-7] * len(cells)})
    _, *rows = written(frame)
    assert [row[0] for row in rows] == [*(f"'{cell}" for cell in FORMULAS), *NUMBERS, *PLAIN]
    assert {tuple(row[1:]) for row in rows} == {("-1.5", "-7")}


def test_names_of_columns_are_made_harmless_too() -> None:
    """A header is a cell like any other."""
    frame = pl.DataFrame({"=cmd": ["a"], "plain": ["b"], "^a$": ["=c"], "*": ["d"]})
    assert written(frame) == [["'=cmd", "plain", "^a$", "*"], ["a", "b", "'=c", "d"]]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=20))
def test_no_text_begins_as_a_formula(cells: list[str]) -> None:
    """Whatever the cells, none is left that begins so, unless it is a number; the text after the mark is the cell."""
    out = _harmless(pl.DataFrame({"cell": cells}))["cell"].fill_null("").to_list()
    for cell, shown in zip(_unquoted(pl.DataFrame({"cell": cells}))["cell"].fill_null("").to_list(), out, strict=True):
        assert shown in (cell, f"'{cell}")
        assert not shown.startswith(FORMULA) or shown.strip("+- %").replace(".", "").replace(",", "")[:1].isdigit()


def test_a_run_writes_harmless_output_on_request(tmp_path: Path) -> None:
    """Rows, answers of models and columns are written so, when asked for; the table itself is never touched."""
    (tmp_path / "t.csv").write_text('text,n\n"=1+1",-5\nplain,3\n', encoding="utf-8")
    before = (tmp_path / "t.csv").read_bytes()
    task = smart.Task("Say it: {text}", answer="text")
    models = {"reference": "fake:big?in=1&out=1", "candidates": [], "procedure": "reference-only"}
    given = {"providers": {"fake:big": smart.FakeProvider(lambda r: "=" + r.prompt[8:])}, **models}
    smart.run(tmp_path / "t.csv", task, output=tmp_path / "safe.csv", safe_csv=True, **given)
    smart.run(tmp_path / "t.csv", task, output=tmp_path / "raw.csv", **given)
    safe, raw = (
        list(csv.reader(io.StringIO((tmp_path / f"{name}.csv").read_text("utf-8")))) for name in ("safe", "raw")
    )
    assert [row[:3] for row in safe[1:]] == [["'=1+1", "-5", "'==1+1"], ["plain", "3", "'=plain"]]
    assert [row[:3] for row in raw[1:]] == [["=1+1", "-5", "==1+1"], ["plain", "3", "=plain"]]
    assert (tmp_path / "t.csv").read_bytes() == before


@pytest.mark.parametrize("output", [None, "out.jsonl", "out.parquet"])
def test_safe_csv_without_csv_is_a_mistake(tmp_path: Path, output: str | None) -> None:
    """Where there is no CSV to make safe, the option is refused before anything is spent."""
    place = tmp_path / output if output else None
    with pytest.raises(smart.InputError, match="safe_csv=True"):
        smart.run(
            [{"text": "a"}],
            smart.Task("{text}", answer="text"),
            reference="fake:big?in=1&out=1",
            candidates=["fake:small?in=1&out=1"],
            output=place,
            safe_csv=True,
        )


def test_large_tables_are_written_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slice by slice comes out as in one piece, the header once."""
    monkeypatch.setattr("smart_llm.tables.writing.SLICE", 2)
    table = tables.open_table([{"a": f"={i}"} for i in range(5)])
    tables.write_harmless(table, ["x"] * 5, ["m"] * 5, ["ok"] * 5, tmp_path / "o.tsv")
    assert (tmp_path / "o.tsv").read_text().splitlines() == [
        "a\tanswer\tanswered_by\tstatus",
        *(f"'={i}\tx\tm\tok" for i in range(5)),
    ]
