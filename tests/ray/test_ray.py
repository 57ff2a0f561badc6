"""Delivery on Ray: the rows, answers and certificate of one process. One small cluster for all tests here."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import smart_llm as smart
from smart_llm.ray.cluster import started

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'smart-llm[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

ROWS = 700


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Two CPUs on this machine."""
    started(
        num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False, namespace="smart-llm"
    )
    yield
    ray.shutdown()


class Says:
    """The label a prompt has, or, for a share of prompts, the other one."""

    def __init__(self, share: float, broken: str = "") -> None:
        self.share, self.broken = share, broken

    def __call__(self, request: smart.Request) -> Any:
        """The answer; no prompt with `broken` in it gets one."""
        if self.broken and self.broken in request.prompt:
            return smart.Refused("not this one", row_only=True)
        digest = blake2b(request.prompt.encode(), digest_size=2).digest()
        return "ab"[(digest[0] + (digest[1] / 256 >= self.share)) % 2]


def run(table: Any, ledger: Path, engine: str, **options: Any) -> smart.Run[Any]:
    """A run of two stand-ins with a fixed seed."""
    given = {
        "fake:ref": smart.FakeProvider(Says(1.0, "text 13.")),
        "fake:mini": smart.FakeProvider(Says(0.99, "text 13.")),
    }
    if engine == "ray":
        options = {"workers": 2, "partition": 200, **options}
    return smart.run(
        table,
        options.pop("task", smart.Task("Which? {text}", labels=["a", "b"])),
        reference="fake:ref?in=1&out=2",
        candidates=["fake:mini?in=0.1&out=0.2"],
        agreement=0.9,
        seed=3,
        ledger=ledger,
        engine=engine,
        providers=options.pop("providers", given),
        **options,
    )


def rows() -> list[dict[str, str]]:
    """Rows with repeats, one of which never gets an answer."""
    return [{"id": str(n), "text": f"text {n % (ROWS - 50)}."} for n in range(ROWS)]


def test_same_as_one_process(tmp_path: Path) -> None:
    """Rows, answers, errors, money and certificate are those of the one-process engine with the same seed."""
    one = run(rows(), tmp_path / "one.db", "local")
    many = run(rows(), tmp_path / "many.db", "ray")
    assert many.table == one.table
    assert sum(row["status"] != "ok" for row in one.table) >= 1
    assert asdict(many.certificate) == asdict(one.certificate)
    assert smart.verify(many.certificate, ledger=tmp_path / "many.db") == []
    assert not (tmp_path / "many.db.parts" / many.run_id).exists()


def by_words(request: smart.Request) -> str:
    """What a word of the review tells; of one row in ten nobody but the reference knows."""
    if "odd" in request.prompt:
        return "ab"[blake2b(request.prompt.encode(), digest_size=1).digest()[0] % 2]
    return "a" if "good" in request.prompt else "b"


def taught(ledger: Path, engine: str, rows: int = 1000, **options: Any) -> smart.Run[Any]:
    """A run whose only candidate is taught in it. Some rows are there twice."""
    words = ("odd", *("good", "bad") * 5)
    table = [{"text": f"{words[n % 980 % 11]} thing {n % 980}"} for n in range(rows)]
    task = smart.Task("Which? {text}", labels=["a", "b"])
    providers = {"fake:ref": smart.FakeProvider(by_words, keep=True)}
    options = {"workers": 2, "partition": 150} | options if engine == "ray" else options
    return smart.run(
        table, task, reference="fake:ref?in=1&out=2", candidates=["learned"], agreement=0.9, seed=3, ledger=ledger,
        engine=engine, providers=providers, progress=False, **options,
    )  # fmt: skip


def test_a_candidate_taught_in_the_run_answers_on_workers(tmp_path: Path) -> None:
    """Workers have the model that the ledger keeps: rows, answers, money and certificate are those of one process, also
    where a budget has stopped the run and it is resumed."""
    pytest.importorskip("sklearn")
    one = taught(tmp_path / "one.db", "local")
    many = taught(tmp_path / "many.db", "ray")
    assert one.certificate.delivered.by["learned"] > 500
    assert many.table == one.table
    assert asdict(many.certificate) == asdict(one.certificate)
    assert smart.verify(many.certificate, ledger=tmp_path / "many.db") == []
    with pytest.raises(smart.SmartError):
        taught(tmp_path / "stopped.db", "ray", budget=0.9 * one.cost)
    resumed = taught(tmp_path / "stopped.db", "ray")
    assert resumed.table == one.table
    assert resumed.certificate.evidence == one.certificate.evidence


