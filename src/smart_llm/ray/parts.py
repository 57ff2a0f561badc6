"""Partitions: which rows they are, what settling one brought, and the folder where that is kept.

The account of a partition is a small frame with one line a row: who answered, the error if there is one, what each
distinct request cost (at the first row that made it), and the answer where the driver is to write it; with its first
line, which requests failed, and what calls cost that rows share, also rows of other partitions. The driver keeps it as
a Parquet file, then adds a line to `manifest.jsonl`: (number, first and last position, rows, hash of what is
delivered). What has its line is finished.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smart_llm.engine.layout import Layout
from smart_llm.engine.live import Live
from smart_llm.engine.ways import Way
from smart_llm.files import private, whole
from smart_llm.ledger import canonical, tagged
from smart_llm.ledger.aside import Aside
from smart_llm.routing import Routing
from smart_llm.stats.sampling import uniforms
from smart_llm.tables import ADDED, Column, Table
from smart_llm.tables.output_folder import part_name
from smart_llm.types import Cascade, Ints, Json, Model, Request

if TYPE_CHECKING:
    import polars as pl

    from smart_llm.providers.base import Provider
    from smart_llm.ray.governor import Failure
    from smart_llm.tables.output_folder import Folder
    from smart_llm.tasks import Task


class Source(Protocol):
    """Where the rows of a partition come from."""

    async def read(self) -> Table:
        """The rows, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Rows first … first + rows − 1 of the table."""

    number: int
    first: int
    rows: int
    source: Source

    @property
    def name(self) -> str:
        """What its files are called."""
        return part_name(self.number)


@dataclass(frozen=True, eq=False)
class Orders:
    """What every worker needs to know, sent once. columns: of the table. cascade, chosen: see `Routing`; repeated: rows
    that ask what another row of the table asks, and their low and high there (none without a cascade). settled: rows
    that were settled before: position → (model, answer, error); back: rows whose answers go back to the driver in any
    case. covered, known, before: see `Live`. failed: requests that are not sent, see `Once`. elsewhere: whether the
    ledger may hold answers of the reference to rows that nobody has asked about in this run. limited: whether there is
    a budget. providers: those the caller brought. output: where whole rows go (None: answers go back to the driver).
    added: what the columns of a run are called (None: as usual). layouts: by candidate asked about several rows in a
    call, which of the table's rows share one; texts: the table's rows, as far as prompts show them, where there is such
    a candidate. learned: the model of a candidate that was taught in the run, as the ledger keeps it."""

    task: Task
    models: tuple[Model, ...]
    columns: tuple[str, ...]
    cascade: Cascade | None
    chosen: NDArray[np.int8]
    repeated: Ints
    low: NDArray[np.uint64]
    high: NDArray[np.uint64]
    seed: int
    aside: Aside
    settled: Mapping[int, tuple[int, str | None, str | None]]
    back: Ints
    covered: Mapping[int, frozenset[str]]
    known: Mapping[str, Request]
    before: int
    elsewhere: bool
    failed: Mapping[str, str]
    parts: tuple[Part, ...]
    run_id: str
    limited: bool
    concurrency: int
    timeout: float
    patience: float
    store_text: bool
    providers: Mapping[str, Provider]
    output: Folder | None
    added: tuple[str, ...] | None
    layouts: Mapping[int, Layout]
    texts: Source | None
    learned: Json

    def routing(self, part: Part) -> Routing:
        """The rule for the rows of one partition."""
        chosen = self.chosen[part.first : part.first + part.rows]
        if self.cascade is None:
            return Routing(None, chosen, self.low, self.high)
        low, high = self._blank(part), self._blank(part)
        here = slice(*np.searchsorted(self.repeated, [part.first, part.first + part.rows]))
        places = self.repeated[here] - part.first
        low[places], high[places] = self.low[here], self.high[here]
        return Routing(self.cascade, chosen, low, high)

    def answers(self, part: Part) -> Ints:
        """The rows of a partition whose answers go back to the driver: all, where it is to write them."""
        rows = np.arange(part.rows)
        return rows if self.output is None else rows[np.isin(rows + part.first, self.back)]

    def ways(self, part: Part, table: Table) -> dict[int, Way]:
        """How candidates are asked that share calls with rows of other partitions. table: what `texts` has read."""
        return {
            number: Way(table, self.task, self.models[number], layout=layout, start=part.first)
            for number, layout in self.layouts.items()
        }

    def _blank(self, part: Part) -> NDArray[np.uint64]:
        """The rows' blank scores: those of the whole table, made for these rows only."""
        before, after = np.searchsorted(self.aside.positions, [part.first, part.first + part.rows])
        inside = Aside(part.rows, self.aside.positions[before:after] - part.first)
        own = uniforms(self.seed, "shares", len(inside.population), start=part.first - int(before))
        return inside.spread(own)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a partition. account: Parquet. stopped: why it is not finished (then there is no account)."""

    number: int
    account: bytes = b""
    hash: str = ""
    stopped: Failure | None = None


# --------------------------------------------------------------------------- accounts


def account(live: Live, *, answers: Ints, known: Collection[str] = ()) -> pl.DataFrame:
    """What settling all rows of `live` (one partition) brought. answers: the rows whose answers are in it; known:
    requests that had failed before."""
    import polars as pl

    costs, none = live.account.by_row(), [None] * (live.questions.rows - 1)
    columns: dict[str, Any] = {
        "by": live.rows.by,
        "error": [live.rows.errors.get(row) for row in range(live.questions.rows)],
    }
    columns |= {f"cost {j}": costs[j] for j in range(len(live.models))}
    columns["reference cost"] = live.account.reference
    failed = {key: error for key, error in live.client.failed.items() if key not in known}
    columns["failed"] = [json.dumps(failed), *none]
    columns["calls"] = [json.dumps(live.account.calls), *none]
    if len(answers):
        wanted = {*answers.tolist()}
        columns["answer"] = [live.rows.answers[row] if row in wanted else None for row in range(live.questions.rows)]
    texts: dict[str, type[pl.String]] = {
        name: pl.String for name in ("error", "answer", "failed", "calls") if name in columns
    }
    return pl.DataFrame(columns, schema_overrides={**texts})


def take(live: Live, first: int, found: pl.DataFrame) -> None:
    """Book a partition's account in the whole table's `live`, for rows that are not settled yet."""
    live.client.hold(json.loads(found["failed"][0]))
    answers = found["answer"].to_list() if "answer" in found.columns else None
    live.rows.take(first, found["by"].to_numpy(), found["error"].to_list(), answers)
    costs = np.array([found[f"cost {j}"].to_numpy() for j in range(len(live.models))])
    live.account.take(first, costs, found["reference cost"].to_numpy(), json.loads(found["calls"][0]))


def added(live: Live, names: Sequence[str] | None) -> dict[str, Column]:
    """The three columns a run adds, so called, of a partition that is settled."""
    by = [live.models[model].name for model in live.rows.by]
    status = [live.rows.errors.get(row, "ok") for row in range(live.questions.rows)]
    return dict(zip(names or ADDED, (list(live.rows.answers), by, status), strict=True))


# --------------------------------------------------------------------------- the folder


class Finished:
    """The finished partitions of one run, in a folder beside its ledger. geometry: all that decides what a partition
    is and what it is delivered; a folder of another geometry is of no use and is emptied."""

    def __init__(self, folder: Path, geometry: Json) -> None:
        self.folder, self._key = folder, tagged(canonical(geometry))
        self._manifest = folder / "manifest.jsonl"
        if self._first() != {"geometry": self._key}:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
            self._append({"geometry": self._key})

    def entries(self) -> list[dict[str, Json]]:
        """The lines of the manifest, one per finished partition, by number."""
        lines = self._manifest.read_bytes().splitlines(keepends=True)[1:]
        whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return sorted({line["part"]: line for line in whole}.values(), key=lambda line: int(line["part"]))

    def account(self, number: int) -> pl.DataFrame:
        """The account of a finished partition."""
        import polars as pl

        return pl.read_parquet(self.folder / f"{part_name(number)}.parquet", glob=False)

    def add(self, part: Part, delivered: Delivered) -> None:
        """A partition is finished: durable when this returns."""
        with whole(self.folder / f"{part.name}.parquet", opener=private) as file:
            file.write(delivered.account)
        self._append(
            {
                "part": part.number,
                "first": part.first,
                "last": part.first + part.rows - 1,
                "rows": part.rows,
                "hash": delivered.hash,
            }
        )

    def remove(self) -> None:
        """The run is done and its output written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _first(self) -> Json:
        try:
            with self._manifest.open(encoding="utf-8") as file:
                return json.loads(file.readline())
        except (OSError, ValueError):
            return None

    def _append(self, line: Json) -> None:
        """One line; what a crash left of a line before is cut off first."""
        with open(self._manifest, "a+b", opener=private) as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
