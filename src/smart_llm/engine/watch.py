"""While a run goes on: say when a model has gone silent, and let nobody wait for a turn once a stop was asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from smart_llm.client.client import Client
from smart_llm.errors import LedgerError, SmartError
from smart_llm.events import Listener, Said, Stop

STOPPING = "Stopping: calls in flight are finished and kept. Once more (Ctrl-C) ends at once."
STALL = 30.0
"""Seconds without an answer that are worth a word; then twice as many, and so on."""


@contextlib.asynccontextmanager
async def watched(client: Client, stop: Stop, tell: Listener) -> AsyncIterator[None]:
    """Watch this client as long as the block lasts; at its end nothing is in flight any more."""

    def dismiss() -> None:
        tell(Said(STOPPING))
        try:
            stop.check()
        except SmartError as reason:
            client.dismiss(reason)

    stop.then(dismiss)
    task = asyncio.create_task(_watch(client, tell))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        with contextlib.suppress(LedgerError):  # it was said where it mattered
            await client.settle()


async def _watch(client: Client, tell: Listener) -> None:
    due, before = STALL, dict[str, float]()
    while True:
        await asyncio.sleep(STALL / 6)
        lines = client.silence(due)
        if lines:
            due *= 2
            named = {name for name in client.latest() if any(line.startswith(f"{name} ") for line in lines)}
            before = {name: last for name, last in client.latest().items() if name in named} | before
        elif due > STALL and not client.silence(STALL):
            now = client.latest()
            come = any(now[name] != last for name, last in before.items())  # else there is only nothing more to ask
            due, before, lines = STALL, {}, ["Answers come again."] * come
        for line in lines:
            tell(Said(line))