def test_a_table_that_grew_is_delivered_as_it_was(tmp_path: Path) -> None:
    """Rows that were there keep their answers and whose they are, in the output's files too, but where the reference
    has answered a row added that asks the same: then both have its answer. All as in one process."""
    pytest.importorskip("sklearn")
    for engine in ("local", "ray"):
        taught(tmp_path / f"{engine}.db", "local")
    one = taught(tmp_path / "local.db", "local", rows=1100)
    taught(tmp_path / "ray.db", "ray", rows=1100, output=tmp_path / "out")
    many = pl.read_parquet(tmp_path / "out" / "*.parquet").select("answer", "answered_by", "status")
    assert one.certificate.plan.grown is not None
    assert many.rows() == [(row["answer"], row["answered_by"], row["status"]) for row in one.table]


def in_a_way(ledger: Path, engine: str, table: Any = None, says: type[Says] = Says, **way: Any) -> smart.Run[Any]:
    """A run whose candidate is asked in a way of its own."""
    given = {"fake:ref": smart.FakeProvider(Says(1.0)), "fake:mini": smart.FakeProvider(says(0.99))}
    mini = smart.Candidate("fake:mini?in=0.1&out=0.2", **way)
    options = {"candidates": [mini], "providers": given, "engine": engine, "ledger": ledger}
    options |= {"workers": 2, "partition": 200} if engine == "ray" else {}
    task = smart.Task("Which? {text}", labels=["a", "b"])
    return smart.run(table or rows(), task, reference="fake:ref?in=1&out=2", agreement=0.9, seed=3, **options)


@pytest.mark.parametrize("way", [{"head": 6}, {"prompt": "Which? {text}", "system": "Be brief.", "tail": 40}])
def test_ways_of_a_candidate_are_those_of_one_process(tmp_path: Path, way: dict[str, Any]) -> None:
    """A prompt of its own and the beginning of a text are asked for by workers as by one process. Rows of different
    partitions that such a way asks alike are paid for once."""
    alike = [{"text": f"{n % 30:04} {n}"} for n in range(ROWS)]
    for number, table in enumerate((rows(), alike)):
        one = in_a_way(tmp_path / f"one{number}.db", "local", table, **way)
        many = in_a_way(tmp_path / f"many{number}.db", "ray", table, **way)
        assert many.table == one.table
        assert many.cost == pytest.approx(one.cost, abs=1e-12)


class Packed(Says):
    """Answers every item of a pack; some packs in words, some items not at all."""

    def __call__(self, request: smart.Request) -> Any:
        """One JSON object."""
        items = re.findall(r"<item (\d+)>\n(.*?)\n</item", request.prompt, re.S)
        digest = blake2b(request.prompt.encode(), digest_size=2).digest()
        if digest[0] < 40 and len(items) > 2:
            return "I would rather not."
        said = {k: super(Packed, self).__call__(replace(request, prompt=f"Which? {text}")) for k, text in items}
        return json.dumps({k: label for k, label in said.items() if digest[1] > 40 or k != "2"})


@pytest.mark.parametrize("pack", [4, 15])
def test_rows_of_different_partitions_share_a_call(tmp_path: Path, pack: int) -> None:
    """Packs are those of one process, whatever partitions their rows lie in: the same answers, money and certificate;
    each call is in the ledger once, and nothing was paid for besides."""
    one = in_a_way(tmp_path / "one.db", "local", says=Packed, pack=pack)
    many = in_a_way(tmp_path / "many.db", "ray", says=Packed, pack=pack)
    assert many.table == one.table
    assert {row["answered_by"] for row in one.table} == {"fake:ref", f"fake:mini?pack={pack}"}
    assert asdict(many.certificate) == asdict(one.certificate)
    assert smart.verify(many.certificate, ledger=tmp_path / "many.db") == []
    keys, paid = zip(*(bought(tmp_path / name) for name in ("one.db", "many.db")), strict=True)
    assert keys[0] == keys[1]
    assert many.cost == pytest.approx(sum(paid[1]), abs=1e-12)


def bought(ledger: Path) -> tuple[list[str], list[float]]:
    """The keys of all answers in a ledger, and what calls have cost."""
    with closing(sqlite3.connect(ledger)) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM answers ORDER BY key")]
        return keys, [cost for (cost,) in db.execute("SELECT cost FROM answers")]


