"""Every kind of table comes back as it came: values, row order, types and index of the user's own columns."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import polars.testing
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from smart_llm.errors import InputError
from smart_llm.tables import ADDED, Table, from_frame, like_source

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")

FEW = settings(max_examples=40)


def answers(rows: int) -> tuple[list[str | None], list[str], list[str]]:
    """Another answer for every row, none for some."""
    return [None if i % 5 == 3 else f"a{i}" for i in range(rows)], ["m"] * rows, ["ok"] * rows


def back(table: Table) -> Any:
    """What the user gets."""
    assert len(list(table.cells(table.columns))) == table.rows
    return like_source(table, *answers(table.rows))


# --------------------------------------------------------------------------- pandas

INDICES = (
    lambda n: pd.RangeIndex(5, 5 + 2 * n, 2, name="every other"),
    lambda n: pd.Index([i // 2 for i in range(n)]),  # duplicates
    lambda n: pd.Index([f"k{n - i}" for i in range(n)], name="key"),
    lambda n: pd.MultiIndex.from_arrays([[i // 2 for i in range(n)], list(map(str, range(n)))], names=["a", None]),
    lambda n: pd.date_range("2026-01-01", periods=n, freq="D", tz="Europe/Berlin"),
    lambda n: pd.CategoricalIndex(["x", "y", "x", "z"][:n] + ["y"] * (n - 4), ordered=True),
    lambda n: pd.IntervalIndex.from_breaks(range(n + 1)),
    lambda n: pd.PeriodIndex(["2026-01"] * n, freq="M"),
    lambda n: pd.Index([None, float("nan"), 3, "x"][:n] + [(1, 2)] * (n - 4), dtype=object, tupleize_cols=False),
    lambda n: pd.timedelta_range("1s", periods=n),
)
COLUMNS = (
    lambda n: pd.Series([i * 7 % 5 for i in range(n)], dtype="int64"),
    lambda n: pd.Series([None if i % 2 else i for i in range(n)], dtype="Int8"),
    lambda n: pd.Series([None if i % 3 else True for i in range(n)], dtype="boolean"),
    lambda n: pd.Series([0.1, float("nan"), float("inf")] * n).head(n),
    lambda n: pd.Categorical(["lo", None, "hi"] * n, categories=["lo", "mid", "hi"], ordered=True)[:n],
    lambda n: pd.Series(pd.date_range("2026-03-28", periods=n, freq="h", tz="Europe/Berlin")),
    lambda n: pd.Series([pd.NaT, pd.Timestamp("1999-01-01")] * n).head(n),
    lambda n: pd.Series(pd.timedelta_range("1ms", periods=n)),
    lambda n: pd.Series([Decimal("1.50"), None, b"\x00", [1, {"a": 2}], "x", date(2026, 1, 1)] * n, dtype=object)[:n],
    lambda n: pd.Series([[i] for i in range(n)], dtype=object),
    lambda n: pd.Series(["a", None, "ü\n"] * n, dtype="string").head(n),
    lambda n: pd.Series(pd.arrays.SparseArray([0, 0, 1] * n))[:n],
    lambda n: pd.Series(pd.period_range("2026-01", periods=n, freq="M")),
    lambda n: pd.Series(pd.interval_range(0, n)),
    lambda n: pd.Series([Decimal("1.5")] * n, dtype=pd.ArrowDtype(pa.decimal128(10, 2))),
    lambda n: pd.Series([{"a": 1}] * n, dtype=pd.ArrowDtype(pa.struct([("a", pa.int8())]))),
    lambda n: pd.Series([1 + 2j] * n),
)
NAMES = st.one_of(st.integers(-3, 3), st.text(max_size=3), st.floats(0, 1), st.just((1, "a")), st.dates())


@st.composite
def pandas_frames(draw: st.DrawFn) -> Any:
    """A frame with an odd index, odd column names and odd types."""
    rows = draw(st.integers(0, 7))
    makers = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=5))
    names = draw(
        st.lists(NAMES, min_size=len(makers), max_size=len(makers), unique_by=str).filter(
            lambda names: not {str(name) for name in names} & set(ADDED)
        )
    )
    frame = pd.concat([pd.Series(make(rows)).reset_index(drop=True) for make in makers], axis=1)
    frame.columns = pd.Index(names, dtype=object, tupleize_cols=False)
    frame.index = draw(st.sampled_from(INDICES))(rows)[:rows]
    frame.attrs = {"source": "x"}
    return frame


@FEW
@given(pandas_frames())
def test_pandas(frame: Any) -> None:
    """Index, columns, their names and types are the very same; the given frame is not changed."""
    before = frame.copy()
    out = back(from_frame(frame))
    pd.testing.assert_frame_equal(frame, before)
    own = out.iloc[:, : frame.shape[1]]
    pd.testing.assert_frame_equal(own, frame, check_column_type=False, check_flags=True)
    assert list(out.columns) == [*frame.columns, *ADDED]
    assert out.index.identical(frame.index)
    assert out.attrs == frame.attrs
    assert [None if pd.isna(value) else value for value in out["answer"]] == answers(len(frame))[0]
    assert out["answer"].dtype == pd.Series([""]).dtype


def test_pandas_columns_of_other_kinds() -> None:
    """Names that are categories or dates make room for three more; several levels of names are told to be flattened."""
    frame = pd.DataFrame([["x", 1]], columns=pd.CategoricalIndex(["text", "n"]))
    assert list(back(from_frame(frame)).columns) == ["text", "n", *ADDED]
    assert isinstance(frame.columns, pd.CategoricalIndex)
    dates = pd.DataFrame([["x", 1]], columns=pd.date_range("2026-01-01", periods=2))
    assert list(back(from_frame(dates)).columns) == [*dates.columns, *ADDED]
    with pytest.raises(InputError, match="flatten"):
        from_frame(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])))


def test_a_class_of_its_own_stays() -> None:
    """A subclass of DataFrame comes back as one (GeoPandas and others)."""

    class Mine(pd.DataFrame):  # type: ignore[misc]
        @property
        def _constructor(self) -> Any:
            return Mine

    assert isinstance(back(from_frame(Mine({"text": ["x"]}))), Mine)


# --------------------------------------------------------------------------- polars


@FEW
@given(dataframes(max_cols=5, max_size=7, excluded_dtypes=[pl.Object]), st.booleans())
def test_polars(frame: pl.DataFrame, lazy: bool) -> None:
    """Every type polars has; lazy frames come back lazy."""
    out = back(from_frame(frame.lazy() if lazy else frame))
    assert isinstance(out, pl.LazyFrame if lazy else pl.DataFrame)
    out = out.lazy().collect()
    assert out.schema == pl.Schema({**frame.schema, **dict.fromkeys(ADDED, pl.String)})
    polars.testing.assert_frame_equal(out.select(pl.nth(range(frame.width))), frame, categorical_as_str=False)
    assert out["answer"].to_list() == answers(frame.height)[0]


def test_polars_objects() -> None:
    """Python objects in polars are the same objects afterwards."""
    thing = object()
    out = back(from_frame(pl.DataFrame({"text": ["x"], "o": pl.Series([thing], dtype=pl.Object)})))
    assert out["o"].to_list() == [thing]


# --------------------------------------------------------------------------- Arrow

ARROW = (
    pa.array([1, None, 3], pa.int8()),
    pa.array(["a", None, "a"]).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int8()), pa.array([5, 6], pa.int64()), ordered=True),
    pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
    pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal256(60, 2)),
    pa.array([datetime(2026, 1, 1, tzinfo=timezone.utc), None, None], pa.timestamp("us", "Europe/Berlin")),  # noqa: UP017
    pa.array([timedelta(seconds=1), None, None], pa.duration("ns")),
    pa.array([[1], None, []], pa.list_(pa.int32())),
    pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
    pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int32())),
    pa.array(
        [{"a": 1, "b": [None]}, None, {"a": None, "b": []}], pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))])
    ),
    pa.array([b"\x00", None, b""], pa.large_binary()),
    pa.array([b"\x00", None, b"x"], pa.binary(1)),
    pa.array([(1, 2, 3), None, (0, 0, 1)], pa.month_day_nano_interval()),
    pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1, 2]), pa.array(["x"])]
    ),
    pa.RunEndEncodedArray.from_arrays([2, 3], ["x", "y"]),
    pa.nulls(3),
    pa.array([1.5, None, float("nan")], pa.float16()),
    pa.array(["x", None, "y"], pa.string_view()),
    pa.array([date(2026, 1, 1), None, None], pa.date64()),
)


@st.composite
def arrow_tables(draw: st.DrawFn) -> Any:
    """A table of odd types, in pieces, with metadata."""
    columns = draw(st.lists(st.sampled_from(ARROW), min_size=1, max_size=6))
    names = [f"c{i}" for i in range(len(columns))]
    fields = [pa.field(name, column.type, metadata={"k": name}) for name, column in zip(names, columns, strict=True)]
    part = pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata={"made": "here"}))
    return pa.concat_tables([part] * draw(st.integers(1, 2))).slice(draw(st.integers(0, 3)))


@FEW
@given(arrow_tables())
def test_arrow(table: Any) -> None:
    """The very columns, types, pieces and metadata."""
    out = back(from_frame(table))
    assert out.select(table.column_names).schema.equals(table.schema, check_metadata=True)
    for name in table.column_names:
        assert str(out[name].to_pylist()) == str(table[name].to_pylist())  # as texts: nan is not itself
        assert out[name].num_chunks == table[name].num_chunks
    assert out.column_names == [*table.column_names, *ADDED]
    assert out["answer"].to_pylist() == answers(table.num_rows)[0]


def test_arrow_batches() -> None:
    """A record batch comes back as one; a reader as a reader, although it is read but once."""
    batch = pa.RecordBatch.from_pydict({"text": ["x", "y"]})
    out = back(from_frame(batch))
    assert isinstance(out, pa.RecordBatch)
    assert out.select(["text"]).equals(batch)
    reader = pa.Table.from_batches([batch, batch]).to_reader()
    out = back(from_frame(reader))
    assert isinstance(out, pa.RecordBatchReader)
    assert out.read_all().select(["text"]).equals(pa.Table.from_batches([batch, batch]))


# --------------------------------------------------------------------------- DuckDB

SQL = (
    *("i", "i::HUGEINT", "i::UTINYINT", "i / 3", "i::DECIMAL(12, 4)", "i % 2 = 0", "'text ' || i", "NULL::INTEGER"),
    *("uuid()", "random()", "to_days(i::INTEGER)", "['a', NULL]", "[1, i]::INTEGER[2]", "{'a': i, 'b': [to_days(1)]}"),
    *(
        "map {'k': i}",
        "'b'::ENUM('a', 'b')",
        "'12:00:00+01'::TIMETZ",
        "'101'::BIT",
        "'x'::BLOB",
        "now()",
        "union_value(n := i)",
    ),
    *("'2026-01-01'::DATE", "'2026-01-01 10:00:00.000000001'::TIMESTAMP_NS", "'{\"a\": 1}'::JSON", "'10:00'::TIME"),
)


@FEW
@given(
    st.lists(st.sampled_from(SQL), min_size=1, max_size=6),
    st.integers(0, 9),
    st.sampled_from(["i", "i DESC", "hash(i)", "i % 3, i"]),
)
def test_duckdb(columns: list[str], rows: int, order: str) -> None:
    """Types, values and order, also of columns that are drawn anew whenever the relation is asked."""
    with duckdb.connect() as connection:
        picked = ", ".join(f'{column} AS "c{i} {{x}}"' for i, column in enumerate(columns))
        relation = connection.sql(f"SELECT {picked} FROM range({rows}) t(i) ORDER BY {order}")
        table = from_frame(relation)
        out = back(table)
        assert isinstance(out, duckdb.DuckDBPyRelation)
        assert out.columns == [*relation.columns, *ADDED]
        assert list(map(str, out.types[: len(columns)])) == list(map(str, relation.types))
        found, asked_again = out.fetchall(), relation.fetchall()
        for i, column in enumerate(columns):
            if column not in ("uuid()", "random()", "now()"):
                assert [str(row[i]) for row in found] == [str(row[i]) for row in asked_again]
        assert [row[len(columns)] for row in found] == answers(rows)[0]
        asked = list(table.cells(table.columns))
        for i, column in enumerate(columns):
            if column == "uuid()":  # what is delivered is what the models were asked about
                assert [str(row[i]) for row in found] == [cells[table.columns[i]] for cells in asked]


def test_duckdb_stays_on_the_users_connection() -> None:
    """One goes on querying there, also when source and our copy are gone; the user's database gets nothing."""
    with duckdb.connect() as connection:
        connection.sql("CREATE TABLE source AS SELECT 'x' || range AS text FROM range(4)")
        table = from_frame(connection.table("source"))
        out = back(table)  # noqa: F841  DuckDB finds it by its name
        del table
        gc.collect()
        connection.sql("DROP TABLE source")
        assert connection.sql("SELECT text, answer FROM out WHERE answer = 'a2'").fetchall() == [("x2", "a2")]
        tables = connection.sql("SELECT temporary FROM duckdb_tables()").fetchall()
        assert tables == [(True,)]


