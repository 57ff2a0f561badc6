"""The gateway: CPU and time it adds to a call, memory over many requests, and what it loses in chaos (nothing).

In one run, with one mock provider (20 ms a call) in a process of its own:

* *CPU*: requests per CPU-second of `smart serve` and of a bare starlette + aiohttp application that passes bodies on,
  in turn, 64 at a time. Ours decides, tosses, records before it answers, and audits.
* *Time*: 200 requests a second, evenly spaced; the median above that of the same calls made without anything between.
* *Memory*: resident size after every tenth of many requests; and the CPU that it takes to begin again after them.
* *Chaos* (`--chaos`): 10,000 requests while the provider has every fault of the mock, and three SIGKILLs; clients try
  again as SDKs do. Then the ledger is verified, and compared with what the clients were given.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from common import finish, options, show

from smart_llm.gateway.book import all_series, events_of
from smart_llm.gateway.verify import verify_windows
from smart_llm.ledger import Reader
from smart_llm.procedures.stream import Accepted, Tossed
from smart_llm.providers.connections import Connections

LATENCY, IN_FLIGHT, RATE = 0.02, 64, 200.0
"""Seconds of a call, requests at once, requests a second."""
FLOOR, ADDED = 0.5, 3.0
"""What is asked for: share of bare per CPU-second, and milliseconds at the median."""
CONFIG = """
listen = "127.0.0.1:0"
timeout = {timeout}
[route.reviews]
labels = ["positive", "negative"]
reference = "openai:big@{url}?in=10&out=10"
candidates = ["openai:small@{url}?in=1&out=1"]
agreement = 0.9
window = {window}
"""
BARE = """
import sys, aiohttp, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

session = None

async def passed(request):
    global session
    session = session or aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    async with session.post(sys.argv[1] + "/chat/completions", data=await request.body()) as reply:
        return Response(await reply.read(), reply.status, media_type="application/json")

app = Starlette(routes=[Route("/v1/chat/completions", passed, methods=["POST"])])
server = uvicorn.Server(uvicorn.Config(app, port=int(sys.argv[2]), access_log=False, log_level="warning",
                                       timeout_keep_alive=75))
server.run()
"""
encode = msgspec.json.Encoder().encode


@contextlib.contextmanager
def process(*command: object, lines: bool = True) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process and the first line it says, until the block ends."""
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield child, child.stdout.readline().split()[-1] if lines else ""
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def mock(*arguments: object) -> Any:
    """The provider; its address ends in /v1."""
    smart = (sys.executable, "-m", "smart_llm", "mock-provider", "--port", 0, "--rule", "label:positive,negative")
    return process(*smart, "--error", "small=0.02", "--latency", LATENCY, *arguments)


def gateway(folder: Path, url: str, *, window: int = 10_000, timeout: float = 30) -> Any:
    """The gateway; its address has no path."""
    (folder / "gateway.toml").write_text(CONFIG.format(url=url, window=window, timeout=timeout))
    return process(sys.executable, "-m", "smart_llm", "serve", folder / "gateway.toml")


def cpu_of(pid: int) -> float:
    """CPU-seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> float:
    """Resident megabytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Load:
    """Requests to one address, each another one. model: that is asked for."""

    numbers = itertools.count()

    def __init__(self, url: str, model: str) -> None:
        self._connections, self._model = Connections(f"{url}/chat/completions", {}), model
        self.seconds: list[float] = []
        self.by: Counter[str] = Counter()

    async def one(self) -> None:
        """One request, which must be answered."""
        text = f"Positive or negative? Review {next(self.numbers)}: a film that was neither long nor short."
        body = {"model": self._model, "messages": [{"role": "user", "content": text}], "max_tokens": 8}
        began = time.perf_counter()
        reply = await self._connections.post(encode(body), {"Content-Type": "application/json"}, 2**20)
        self.seconds.append(time.perf_counter() - began)
        assert reply.status == 200, reply
        self.by[reply.headers.get("x-smart-answered-by", "").partition("@")[0]] += 1

    async def many(self, count: int) -> None:
        """So many, `IN_FLIGHT` at a time."""
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                await self.one()

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    async def paced(self, count: int) -> float:
        """So many, evenly spaced; the median in milliseconds."""
        self.seconds.clear()
        began, tasks = time.perf_counter(), []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            tasks.append(asyncio.create_task(self.one()))
        await asyncio.gather(*tasks)
        return statistics.median(self.seconds) * 1e3

    async def close(self) -> None:
        """Give up the connections."""
        await self._connections.close()


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        return int(wire.getsockname()[1])