def test_folder_in_folder_out(tmp_path: Path) -> None:
    """A folder of files is delivered as a folder of files with a manifest, row for row what one file would be."""
    source, frame = tmp_path / "in", pl.DataFrame(rows())
    source.mkdir()
    for number in range(4):
        frame.slice(number * 200, 200).write_parquet(source / f"{number}.parquet")
    one = run(source, tmp_path / "one.db", "local", output=tmp_path / "one.parquet")
    many = run(source, tmp_path / "many.db", "ray", output=tmp_path / "out")
    files = sorted((tmp_path / "out").glob("part-*.parquet"))
    assert pl.concat([pl.read_parquet(file) for file in files]).equals(pl.read_parquet(one.table))
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert [(part["file"], part["first"], part["rows"]) for part in manifest["parts"]] == [
        (f"part-{n:05}.parquet", n * 200, min(200, ROWS - n * 200)) for n in range(4)
    ]
    assert asdict(many.certificate) == asdict(one.certificate)
    assert json.loads((tmp_path / "out.certificate.json").read_text())["status"] == one.certificate.status


class FailsOnce(Says):
    """The first call about some prompts fails for good, in whatever process it is made; the next one is answered."""

    def __init__(self, share: float, folder: Path) -> None:
        super().__init__(share)
        self.folder = folder

    def __call__(self, request: smart.Request) -> Any:
        """A file per prompt that failed once."""
        digest = blake2b(request.prompt.encode(), digest_size=8).hexdigest()
        if int(digest[:2], 16) < 64:
            try:
                (self.folder / f"{request.model[5:]} {digest}").touch(exist_ok=False)
            except FileExistsError:
                return super().__call__(request)
            return smart.Refused("not now", row_only=True)
        return super().__call__(request)


@pytest.mark.parametrize("to", ["table", "folder"])
def test_equal_rows_are_delivered_alike(tmp_path: Path, to: str) -> None:
    """Rows that ask the same, in whatever partitions, get one answer, though calls fail in one and not in another."""
    table = [{"id": str(n), "text": f"text {n % 250}."} for n in range(1000)]
    source = tmp_path / "in"
    source.mkdir()
    for number in range(5):
        pl.DataFrame(table).slice(number * 200, 200).write_parquet(source / f"{number}.parquet")
    marks = tmp_path / "failed"
    marks.mkdir()
    given = {
        "fake:ref": smart.FakeProvider(FailsOnce(1.0, marks)),
        "fake:mini": smart.FakeProvider(FailsOnce(0.96, marks)),
    }
    options: dict[str, Any] = {"output": tmp_path / "out"} if to == "folder" else {}
    done = run(source if to == "folder" else table, tmp_path / "l.db", "ray", providers=given, **options)
    frame = pl.DataFrame(done.table) if to == "table" else pl.read_parquet(str(tmp_path / "out" / "part-*.parquet"))
    unlike = frame.group_by("text").agg(pl.struct("answer", "answered_by", "status").n_unique().alias("kinds"))
    assert unlike.filter(pl.col("kinds") > 1).is_empty()
    by = {row["answered_by"]: row["len"] for row in frame.group_by("answered_by").len().to_dicts()}
    assert {name: count for name, count in done.certificate.delivered["by"].items() if count} == by
    assert int((frame["status"] != "ok").sum()) == done.certificate.errors["rows"]
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []


class Renamed:
    """Says which snapshot it is; another one once a file is there."""

    def __init__(self, says: Says, sign: Path) -> None:
        self.says, self.sign = says, sign

    def __call__(self, request: smart.Request) -> Any:
        """A whole answer."""
        return smart.Answer(self.says(request), snapshot="s-2" if self.sign.exists() else "s-1")


def test_another_snapshot_stops_the_run(tmp_path: Path) -> None:
    """A candidate that changes while the workers deliver is noticed there; later the same command goes on."""
    sign = tmp_path / "changed"
    given = {"fake:ref": smart.FakeProvider(Says(1.0)), "fake:mini": smart.FakeProvider(Renamed(Says(0.96), sign))}

    def change(event: smart.Event) -> None:
        if isinstance(event, smart.Decided):
            sign.touch()

    with pytest.raises(smart.Refused, match=r"(?s)s-2.*s-1"):
        run(rows(), tmp_path / "l.db", "ray", providers=given, on_event=change)
    sign.unlink()
    done = run(rows(), tmp_path / "l.db", "ray", providers=given)
    assert {row["status"] for row in done.table} == {"ok"}
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []
