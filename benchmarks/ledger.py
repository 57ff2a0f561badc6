"""The ledger: durable answers a second, and how long a run takes to find a million answers again.

Writing: so many tasks that each put an answer, wait until it is durable, and put the next (group commit: what waits
together is written together). Resuming: what the client does for a row whose answer is recorded (key of the request,
look-up, decoding), row after row as a table is delivered, with a connection that has not read them before.
"""

from __future__ import annotations

import asyncio
import tempfile
from itertools import count
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from common import finish, options, show

from smart_llm.client.client import Client
from smart_llm.ledger import Ledger, request_key
from smart_llm.providers.fake import FakeProvider
from smart_llm.types import Answer, Model, Rate, Request, Usage

MODEL = Model("fake:big", "fake", "big", Rate(1.0, 1.0))
WAITERS, RATE, RESUME = 256, 9_000.0, 20.0
"""Claimed: durable answers a second with so many waiters; seconds to resume a million."""


def request(i: int) -> Request:
    """A row's request: some 200 characters."""
    return Request(MODEL.name, f"Is this review positive or negative?\n\nreview {i}: {'a film of merits, ' * 8}", 8)


async def put(ledger: Ledger, rows: int, waiters: int) -> tuple[float, float]:
    """Answers a second, by the clock and by CPU."""
    numbers = count(ledger.count())
    end = ledger.count() + rows
    answer = Answer("positive", Usage(60, 2), 1e-5, snapshot="big-2026")

    async def work() -> None:
        while (i := next(numbers)) < end:
            asked = request(i)
            await ledger.put(request_key(asked), asked, answer, run="r")

    wall, cpu = perf_counter(), process_time()
    await asyncio.gather(*(work() for _ in range(waiters)))
    return rows / (perf_counter() - wall), rows / (process_time() - cpu)


async def resume(ledger: Ledger, rows: int) -> tuple[float, float]:
    """Seconds and CPU-seconds for all rows, none of which is bought."""
    provider = FakeProvider(lambda _: AssertionError("bought again"))
    client = Client(ledger, [MODEL], {MODEL.name: provider}, concurrency=64)
    start, cpu = perf_counter(), process_time()
    for i in range(rows):
        await client.ask(request(i))
    assert provider.calls == 0
    return perf_counter() - start, process_time() - cpu


def main(rows: int, resumed: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Rates by number of waiters, then seconds and CPU-seconds to resume `resumed` answers, scaled to a million."""
    with tempfile.TemporaryDirectory() as folder:
        path, lines = Path(folder) / "l.db", []
        with Ledger.open(path) as ledger:
            for waiters in (1, 16, 64, WAITERS, 1024):
                wall, cpu = asyncio.run(put(ledger, rows if waiters > 1 else rows // 50, waiters))
                lines.append({"waiters": waiters, "answers/s": wall, "answers/CPU s": cpu})
            asyncio.run(put(ledger, max(0, resumed - ledger.count()), 1024))
        with Ledger.open(path) as ledger:
            return lines, [each / resumed * 1e6 for each in asyncio.run(resume(ledger, resumed))]


if __name__ == "__main__":
    arguments = options(__doc__ or "").parse_args()
    lines, (seconds, cpu) = main(*((5_000, 50_000) if arguments.quick else (20_000, 1_000_000)))
    show(lines, list(lines[0]))
    rate = next(line["answers/s"] for line in lines if line["waiters"] == WAITERS)
    print(f"{rate:,.0f} durable answers/s at {WAITERS} waiters (claimed: {RATE:,.0f})")
    print(f"{seconds:.1f} s ({cpu:.1f} of CPU) to resume a million answers (claimed: under {RESUME:g})")
    finish({"runs": lines, "resume_million_s": seconds, "resume_million_cpu_s": cpu}, arguments.json)