def test_duckdb_head_and_errors() -> None:
    """The first rows alone; what cannot be asked, or could not be given answers, is told before anything is spent."""
    with duckdb.connect() as connection:
        relation = connection.sql("SELECT 'x' AS text FROM range(5)")
        assert len(back(from_frame(relation).head(2)).fetchall()) == 2
        with pytest.raises(InputError, match="DuckDB"):
            from_frame(connection.sql("SELECT error('no') AS text FROM range(2)"))
        connection.execute("SET python_enable_replacements = false")
        with pytest.raises(InputError, match="DuckDB"):
            from_frame(relation)


# --------------------------------------------------------------------------- dicts, and other things


@FEW
@given(
    st.lists(
        st.dictionaries(
            st.text("abc", max_size=2), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.floats()))
        )
    )
)
def test_dicts(rows: list[dict[str, Any]]) -> None:
    """Each dict gets three keys more; keys it did not have it still has not. Values are the very objects."""
    assume(not rows or any(rows))
    out = back(from_frame(rows))
    for old, new in zip(rows, out, strict=True):
        assert list(new) == [*old, *ADDED]
        assert all(new[name] is old[name] for name in old)


def test_iterators_of_dicts() -> None:
    """A generator is read once, and a list of dicts comes back."""

    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "x"}
        yield {"text": "y"}

    assert [row["text"] for row in back(from_frame(rows()))] == ["x", "y"]


@pytest.mark.parametrize("module", ["ibis.expr.types", "pyspark.sql.dataframe", "dask.dataframe", "modin.pandas"])
def test_tables_of_other_libraries(module: str) -> None:
    """Frames that live elsewhere are refused, with the call that makes one of ours."""
    kind = type("Table", (), {"__module__": module, "__arrow_c_stream__": None})
    with pytest.raises(InputError, match=r"give \w+\."):
        from_frame(kind())
