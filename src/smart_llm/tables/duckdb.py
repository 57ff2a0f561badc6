"""DuckDB relations: read, kept and given back on the user's own connection.

A relation is a query, and asking it twice may give other rows or another order. So it is asked once: its rows are kept
as a temporary table on the connection they come from, and numbered there. What goes out is a relation over a second
temporary table, with the three columns joined to these numbers inside DuckDB: no value of the user's passes through
another type system. Both tables are in the connection's own temporary space: the user's database gets nothing, also
works read-only, and forgets them when the connection closes.
"""

from __future__ import annotations

import contextlib
import secrets
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smart_llm.errors import InputError
from smart_llm.tables.columns import Column, series_of

if TYPE_CHECKING:
    import polars as pl

AS_TEXT = ("INTERVAL", "UNION", "TIME WITH TIME ZONE", "BIT", "MAP", "UUID", "VARIANT", "GEOMETRY", "BIGNUM")
"""Types that DuckDB itself puts into words: polars knows no such type, or it gets there as something else."""


class Kept:
    """A relation's rows in a temporary table on its connection, dropped when nobody needs it any more.

    base: a relation on that connection which depends on nothing; what is asked through it outlives table and source.
    """

    def __init__(self, relation: Any) -> None:
        self.name = new_name()
        done = relation.query("given", f"CREATE TEMP TABLE {self.name} AS SELECT * FROM given")
        self.base = relation if done is None else done  # before DuckDB 2 nothing was returned, and nothing depended
        weakref.finalize(self, _drop, self.base, self.name)
        self.relation = self.base.query("nothing", f"SELECT * FROM {self.name}")


@dataclass(frozen=True, eq=False)
class Duck:
    """A DuckDB relation."""

    kept: Kept
    limit: int | None = None

    @classmethod
    def of(cls, relation: Any) -> Duck:
        """Ask the relation, once. InputError: it cannot be asked, or could not be given its answers."""
        import duckdb
        import polars as pl

        new = pl.DataFrame({"row": [0]})  # noqa: F841  whether DuckDB will find the answers, before they are paid for
        try:
            relation.query("given", "SELECT row FROM new").fetchall()
            return cls(Kept(relation))
        except duckdb.Error as error:
            if "pyarrow" in str(error):
                raise InputError("a DuckDB relation needs pyarrow: pip install 'smart-llm[frames]'.") from None
            raise InputError(f"the DuckDB relation cannot be read: {error}".splitlines()[0]) from None

    @property
    def names(self) -> list[str]:
        """As they are."""
        return list(self.kept.relation.columns)

    def texts(self) -> pl.DataFrame:
        """Through Arrow."""
        import polars as pl

        kinds = zip(self.names, map(str, self.kept.relation.types), strict=True)
        cells = ", ".join(_cell(name, kind) for name, kind in kinds)
        limit = "" if self.limit is None else f"LIMIT {self.limit}"
        query = f"SELECT {cells} FROM {self.kept.name} ORDER BY rowid {limit}"
        return pl.DataFrame(self.kept.base.query("nothing", query))

    def head(self, rows: int) -> Duck:
        """The first rows."""
        return Duck(self.kept, rows)

    def plus(self, added: Mapping[str, Column]) -> Any:
        """A relation on the same connection."""
        import polars as pl

        kept, name = self.kept, new_name()
        numbers = pl.Series("row", range(len(next(iter(added.values()), ()))), dtype=pl.Int64)
        new = pl.DataFrame([numbers, *series_of(added)])  # noqa: F841  DuckDB finds it by its name
        columns = ", ".join(["k.*", *(f"a.{quoted(column)}" for column in added)])
        kept.base.query(
            "nothing",
            f"CREATE TEMP TABLE {name} AS SELECT {columns} FROM {kept.name} k JOIN new a ON k.rowid = a.row "
            "ORDER BY k.rowid",
        )
        return kept.base.query("nothing", f"SELECT * FROM {name}")


def _cell(name: str, kind: str) -> str:
    column = quoted(name)
    return f"CAST({column} AS VARCHAR) AS {column}" if any(each in kind for each in AS_TEXT) else column


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def new_name() -> str:
    """Of a temporary table, one that nobody else has."""
    return f"smart_{secrets.token_hex(6)}"


def _drop(relation: Any, name: str) -> None:
    with contextlib.suppress(Exception):  # the connection may be closed by now, and the table gone with it
        relation.query("nothing", f"DROP TABLE IF EXISTS {name}")
