"""How long, how dear, and what gives way first: a model of runs of 10⁶ … 10⁹ rows from constants measured here.

Measured, in this one run: CPU of a worker per call (the whole live path against a mock server), of the shared ledger
per answer (look-up, claim, durable write, messages packed and unpacked) as the file grows, of the governor per call, of
a Ray message (where Ray is installed), and what the driver spends on a row, in CPU and memory. The model: every part
has a rate it cannot exceed, the slowest sets the pace, and what the driver does for each row comes on top. The
simulation checks the one thing that is not plain arithmetic: calls in a closed loop through the governor, the provider
and the ledger, where messages that wait for one on its way go together, so that a message's cost falls as load rises.
"""

from __future__ import annotations

import asyncio
import heapq
import pickle
import sqlite3
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import numpy as np
from common import finish, options, panels, show
from throughput import ours, rate

from smart_llm import tables
from smart_llm.engine.live import Live
from smart_llm.engine.pool import Stop
from smart_llm.ledger import Ledger, request_key
from smart_llm.ledger.shared import SharedLedger
from smart_llm.ledger.store import answer_row
from smart_llm.providers.governor import Governor
from smart_llm.stats.sampling import permutation, uniforms
from smart_llm.tasks import Task
from smart_llm.types import Answer, Model, Rate, Request, Usage

CALLS = 1.3
"""Calls a row: a candidate, and for three rows in ten the reference too."""
BATCH = 64
"""Answers in a message while measuring."""
LATENCY = 0.5
"""Seconds a call takes, on average."""
MESSAGE = 500e-6
"""CPU-seconds a Ray message costs its receiver, where that is not measured."""
PRICES = {"reference": 2.0 * 300e-6 + 8.0 * 10e-6, "candidate": 0.15 * 300e-6 + 0.6 * 10e-6}
"""USD a call: 300 tokens in, 10 out, at 2 and 8, .15 and .60 USD a million."""
NODE_HOUR = 2.0
"""USD an hour of a node that serves models."""
MODELS = (Model("fake:big", "fake", "big", Rate(1.0, 1.0)), Model("fake:small", "fake", "small", Rate(0.1, 0.1)))


@dataclass(frozen=True)
class Constants:
    """CPU-seconds and bytes, measured. ledger: per answer at sizes of the file; the others per call or row."""

    worker: float
    governor: float
    message: float
    ledger: dict[int, float]
    answer_bytes: float
    index_bytes: float
    driver: float
    driver_bytes: float

    def ledger_at(self, answers: float) -> float:
        """CPU-seconds an answer, by a straight line over the logarithm of the file's size."""
        sizes, costs = np.log10(list(self.ledger)), list(self.ledger.values())
        slope, start = np.polyfit(sizes, costs, 1) if len(sizes) > 1 else (0.0, costs[0])
        return float(max(costs[0], start + max(0.0, slope) * np.log10(answers)))


@dataclass(frozen=True)
class Setting:
    """Where a run takes place. calls: what providers let through a second; cores: of the workers; nodes: that serve
    models of one's own, else the provider is paid by call."""

    name: str
    calls: float
    cores: int
    nodes: int = 0


SETTINGS = (
    Setting("hosted, 10,000 requests/min", 10_000 / 60, 4),
    Setting("hosted, 300,000 requests/min", 5_000, 16),
    Setting("own, 16 nodes of 60 calls/s", 960, 16, 16),
    Setting("own, 256 nodes of 60 calls/s", 15_360, 256, 256),
)


# --------------------------------------------------------------------------- measured


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


def ledger_cpu(sizes: tuple[int, ...], batch: int) -> tuple[dict[int, float], float, float]:
    """CPU-seconds an answer as the file grows, bytes an answer, and bytes of them in the index over the keys."""
    answer, found = Answer("positive", Usage(80, 2), 1e-5, snapshot="big-2026"), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "l.db"
        with Ledger.open(path) as ledger:
            office = SharedLedger(ledger)

            async def buy(first: int, rows: int) -> float:
                spent = 0.0
                for start in range(first, first + rows, batch):
                    asked = [Request(MODELS[0].name, prompt(i), 8) for i in range(start, start + batch)]
                    keys = [request_key(each) for each in asked]
                    writes = [
                        ("put", answer_row(key, each, answer), "r", None) for key, each in zip(keys, asked, strict=True)
                    ]
                    messages = [pickle.dumps(keys), pickle.dumps(writes)]
                    before = process_time()
                    pickle.dumps(office.look("w", pickle.loads(messages[0])))
                    pickle.dumps(await office.write("w", pickle.loads(messages[1])))
                    spent += process_time() - before
                return spent

            last = 0
            for size in sizes:
                sample = min(size, 20 * batch * 4)
                asyncio.run(buy(last, size - sample - last))
                found[size] = asyncio.run(buy(size - sample, sample)) / sample
                last = size
        return found, path.stat().st_size / last, _index_bytes(path) / last


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
    held += [live.groups, live.costs, live.by, live.settled, live.reference_cost]
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
    sizes = (10_240, 40_960) if quick else (10_240, 51_200, 307_200)
    by_size, answer_bytes, index_bytes = ledger_cpu(sizes, BATCH)
    driver, driver_bytes = driver_cost(50_000 if quick else 300_000)
    return Constants(
        worker_cpu(1000 if quick else 4000),
        governor_cpu(6_400 if quick else 64_000, BATCH),
        message_cpu(1000 if quick else 5000) or MESSAGE,
        by_size,
        answer_bytes,
        index_bytes,
        driver,
        driver_bytes,
    )


# --------------------------------------------------------------------------- the model


def rates(found: Constants, setting: Setting, rows: float) -> dict[str, float]:
    """Calls a second that each part can bear. At its limit a desk finds all a worker has out in one message."""
    message = found.message / max(1.0, min(2048.0, setting.calls * LATENCY / setting.cores))
    return {
        "provider": setting.calls,
        "workers": setting.cores / found.worker,
        "ledger": 1 / (found.ledger_at(rows * CALLS) + 2 * message),  # a look, a write
        "governor": 1 / (found.governor + 2 * message),  # a turn asked for, a turn given
    }


def forecast(found: Constants, setting: Setting, rows: float) -> dict[str, Any]:
    """One line: hours, money, what sets the pace, and how many times that pace ledger and governor bear."""
    bears = rates(found, setting, rows)
    slowest = min(bears, key=lambda name: bears[name])
    delivery, driver = rows * CALLS / bears[slowest], rows * found.driver
    hours = (delivery + driver) / 3600
    by_call = rows * (PRICES["candidate"] + (CALLS - 1) * PRICES["reference"])
    return {
        "setting": setting.name,
        "rows": f"{rows:.0e}",
        "hours": hours,
        "USD": setting.nodes * NODE_HOUR * hours if setting.nodes else by_call,
        "pace set by": slowest,
        "calls/s": bears[slowest],
        "ledger ×": bears["ledger"] / bears[slowest],
        "governor ×": bears["governor"] / bears[slowest],
        "driver hours": driver / 3600,
        "driver GB": rows * found.driver_bytes / 1e9,
        "ledger GB": rows * CALLS * found.answer_bytes / 1e9,
        "index GB": rows * CALLS * found.index_bytes / 1e9,
    }


# --------------------------------------------------------------------------- the simulation


class Desk:
    """A process that serves messages one by one: so much a message and so much for each item in it."""

    def __init__(self, message: float, item: float) -> None:
        self.message, self.item, self.free, self.busy, self.messages = message, item, 0.0, 0.0, 0

    def serve(self, now: float, items: int) -> float:
        """When a message that comes now is answered."""
        cost = self.message + items * self.item
        self.free, self.busy, self.messages = max(now, self.free) + cost, self.busy + cost, self.messages + 1
        return self.free


class Wire:
    """A worker's line to a desk: what comes while a message is on its way goes with the next."""

    def __init__(self, desk: Desk, at: Callable[[float, Callable[[], None]], None], way: float) -> None:
        self._desk, self._at, self._way = desk, at, way
        self._waiting: deque[Callable[[], None]] = deque()
        self._out = False

    def post(self, now: float, then: Callable[[], None]) -> None:
        """Send it, and go on when it is answered."""
        self._waiting.append(then)
        if not self._out:
            self._send(now)

    def _send(self, now: float) -> None:
        batch = [self._waiting.popleft() for _ in range(min(2048, len(self._waiting)))]
        self._out = True
        back = self._desk.serve(now + self._way, len(batch)) + self._way

        def arrived() -> None:
            self._out = False
            for then in batch:
                then()
            if self._waiting and not self._out:
                self._send(back)

        self._at(back, arrived)


def simulate(found: Constants, setting: Setting, *, calls: int, in_flight: int) -> dict[str, Any]:
    """Calls a second through governor, provider and ledger, and how busy both are, against the model's."""
    events: list[tuple[float, int, Callable[[], None]]] = []
    clock, order, done, next_turn = [0.0], iter(range(10**12)), [0], [0.0]
    random = Random(1)

    def at(when: float, then: Callable[[], None]) -> None:
        heapq.heappush(events, (when, next(order), then))

    governor, ledger = Desk(found.message, found.governor / 2), Desk(found.message, found.ledger_at(1e6) / 2)
    workers = max(1, setting.cores)
    gates = [Wire(governor, at, 0.0005) for _ in range(workers)]
    books = [Wire(ledger, at, 0.0005) for _ in range(workers)]

    def call(worker: int) -> None:
        def turn() -> None:
            next_turn[0] = max(clock[0], next_turn[0]) + 1 / setting.calls
            at(next_turn[0] + LATENCY * (0.5 + random.random()), answered)

        def answered() -> None:
            gates[worker].post(clock[0], lambda: None)  # the turn is given back
            books[worker].post(clock[0], durable)

        def durable() -> None:
            done[0] += 1
            call(worker)

        books[worker].post(clock[0], lambda: gates[worker].post(clock[0], turn))  # looked up, then a turn

    for slot in range(in_flight):
        at(0.0, lambda worker=slot % workers: call(worker))
    marks = []
    for until in (2 * in_flight, 2 * in_flight + calls):
        while done[0] < until:
            clock[0], _, then = heapq.heappop(events)
            then()
        marks.append(np.array([clock[0], done[0], ledger.busy, governor.busy, ledger.messages]))
    span, answered, booked, governed, messages = marks[1] - marks[0]
    throughput = float(answered / span)
    bears = rates(found, setting, 1e6)
    expected = min(bears["provider"], bears["ledger"], bears["governor"], in_flight / LATENCY)
    return {
        "setting": setting.name,
        "calls/s": throughput,
        "÷ model": throughput / expected,
        "ledger busy": min(1.0, float(booked / span)),
        "governor busy": min(1.0, float(governed / span)),
        "calls a message": 2 * float(answered / messages),
    }


def draw(lines: list[dict[str, Any]]) -> None:
    """Hours over rows, a line for each setting; how many times the pace its ledger bears, the driver's memory."""

    def panel(axis: Any, column: str) -> None:
        for setting in SETTINGS:
            own = [line for line in lines if line["setting"] == setting.name]
            axis.plot([float(line["rows"]) for line in own], [line[column] for line in own], "o-", label=setting.name)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("rows")

    panels("scale_model", ["hours", "ledger ×", "driver GB"], panel)


def sizes() -> Iterator[float]:
    """Rows."""
    return (10.0**power for power in range(6, 10))


if __name__ == "__main__":
    arguments = options(__doc__ or "").parse_args()
    found = measure(arguments.quick)
    print(asdict(found))
    lines = [forecast(found, setting, rows) for setting in SETTINGS for rows in sizes()]
    show(lines, list(lines[0]))
    checked = [
        simulate(
            found, setting, calls=10_000 if arguments.quick else 50_000, in_flight=int(2 * LATENCY * setting.calls) + 16
        )
        for setting in SETTINGS
    ]
    show(checked, list(checked[0]))
    draw(lines)
    finish({"constants": asdict(found), "forecast": lines, "simulation": checked}, arguments.json)
