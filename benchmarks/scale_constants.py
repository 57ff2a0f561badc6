"""The constants of `scale_model.py`, measured: what a call, an answer, a message and a row cost each part of a run.

A worker: the whole live path against a mock server. The shared ledger: look-up, claim and durable write, with messages
packed and unpacked, as the file grows; and a look-up in the file alone. The governor: a turn and money asked for, given
and given back. A Ray message: what it costs the actor that receives it. The driver: what it computes and holds by row.
"""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from throughput import ours, rate

from smart_llm import tables
from smart_llm.engine.live import Live
from smart_llm.events import Stop
from smart_llm.ledger import Ledger, request_key
from smart_llm.ledger.key_filter import BITS
from smart_llm.ledger.store import answer_row
from smart_llm.ray.governor import Governor
from smart_llm.ray.shared import SharedLedger
from smart_llm.stats.sampling import permutation, uniforms
from smart_llm.tasks import Task
from smart_llm.types import Answer, Model, Rate, Request, Usage

BATCH = 64
"""Answers in a message while measuring."""
MESSAGE = 500e-6
"""CPU-seconds a Ray message costs its receiver, where that is not measured."""
MODELS = (Model("fake:big", "fake", "big", Rate(1.0, 1.0)), Model("fake:small", "fake", "small", Rate(0.1, 0.1)))


@dataclass(frozen=True)
class Constants:
    """CPU-seconds and bytes, measured. ledger, lookup: per answer, and per look-up in the file, at sizes of the file;
    the others per call or row."""

    worker: float
    governor: float
    message: float
    ledger: dict[int, float]
    lookup: dict[int, float]
    answer_bytes: float
    index_bytes: float
    driver: float
    driver_bytes: float

    def ledger_at(self, answers: float) -> float:
        """CPU-seconds an answer. The filter that spares a look-up for what is new fills up (`ledger.key_filter`)."""
        taken = 1 - np.exp(-2 * answers / 2**BITS)
        return float(_extended(self.ledger, answers) + taken**2 * _extended(self.lookup, answers))


def _extended(costs: dict[int, float], size: float) -> float:
    """By a straight line over the logarithm of the size, and never less than at any size measured."""
    slope, start = np.polyfit(np.log10(list(costs)), list(costs.values()), 1)
    return float(max(*costs.values(), start + slope * np.log10(size)))


def prompt(i: int) -> str:
    """A row of some 300 characters."""
    return f"Is this review positive or negative?\n\nreview {i}: {'a film of some merits, ' * 11}"