async def up(url: str) -> None:
    """Wait until an address answers."""
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url):
                    return
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def ahead_of_others(*pids: int) -> Iterator[None]:
    """On a machine that is busy with other things these processes run whenever they can, so that what is measured is
    theirs. Needs the right to do that; else nothing changes."""
    threads = [int(each.name) for pid in pids for each in Path(f"/proc/{pid}/task").iterdir()]
    with contextlib.suppress(PermissionError):
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


async def speed(folder: Path, quick: bool) -> dict[str, Any]:
    """CPU and time."""
    rounds, count, paced = (2, 1500, 600) if quick else (5, 4000, 1000)
    port = free_port()
    with (
        mock() as (provider, url),
        gateway(folder, url) as (ours, at),
        process(sys.executable, "-c", BARE, url, port, lines=False) as (bare, _),
    ):
        await up(f"http://127.0.0.1:{port}/")
        loads = {
            "gateway": (Load(f"{at}/v1", "smart/reviews"), ours.pid),
            "bare": (Load(f"http://127.0.0.1:{port}/v1", "small"), bare.pid),
        }
        for load, _ in loads.values():
            await load.many(3000)
            load.by.clear()
        per_cpu: dict[str, list[float]] = {name: [] for name in loads}
        for _ in range(rounds):
            for name, (load, pid) in loads.items():
                before = cpu_of(pid)
                await load.many(count)
                per_cpu[name].append(count / (cpu_of(pid) - before))
        direct = Load(url, "small")
        times = {name: [] for name in ("direct", "gateway", "bare")}
        with ahead_of_others(os.getpid(), provider.pid, ours.pid, bare.pid):
            for _ in range(rounds):
                for name, load in (("direct", direct), *((name, load) for name, (load, _) in loads.items())):
                    times[name].append(await load.paced(paced))
        for load in (direct, *(load for load, _ in loads.values())):
            await load.close()
    ratio = [ours / bare for ours, bare in zip(per_cpu["gateway"], per_cpu["bare"], strict=True)]
    middle = {name: statistics.median(each) for name, each in times.items()}
    return {
        "requests_per_cpu_second": {name: round(statistics.median(each)) for name, each in per_cpu.items()},
        "share_of_bare": round(statistics.median(ratio), 3),
        "share_of_bare_by_round": [round(each, 3) for each in ratio],
        "median_ms": {name: round(each, 2) for name, each in middle.items()},
        "added_ms": round(middle["gateway"] - middle["direct"], 2),
        "added_ms_by_bare": round(middle["bare"] - middle["direct"], 2),
        "answered_by": {
            name: round(n / loads["gateway"][0].by.total(), 3) for name, n in loads["gateway"][0].by.items()
        },
    }


