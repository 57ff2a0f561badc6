"""Frames in memory: the same kind out, with nothing of the user's changed."""

import subprocess
import sys
from datetime import date
from typing import Any

import polars as pl
import pytest

from smart_llm.errors import InputError
from smart_llm.tables import ADDED, from_frame, like_source, open_table

ROWS = [{"text": "x", "n": 1}, {"text": 'a\n"b"', "n": 2}, {"text": "x", "n": 1}]
NEW = (["p", None, "q"], ["m", "", "m"], ["ok", "error: timeout", "ok"])


def test_a_list_of_dicts() -> None:
    """New dicts with three more keys; the given ones are not touched."""
    rows: list[dict[str, Any]] = [{"text": "x", "n": 1}, {"text": None, "m": {"k": True}}, {"n": 2.5}]
    table = from_frame(rows)
    assert list(table.cells(["text", "n", "m"])) == [
        {"text": "x", "n": "1", "m": ""},
        {"text": "", "n": "", "m": '{"k": true}'},
        {"text": "", "n": "2.5", "m": ""},
    ]
    out = like_source(table, *NEW)
    assert out[0] == {"text": "x", "n": 1, "answer": "p", "answered_by": "m", "status": "ok"}
    assert rows[0] == {"text": "x", "n": 1}
    assert len(like_source(table.head(2), *(column[:2] for column in NEW))) == 2


def test_polars_frames() -> None:
    """Eager in, eager out; lazy in, lazy out; types kept."""
    frame = pl.DataFrame(ROWS).with_columns(d=pl.lit(date(2026, 1, 2)))
    out = like_source(from_frame(frame), *NEW)
    assert out.columns == [*frame.columns, *ADDED]
    assert out.select(frame.columns).equals(frame)
    assert out["answer"].to_list() == NEW[0]
    lazy = like_source(from_frame(frame.lazy()), *NEW)
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().equals(out)
    assert like_source(from_frame(frame).head(1), ["p"], ["m"], ["ok"]).height == 1


def test_pandas_keeps_its_index() -> None:
    """pandas in, pandas out: index (with repeats), types and odd column names stay."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": ["x", None, 3], "n": [1, 2, 3], 7: [0.5, float("nan"), 1e-7]}, index=["k", "j", "k"])
    before = frame.copy()
    table = from_frame(frame)
    assert list(table.cells(["text", "n", "7"])) == [
        {"text": "x", "n": "1", "7": "0.5"},
        {"text": "", "n": "2", "7": ""},
        {"text": "3", "n": "3", "7": "1e-07"},
    ]
    out = like_source(table, *NEW)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(out[list(frame.columns)], frame)
    assert list(out.columns) == [*frame.columns, *ADDED]
    assert list(out["status"]) == NEW[2]
    assert out["answer"].isna().tolist() == [False, True, False]
    assert list(like_source(table.head(1), ["p"], ["m"], ["ok"]).index) == ["k"]


def test_pandas_with_a_column_twice() -> None:
    """Two columns of one name are an input error."""
    pd = pytest.importorskip("pandas")
    with pytest.raises(InputError, match="more than once"):
        from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_arrow_tables() -> None:
    """Arrow in, Arrow out, schema kept."""
    pa = pytest.importorskip("pyarrow")
    frame = pa.Table.from_pylist(ROWS)
    out = like_source(from_frame(frame), *NEW)
    assert isinstance(out, pa.Table)
    assert out.select(frame.column_names).equals(frame)
    assert out.column("answer").to_pylist() == NEW[0]
    assert like_source(from_frame(frame).head(1), ["p"], ["m"], ["ok"]).num_rows == 1


class Stream:
    """Something that only knows the Arrow PyCapsule interface."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def test_anything_that_streams_arrow() -> None:
    """Whatever speaks the PyCapsule interface is read; a polars frame comes back."""
    out = like_source(from_frame(Stream(pl.DataFrame(ROWS))), *NEW)
    assert isinstance(out, pl.DataFrame)
    assert out["text"].to_list() == [row["text"] for row in ROWS]


@pytest.mark.parametrize("thing", [3, None, {"a": [1]}, [1, 2], [{1: "a"}], [{"a": "\ud800"}]])
def test_other_things_are_refused(thing: object) -> None:
    """What is no table is an input error that says what is."""
    with pytest.raises(InputError):
        from_frame(thing)


def test_a_frame_with_an_added_column_is_refused() -> None:
    """The three columns must be free in frames too."""
    with pytest.raises(InputError, match="status"):
        open_table([{"a": "x", "status": "y"}])


def test_no_rows() -> None:
    """Empty frames are read and given back."""
    assert like_source(from_frame([]), [], [], []) == []
    empty = pl.DataFrame(schema={"a": pl.String})
    assert like_source(from_frame(empty), [], [], []).columns == ["a", *ADDED]
    assert from_frame(empty).table_hash.startswith("b2:")
    assert from_frame(empty).groups(["a"]).shape == (0,)


def test_importing_tables_is_cheap() -> None:
    """polars, pandas and narwhals stay out until a table is read: the command line must start fast."""
    slow = {"polars", "pandas", "narwhals", "jsonschema"}
    code = f"import sys, smart_llm.tables, smart_llm.tasks; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
