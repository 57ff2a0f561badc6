"""How long, how dear, and what gives way first: a model of runs of 10⁶ … 10⁹ rows from constants measured here.

Measured, in this one run: CPU of a worker per call (the whole live path against a mock server), of the shared ledger
per answer (look-up, claim, durable write, messages packed and unpacked) as the file grows, of the governor per call, of
a Ray message (where Ray is installed), and what the driver spends on a row, in CPU and memory. The model: every part
has a rate it cannot exceed, the slowest sets the pace, and what the driver does for each row comes on top. The
simulation checks the one thing that is not plain arithmetic: calls in a closed loop through the governor, the provider
and the ledger, where messages that wait for one on its way go together, so that a message's cost falls as load rises.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import numpy as np
from common import finish, options, panels, show
from scale_constants import Constants, measure

CALLS = 1.3
"""Calls a row: a candidate, and for three rows in ten the reference too."""
LATENCY = 0.5
"""Seconds a call takes, on average."""
PRICES = {"reference": 2.0 * 300e-6 + 8.0 * 10e-6, "candidate": 0.15 * 300e-6 + 0.6 * 10e-6}
"""USD a call: 300 tokens in, 10 out, at 2 and 8, .15 and .60 USD a million."""
NODE_HOUR = 2.0
"""USD an hour of a node that serves models."""


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

    panels("scale_model", ["hours", "ledger ×"], panel)


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
            found, setting, calls=10_000 if arguments.quick else 30_000, in_flight=int(2 * LATENCY * setting.calls) + 16
        )
        for setting in SETTINGS
    ]
    show(checked, list(checked[0]))
    draw(lines)
    finish({"constants": asdict(found), "forecast": lines, "simulation": checked}, arguments.json)