async def memory(folder: Path, quick: bool) -> dict[str, Any]:
    """What it takes after every tenth of many requests, and how long it takes to begin again after them."""
    long, sizes = 6000 if quick else 200_000, []
    with mock() as (_, url):
        with gateway(folder, url) as (ours, at):
            load = Load(f"{at}/v1", "smart/reviews")
            for _ in range(10):
                await load.many(long // 10)
                sizes.append(round(memory_of(ours.pid), 1))
            await load.close()
            ours.send_signal(signal.SIGTERM)
            await asyncio.to_thread(ours.wait, 60)
        with gateway(folder, url) as (again, _):
            begun = cpu_of(again.pid)
    return {"requests": long, "mb": sizes, "cpu_seconds_to_begin_again": begun}


class Clients:
    """Clients that try again. given: number of a request → who answered, whether it was audited."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: Counter[int] = Counter()
        self.given: dict[int, tuple[str, bool]] = {}
        self.unclear = self.twice = self.again = 0

    async def ask(self, session: aiohttp.ClientSession, number: int) -> None:
        """One request, until it is answered or refused for good."""
        body = {"model": "smart/reviews", "messages": [{"role": "user", "content": f"Positive? Film {number}"}]}
        for attempt in range(40):
            try:
                async with session.post(f"{self.url}/v1/chat/completions", json=body) as reply:
                    data = await reply.read()
            except (aiohttp.ClientError, OSError, TimeoutError):  # the gateway was killed
                self.again += 1
                await asyncio.sleep(0.1 + 0.1 * random.random())
                continue
            told = msgspec.json.decode(data)
            if reply.status != 200:
                self.unclear += not told.get("error", {}).get("message")
            if reply.status in (429, 502, 503) and attempt < 39:
                self.again += 1
                await asyncio.sleep(min(1.0, float(reply.headers.get("retry-after", 1))) * random.random())
                continue
            self.statuses[reply.status] += 1
            if reply.status == 200:
                self._keep(reply.headers)
            return
        self.statuses[0] += 1

    def _keep(self, headers: Any) -> None:
        number = int(headers["x-smart-request"])
        self.twice += number in self.given
        self.given[number] = headers["x-smart-answered-by"], headers["x-smart-audited"] == "true"


async def chaos(folder: Path, quick: bool) -> dict[str, Any]:
    """Faults of every kind, and three kills."""
    count, faults = (1500, 0.005) if quick else (10_000, 0.01)
    clients = Clients()
    arguments = ("--faults", faults, "--hang", 5, "--jitter", 0.02)
    with mock(*arguments) as (_, url):
        left = iter(range(count))
        done = asyncio.Event()

        async def worker(session: aiohttp.ClientSession) -> None:
            for number in left:
                await clients.ask(session, number)

        async def kills() -> None:
            for part in range(4):
                with gateway(folder, url, window=2000, timeout=10) as (child, clients.url):
                    while len(clients.given) < (part + 1) * count // 4 and not done.is_set():  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    if part == 3:
                        await done.wait()
                        child.send_signal(signal.SIGTERM)
                        await asyncio.to_thread(child.wait, 60)

        killing = asyncio.create_task(kills())
        while not clients.url:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
            await asyncio.gather(*(worker(session) for _ in range(IN_FLIGHT)))
        done.set()
        await killing
    return {"requests": count, "kills": 3, **_compared(folder, clients)}


def _compared(folder: Path, clients: Clients) -> dict[str, Any]:
    """What the clients were given, against the ledger."""
    path = folder / "gateway.db"
    series, problems = verify_windows(path)
    with Reader.open(path) as reader:
        events = [event for name in all_series(reader) for event in events_of(reader, name)]
    accepted = {event.request for event in events if isinstance(event, Accepted)}
    coins = {event.request: event.audit for event in events if isinstance(event, Tossed)}
    by_small = {number for number, (by, _) in clients.given.items() if "small" in by}
    missing = by_small - accepted
    wrong = [n for n in by_small if coins.get(n) != clients.given[n][1]]
    windows = [window for each in series for window in each.to_json()["windows"]]
    return {
        "statuses": {str(status): n for status, n in clients.statuses.items()},
        "tried_again": clients.again,
        "errors_without_a_message": clients.unclear,
        "given_by_the_candidate": len(by_small),
        "accepted_not_in_the_ledger": len(missing),
        "coins_not_as_told": len(wrong),
        "numbers_given_twice": clients.twice,
        "verify_problems": [*problems, *(problem for each in series for problem in each.problems)],
        "windows": [
            f"{w['state']}: {w['decided']} decided, {w['accepted']} accepted, {w['unanswered']} unanswered"
            for w in windows
        ],
    }


def main() -> None:
    """All parts, or those asked for."""
    parser = options(__doc__ or "")
    parser.add_argument("--chaos", action="store_true", help="chaos alone")
    parser.add_argument("--speed", action="store_true", help="CPU and time alone")
    parser.add_argument("--memory", action="store_true", help="memory alone")
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    parts: dict[str, Callable[[Path, bool], Any]] = {"speed": speed, "memory": memory, "chaos": chaos}
    for name, part in parts.items():
        if getattr(given, name) or not any(getattr(given, each) for each in parts):
            with tempfile.TemporaryDirectory() as folder:
                figures[name] = asyncio.run(part(Path(folder), given.quick))
    rows = list[tuple[str, Any, str]]()
    if told := figures.get("speed"):
        rows.append(("requests per CPU-second, share of bare", told["share_of_bare"], f"≥ {FLOOR}"))
        rows.append(("added milliseconds, median", told["added_ms"], f"< {ADDED}"))
    if told := figures.get("memory"):
        rows.append(("MB after the first and the last tenth", f"{told['mb'][0]} to {told['mb'][-1]}", "flat"))
        rows.append(("CPU-seconds to begin again", told["cpu_seconds_to_begin_again"], ""))
    if rows:
        show([dict(zip(("what", "found", "asked"), row, strict=True)) for row in rows], ("what", "found", "asked"))
    finish(figures, given.json)


if __name__ == "__main__":
    main()
