"""Rows per CPU-second of the whole live path, against bare aiohttp + msgspec and the official OpenAI SDK.

One server (`smart mock-provider`, 20 ms a call) in a process of its own, one client process that plays all three in
turn, several times, on the same rows, after a first time that does not count (imports); what counts is the client's CPU
time. Ours is everything a run does per row: cell to prompt, key, ledger (durable), pacing, call, parse, delivery, and
what a run costs once. Bare is one POST and one typed decode per row. The SDK is used plainly: `asyncio.gather` over
`client.chat.completions.create` behind a semaphore.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import aiohttp
import msgspec
from common import finish, options, show

import smart_llm as smart

PROMPT = "Is this review positive or negative? Answer with one word.\n\n"
FLOOR, OVER_SDK = {64: 0.7, 512: 1.0}, 10.0
"""What is claimed: this share of bare by calls in flight, and this many times the SDK."""

Player = Callable[[str, list[str], int], Awaitable[None]]


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Reply(msgspec.Struct):
    choices: list[_Choice]


async def bare(url: str, texts: list[str], in_flight: int) -> None:
    """No ledger, no retries, no pacing: the least a row can cost with these libraries."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(_Reply).decode
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(text: str) -> None:
            message = {"role": "user", "content": PROMPT + text}
            body = encode({"model": "x", "messages": [message], "max_tokens": 8, "temperature": 0})
            async with session.post(f"{url}/chat/completions", data=body) as response:
                assert decode(await response.read()).choices[0].message.content

        await _many(map(one, texts), in_flight)


async def sdk(url: str, texts: list[str], in_flight: int) -> None:
    """The official client, as its readme shows it."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none", timeout=600) as client:

        async def one(text: str) -> None:
            reply = await client.chat.completions.create(
                model="x", messages=[{"role": "user", "content": PROMPT + text}], max_tokens=8, temperature=0
            )
            assert reply.choices[0].message.content

        await _many(map(one, texts), in_flight)


async def ours(url: str, texts: list[str], in_flight: int) -> None:
    """A whole run on a new ledger, every row to the reference."""
    task = smart.Task(PROMPT + "{text}", labels=["positive", "negative"])
    with tempfile.TemporaryDirectory() as folder:
        done = await smart.arun(
            [{"text": text} for text in texts],
            task,
            reference=f"openai:x@{url}?in=1&out=1",
            candidates=[],
            procedure="reference-only",
            ledger=Path(folder) / "l.db",
            concurrency=in_flight,
        )
    assert all(row["status"] == "ok" for row in done.table)


async def _many(work: Iterable[Awaitable[None]], in_flight: int) -> None:
    """All of them, so many at a time."""
    turns = asyncio.Semaphore(in_flight)

    async def held(each: Awaitable[None]) -> None:
        async with turns:
            await each

    await asyncio.gather(*map(held, work))


def rate(player: Player, url: str, texts: list[str], in_flight: int) -> tuple[float, float]:
    """Rows per CPU-second and rows per second."""
    gc.collect()
    cpu, wall = process_time(), perf_counter()
    asyncio.run(player(url, texts, in_flight))
    return len(texts) / (process_time() - cpu), len(texts) / (perf_counter() - wall)


def compare(url: str, in_flight: int, rows: int, repeats: int) -> dict[str, Any]:
    """One line: medians over the repeats, played in turn."""
    texts = [f"review {i}: a film of some {i % 97} merits, told at length and with care" for i in range(rows)]
    players: dict[str, tuple[Player, list[str]]] = {
        "ours": (ours, texts),
        "bare": (bare, texts),
        "SDK": (sdk, texts[: rows // 3]),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in players}
    for player, _ in players.values():
        rate(player, url, texts[:50], in_flight)
    for _ in range(repeats):
        for name, (player, own) in players.items():
            found[name].append(rate(player, url, own, in_flight))
    cpu = {name: statistics.median(each[0] for each in rates) for name, rates in found.items()}
    return {
        "in flight": in_flight,
        **{f"{name}/CPU s": value for name, value in cpu.items()},
        "ours ÷ bare": cpu["ours"] / cpu["bare"],
        "ours ÷ SDK": cpu["ours"] / cpu["SDK"],
        "ours/s": statistics.median(each[1] for each in found["ours"]),
    }


def main(rows: int, repeats: int) -> list[dict[str, Any]]:
    """Both loads, against one server."""
    arguments = [*(sys.executable, "-m", "smart_llm.cli", "mock-provider", "--port", "0", "--latency", "0.02")]
    server = subprocess.Popen([*arguments, "--rule", "label:positive,negative"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        return [compare(url, in_flight, rows, repeats) for in_flight in FLOOR]
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    arguments = options(__doc__ or "").parse_args()
    table = main(*((1500, 2) if arguments.quick else (6000, 3)))
    show(table, list(table[0]))
    holds = all(line["ours ÷ bare"] >= FLOOR[line["in flight"]] and line["ours ÷ SDK"] >= OVER_SDK for line in table)
    claim = " and ".join(f"{share:g} of bare with {in_flight} in flight" for in_flight, share in FLOOR.items())
    print(f"at least {claim}, and {OVER_SDK:g} times the SDK: {'yes' if holds else 'no'}")
    finish({"runs": table, "holds": holds}, arguments.json)