def worker_cpu(rows: int) -> float:
    """CPU-seconds a call: the whole live path, over HTTP."""
    arguments = [*(sys.executable, "-m", "smart_llm.cli", "mock-provider", "--port", "0", "--latency", "0.02")]
    server = subprocess.Popen([*arguments, "--rule", "label:positive,negative"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        rate(ours, url, ["warm-up"], 64)
        return 1 / rate(ours, url, [prompt(i) for i in range(rows)], 256)[0]
    finally:
        server.terminate()
        server.wait()


async def bought(ledger: Ledger, first: int, rows: int) -> tuple[float, float]:
    """CPU-seconds for so many new answers, and for as many look-ups in the file of keys that are not there."""
    office, answer = SharedLedger(ledger), Answer("positive", Usage(80, 2), 1e-5, snapshot="big-2026")
    buying, looking = 0.0, 0.0
    for start in range(first, first + rows, BATCH):
        asked = [Request(MODELS[0].name, prompt(i), 8) for i in range(start, start + BATCH)]
        keys = [request_key(each) for each in asked]
        writes = [("put", answer_row(key, each, answer), "r", None) for key, each in zip(keys, asked, strict=True)]
        messages = [pickle.dumps(keys), pickle.dumps(writes)]
        before = process_time()
        ledger.said(keys)
        between = process_time()
        pickle.dumps(office.look("w", pickle.loads(messages[0])))
        pickle.dumps(await office.write("w", pickle.loads(messages[1])))
        buying, looking = buying + process_time() - between, looking + between - before
    return buying, looking


def ledger_cpu(sizes: tuple[int, ...]) -> dict[str, Any]:
    """CPU-seconds an answer and a look-up in the file as it grows, and its bytes: in all, and of the keys' index."""
    found: dict[str, Any] = {"ledger": {}, "lookup": {}}
    with tempfile.TemporaryDirectory() as folder:
        path, last = Path(folder) / "l.db", 0
        with Ledger.open(path) as ledger:
            for size in sizes:
                sample = min(size - last, 80 * BATCH)
                asyncio.run(bought(ledger, last, size - sample - last))
                spent = asyncio.run(bought(ledger, size - sample, sample))
                found["ledger"][size], found["lookup"][size] = (each / sample for each in spent)
                last = size
        return {**found, "answer_bytes": path.stat().st_size / last, "index_bytes": _index_bytes(path) / last}


def _index_bytes(path: Path) -> float:
    with sqlite3.connect(path) as connection:
        try:
            query = "SELECT SUM(pgsize) FROM dbstat WHERE name LIKE '%autoindex%' OR name LIKE '%key%'"
            return float(connection.execute(query).fetchone()[0] or 0)
        except sqlite3.Error:  # an SQLite without dbstat: key, row number and what a page leaves free
            return 60.0 * float(connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0])


def governor_cpu(calls: int, batch: int) -> float:
    """CPU-seconds a call: a turn and money asked for, given, and given back."""
    governor, name = Governor(MODELS, concurrency=10**6, budget=1e9, spent=0.0), MODELS[0].name

    async def said(messages: list[Any]) -> list[Any]:
        return pickle.loads(pickle.dumps(await governor.say("w", pickle.loads(pickle.dumps(messages)))))

    async def play(first: int) -> None:
        asks: list[Any] = [("enter", first + i, name, 80.0) for i in range(batch)]
        asks += [("reserve", -first - i - 1, 1e-3) for i in range(batch)]
        replies, left = await said(asks), batch
        while left:
            turns = [turn for number, turn in replies if number >= 0]
            left -= len(turns)
            ends: list[Any] = [("succeeded", name, turn) for turn in turns] + [("leave", name)] * len(turns)
            replies = await said(ends + [("settle", 1e-3, 1e-5)] * len(turns))
            await asyncio.sleep(0)

    async def all_of_them() -> float:
        for first in range(0, 4 * batch, batch):  # few calls are let out at first
            await play(first)
        before = process_time()
        for first in range(4 * batch, 4 * batch + calls, batch):
            await play(first)
        return (process_time() - before) / calls

    return asyncio.run(asyncio.wait_for(all_of_them(), 120))


def driver_cost(rows: int) -> tuple[float, float]:
    """CPU-seconds and bytes a row: hashing, grouping, drawing, and the columns a run holds."""
    frame = {"id": range(rows), "text": [prompt(i) for i in range(rows)]}
    import polars as pl

    table = tables.from_frame(pl.DataFrame(frame))
    task = Task("{text}", labels=["positive", "negative"])
    before = process_time()
    assert table.table_hash
    live = Live(table, task, MODELS, None, stop=Stop())  # type: ignore[arg-type]  # nobody is asked
    held = [permutation(1, "order", rows), uniforms(1, "shares", rows)]
    held += [live.questions.groups, live.account.costs, live.rows.by, live.rows.settled, live.account.reference]
    cpu = process_time() - before
    return cpu / rows, sum(each.nbytes for each in held) / rows + 16  # and where each answer stands


def message_cpu(messages: int) -> float | None:
    """CPU-seconds a Ray message costs the actor that receives it; None without Ray."""
    try:
        import ray
    except ImportError:
        return None
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)

    class Echo:
        async def say(self, data: bytes) -> bytes:
            return data

        async def used(self) -> float:
            return process_time()

    echo = ray.remote(Echo).options(num_cpus=0, max_concurrency=1000).remote()
    try:
        ray.get([echo.say.remote(b"x" * 1000) for _ in range(100)])
        before = ray.get(echo.used.remote())
        for _ in range(0, messages, 100):
            ray.get([echo.say.remote(b"x" * 1000) for _ in range(100)])
        return float(ray.get(echo.used.remote()) - before) / messages
    finally:
        ray.shutdown()


def measure(quick: bool) -> Constants:
    """All of them."""
    driver, driver_bytes = driver_cost(50_000 if quick else 300_000)
    return Constants(
        worker=worker_cpu(1000 if quick else 4000),
        governor=governor_cpu(6_400 if quick else 64_000, BATCH),
        message=message_cpu(1000 if quick else 5000) or MESSAGE,
        driver=driver,
        driver_bytes=driver_bytes,
        **ledger_cpu((10_240, 20_480) if quick else (10_240, 51_200, 204_800)),
    )
