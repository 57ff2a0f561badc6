"""Keys that stand twice in one JSON object: the last one counts, as in most programs, and it is said."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

MOST = 64
"""Columns that are looked for; wider tables are written by programs that know what they do."""


def doubtful(names: list[str]) -> pl.Expr:
    """Of a column `line`: whether one of these keys may stand in an object twice. (It may be a key of an object inside
    it.)"""
    import polars as pl

    keys = [re.escape(json.dumps(name, ensure_ascii=False)) for name in names[:MOST]]
    return pl.any_horizontal([pl.lit(value=False), *(pl.col("line").str.count_matches(f"{k}\\s*:") > 1 for k in keys)])


def single(lines: pl.Series, names: list[str]) -> tuple[pl.Series, str | None]:
    """The lines with every key once, and a sentence where one was there twice."""
    import polars as pl

    places = lines.to_frame("line").select(doubtful(names)).to_series().arg_true().to_list()
    found: list[tuple[int, str, str]] = []
    for place in places:
        try:
            pairs: list[tuple[str, Any]] = json.loads(lines[place], object_pairs_hook=list)
        except (ValueError, RecursionError):
            continue  # its reader says what is wrong with it
        keys = [key for key, _ in pairs]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            found.append((place, twice, json.dumps(json.loads(lines[place]), ensure_ascii=False)))
    if not found:
        return lines, None
    place, key, _ = found[0]
    new = pl.Series(lines.name, [text for *_, text in found], dtype=pl.String)
    more = f", and so in {len(found) - 1:,} rows more" if len(found) > 1 else ""
    note = f"row {place + 1:,} has the key {key!r} twice{more}: the last one counts."
    once = lines.clone()  # scatter changes the series it is called on
    return once.scatter([place for place, *_ in found], new), note
