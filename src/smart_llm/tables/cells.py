"""Cells as text, and the hashes of rows of them.

Texts are as they are, missing values are "", then true/false, ISO dates, numbers as polars writes them, nested values
as JSON, bytes in hexadecimal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smart_llm.types import Ints

if TYPE_CHECKING:
    import polars as pl


def hash_of(columns: Mapping[str, Sequence[str | None]]) -> str:
    """`b2:…` of columns of text, cell by cell and row by row."""
    import polars as pl

    frame = pl.DataFrame([pl.Series(name, list(cells), dtype=pl.String) for name, cells in columns.items()])
    return f"b2:{hashlib.blake2b(digests(frame).tobytes(), digest_size=16).hexdigest()}"


def select(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """These columns, by name and not by pattern (see `column_text`)."""
    return frame.select([frame[name] for name in names])


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The same cells as text; missing ones are ""."""
    import polars as pl

    return pl.DataFrame([column_text(column) for column in frame.iter_columns()])


def column_text(column: pl.Series) -> pl.Series:
    """One column as text, without nulls."""
    import polars as pl

    name, column = column.name, column.alias("cell")  # polars would read a name such as "*" or "^a$" as a pattern
    kind = column.dtype
    if isinstance(kind, pl.datatypes.BaseExtension):
        return column_text(column.ext.storage()).alias(name)
    if kind.is_nested() or kind == pl.Object:
        texts = [value_text(value) for value in column.to_list()]
        return pl.Series(name, texts, dtype=pl.String)
    if kind == pl.Binary:
        column = column.bin.encode("hex")
    elif kind == pl.Duration:
        column = column.dt.to_string("iso")
    return column.cast(pl.String).fill_null("").alias(name)


def value_text(value: Any) -> str:
    """One Python value as the text of a cell."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, np.floating) and not isinstance(value, float):
        return str(value)  # as short as a float32 can be written, not as a float64 shows it
    return json.dumps(value, ensure_ascii=False, default=_foreign) if _is_json(value) else str(_foreign(value))


def _is_json(value: Any) -> bool:
    return isinstance(value, bool | int | float | dict | list | tuple)


def _foreign(value: Any) -> Any:
    """What JSON has no form for: arrays as lists, bytes in hexadecimal, the rest (dates, decimals) as its text."""
    if isinstance(value, bytes):
        return value.hex()
    return value.tolist() if hasattr(value, "tolist") else str(value)


Digests = NDArray[np.uint64]
"""Shape (n, 2): 128 bits a row."""


def digests(frame: pl.DataFrame) -> Digests:
    """Each row's hash."""
    return _hashed(_encoded(frame))


def text_digests(frame: pl.DataFrame, fields: Sequence[str], literals: Sequence[str]) -> Digests:
    """The hash of each row's cells in these fields, with these texts around them."""
    import polars as pl

    texts = as_text(frame)
    places = {name: str(place) for place, name in enumerate(texts.columns)}
    texts.columns = list(places.values())  # see `column_text`
    between = [(pl.col(places[field]), pl.lit(text)) for field, text in zip(fields, literals[1:], strict=True)]
    joined = pl.concat_str([pl.lit(literals[0]), *(part for pair in between for part in pair)])
    return _hashed(texts.select(joined).to_series().to_list())


def _hashed(rows: Sequence[str]) -> Digests:
    hash_ = hashlib.blake2b
    data = b"".join([hash_(row.encode(), digest_size=16).digest() for row in rows])
    return np.frombuffer(data, "<u8").reshape(-1, 2)


def numbered(digests: Digests) -> Ints:
    """shape (n,): equal digests have the same number, numbered from 0 by first appearance."""
    if not len(digests):
        return np.empty(0, np.int64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: within equal ones the first comes first
    new = np.r_[True, (digests[order[1:]] != digests[order[:-1]]).any(axis=1)]
    first = order[new]
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = rank[np.cumsum(new) - 1]
    return numbers


def _encoded(frame: pl.DataFrame) -> list[str]:
    """Each row as one text that no other row of cells gives: every cell after its length in bytes."""
    import polars as pl

    texts = as_text(frame)
    texts.columns = [str(i) for i in range(texts.width)]  # see `column_text`
    parts = [part for name in texts.columns for part in (_length(name), pl.lit(":"), pl.col(name))]
    return texts.select(pl.concat_str(parts)).to_series().to_list() if parts else []


def _length(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).str.len_bytes().cast(pl.String)
