"""A run that waits says so; a run that is asked to stop waits for nothing it need not wait for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.client.client import Client
from smart_llm.engine import watch
from smart_llm.engine.pool import each
from smart_llm.engine.watch import watched
from smart_llm.errors import Interrupted, Retryable
from smart_llm.events import Event, Said, Stop
from smart_llm.ledger import Ledger
from smart_llm.mock.faults import Faults
from smart_llm.mock.server import MockServer
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Model, Rate, Request

MODEL = Model("fake:m", "fake", "m", Rate(1.0, 1.0))


def client(ledger: Ledger, provider: FakeProvider, **options: int) -> Client:
    """A client with one model."""
    return Client(ledger, [MODEL], {MODEL.name: provider}, **options)


def requests(count: int) -> list[Request]:
    """Different ones."""
    return [Request(MODEL.name, str(i), 1) for i in range(count)]


class HeldBack(FakeProvider):
    """Answers nothing until it may."""

    def __init__(self) -> None:
        super().__init__(lambda _: "yes")
        self.may = asyncio.Event()

    async def complete(self, request: Request) -> Answer:
        """Once it may."""
        await self.may.wait()
        return await super().complete(request)


@pytest.mark.parametrize(
    ("calls", "told"), [(3, "3 calls are out, each is given up"), (1, "1 call is out and is given")]
)
async def test_a_stall_is_said_and_so_is_its_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, calls: int, told: str
) -> None:
    """A model that answers nothing is named, with how many calls are out; when it answers again, that is said."""
    monkeypatch.setattr(watch, "STALL", 0.06)
    said: list[str] = []
    provider = HeldBack()
    asking = client(ledger, provider, concurrency=3)

    def tell(event: Event) -> None:
        assert isinstance(event, Said)
        said.append(event.text)

    async with watched(asking, Stop(), tell), asyncio.timeout(60):
        waiting = asyncio.gather(*map(asking.ask, requests(calls)))
        while not any("fake:m has answered nothing for" in text and told in text for text in said):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert "Answers come again." not in said
        provider.may.set()
        await waiting
        for number in itertools.count():
            await asking.ask(Request(MODEL.name, f"more {number}", 1))
            if "Answers come again." in said:
                break


async def test_a_model_with_nothing_to_do_is_not_stalled(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is worth a word only while there is something to answer."""
    monkeypatch.setattr(watch, "STALL", 0.05)
    said: list[Event] = []
    asking = client(ledger, FakeProvider(lambda _: "yes"))
    await asking.ask(requests(1)[0])
    async with watched(asking, Stop(), said.append):
        await asyncio.sleep(0.2)
    assert said == []


async def test_a_stop_does_not_wait_for_a_rate_limit(ledger: Ledger) -> None:
    """Asked to stop while a provider said to wait an hour: it stops at once."""

    def react(_: Request) -> Answer | Exception:
        return Retryable("wait", throttled=True, retry_after=3600.0)

    stop, asking = Stop(), client(ledger, FakeProvider(react))

    async def work(request: Request) -> None:
        await asking.ask(request)

    async with watched(asking, stop, lambda _: None):
        asyncio.get_running_loop().call_later(0.05, stop.request)
        with pytest.raises(Interrupted):
            await asyncio.wait_for(each(requests(9), work, workers=9, stop=stop), 60)


async def test_silence_begins_with_the_first_request(ledger: Ledger) -> None:
    """A run that has just begun has been waiting since its first request, not since this machine was switched on."""
    asking = client(ledger, FakeProvider(lambda _: "yes", latency=3600.0))
    waiting = asyncio.create_task(asking.ask(requests(1)[0]))
    await asyncio.sleep(0.1)
    assert asking.silence(60.0) == []
    assert len(asking.silence(0.05)) == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_rate_limit_is_called_so_with_the_providers_reason(ledger: Ledger) -> None:
    """Over a real socket: while a server answers 429, the message says rate limit, its reason, and when calls leave."""
    async with MockServer(faults=Faults(throttle=1.0), pause=30.0) as url:
        model = resolve(f"openai:m@{url}?in=1&out=1")
        asking = Client(ledger, [model], make_providers([model]))
        waiting = asyncio.create_task(asking.ask(Request(model.name, "x", 1)))
        try:
            for _ in range(500):
                await asyncio.sleep(0.01)
                if "rate limit" in (said := asking.silence(0.0)[0]):
                    break
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await asking.close()
    assert "rate limit" in said
    assert "Rate limit reached" in said, "the provider's own reason"
    assert 0 < int(said.partition("Calls leave again in ")[2].partition(" s")[0]) <= 30


async def test_a_server_that_is_not_there_is_said_within_seconds(tmp_path: Path, port: int) -> None:
    """Where every call is refused, the reason is told long before anybody is given up, by the run as it ships."""
    said = asyncio.Queue[str]()

    def heard(event: Event) -> None:
        if isinstance(event, Said):
            said.put_nowait(event.text)

    running = asyncio.create_task(
        smart.arun(
            [{"text": f"row {i}"} for i in range(50)],
            smart.Task("Good? {text}", labels=["yes", "no"]),
            reference=f"openai:big@http://127.0.0.1:{port}/v1?in=1&out=1",
            candidates=[f"openai:small@http://127.0.0.1:{port}/v1?in=.1&out=.1&enforce=none"],
            ledger=tmp_path / "l.db",
            on_event=heard,
        )
    )
    running.add_done_callback(lambda _: said.put_nowait("It has answered nothing for ever: ended"))
    while "has answered nothing for" not in (told := await said.get()):
        pass
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, Interrupted):
        await running
    assert "refused" in told.lower() or "connect" in told.lower()
    assert re.search(r"nothing for \d\d? s: ", told)
