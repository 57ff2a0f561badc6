"""How well a provider's limits are used: sustained use as a share of the limit, and how many calls met a 429.

A mock provider limited to 600 requests and 90,000 tokens a minute, told in headers or hidden altogether (then a 429
says nothing but no). All cases run at once, each on a server and a client of its own; use is measured after a warm-up,
429s over the whole run. The bound: requests (short prompts) or tokens (long ones); burst: how many seconds' worth the
server's full bucket holds.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from common import finish, options, show

from smart_llm.client.client import Client
from smart_llm.ledger import Ledger
from smart_llm.mock.limits import Limits
from smart_llm.mock.server import MockServer
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.types import Request

REQUESTS, TOKENS = 600, 90_000
IN_FLIGHT, LATENCY, JITTER = 64, 0.2, 0.2
LONG = 2400
"""Characters of a long prompt: some 600 tokens by the mock's count, four times a request's share."""


@dataclass(frozen=True)
class Case:
    """One server. burst: seconds."""

    told: bool
    bound: str
    burst: float

    @property
    def limits(self) -> Limits:
        """The server's."""
        return Limits(REQUESTS, TOKENS, self.burst, headers=self.told, retry_after=self.told)


CASES = [
    Case(told, bound, burst) for told in (True, False) for bound in ("requests", "tokens") for burst in (60.0, 2.0)
]


async def play(case: Case, folder: Path, warm: float, seconds: float) -> dict[str, Any]:
    """One case: its line of the table."""
    server = MockServer(limits=case.limits, latency=LATENCY, jitter=JITTER)
    name = f"{case.bound}-{case.told}-{case.burst}"
    async with server as url:
        model = resolve(f"openai:x@{url}?in=1&out=1")
        with Ledger.open(folder / f"{name}.db") as ledger:
            client = Client(ledger, [model], make_providers([model]), concurrency=IN_FLIGHT)
            rows = count()
            filling = "x" * (LONG if case.bound == "tokens" else 20)
            loop = asyncio.get_running_loop()

            async def work() -> None:
                while True:
                    await client.ask(Request(model.name, f"{next(rows)} {filling}", 8))

            workers = [asyncio.ensure_future(work()) for _ in range(2 * IN_FLIGHT)]
            await asyncio.sleep(warm)
            before, start = server.stats()["answered"], loop.time()
            await asyncio.sleep(seconds)
            answered, took = server.stats()["answered"] - before, loop.time() - start
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await client.close()
        stats = server.stats()
    cost = 8 + (LONG + 5) // 4 if case.bound == "tokens" else 0
    limit = REQUESTS if case.bound == "requests" else TOKENS / cost
    refused = stats["faults"].get("throttle", 0)
    return {
        "limits": "told" if case.told else "hidden",
        "bound by": case.bound,
        "burst s": case.burst,
        "use": answered / took / (limit / 60),
        "429s": refused,
        "share of calls": refused / stats["requests"],
    }


async def main(warm: float, seconds: float) -> list[dict[str, Any]]:
    """All cases at once."""
    with tempfile.TemporaryDirectory() as folder:
        return await asyncio.gather(*(play(case, Path(folder), warm, seconds) for case in CASES))


if __name__ == "__main__":
    arguments = options(__doc__ or "").parse_args()
    table = asyncio.run(main(*((5.0, 20.0) if arguments.quick else (15.0, 120.0))))
    show(table, list(table[0]))
    finish({"seconds": 20 if arguments.quick else 120, "cases": table}, arguments.json)
