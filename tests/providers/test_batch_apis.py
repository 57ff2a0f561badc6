"""Batch APIs against the mock over sockets: one suite for both, and what the official SDKs would have sent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from later import anthropic, openai
from making import make_provider

from smart_llm.errors import Refused, Retryable
from smart_llm.mock import MockServer
from smart_llm.mock.batches import BatchFaults, BatchSettings
from smart_llm.mock.http import Call, Reply
from smart_llm.providers.batch import BatchApi, Gone, Look, Result, batch_api, is_ours
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Request

DIALECTS = ["openai", "anthropic"]
OURS = "smart-0123456789abcdef"


@asynccontextmanager
async def api(dialect: str, mock: MockServer, *, timeout: float = 2.0) -> AsyncIterator[tuple[BatchApi, str]]:  # noqa: ASYNC109
    """The API at a mock, and the model's name."""
    async with mock as url:
        model = resolve(f"{dialect}:m@{url}?in=1&out=1")
        made = batch_api(model, make_provider(model), timeout=timeout)
        assert made is not None
        try:
            yield made, model.name
        finally:
            await made.close()


def lines(made: BatchApi, name: str, count: int, batch_id: str = OURS) -> list[bytes]:
    """Encoded requests."""
    return [made.line(f"{batch_id}-{i}", Request(name, f"row {i}", 9)) for i in range(count)]


async def submitted(made: BatchApi, name: str, count: int = 6, batch_id: str = OURS) -> str:
    """Upload and submit."""
    encoded = lines(made, name, count, batch_id)
    return await made.submit(batch_id, await made.upload(batch_id, encoded), encoded)


async def ended(made: BatchApi, remote: str) -> Look:
    """Poll to the end."""
    look = await made.look(remote)
    while look.state == "running":
        await asyncio.sleep(0.01)
        look = await made.look(remote)
    return look


async def results(made: BatchApi, look: Look) -> list[Result]:
    """All of them."""
    return [result async for result in made.results(look, OURS)]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_batch_from_upload_to_results(dialect: str) -> None:
    """Every request comes back under its place, once, with text, usage and the model's snapshot."""
    async with api(dialect, MockServer(rule="label:yes,no")) as (made, name):
        assert await made.available()
        look = await ended(made, await submitted(made, name))
        found = await results(made, look)
    assert (look.state, look.done, look.total) == ("ended", 6, 6)
    assert sorted(result.place for result in found) == list(range(6))
    for result in found:
        assert isinstance(result.outcome, Answer)
        assert result.outcome.text in ("yes", "no")
        assert result.outcome.usage.input_tokens > 0
        assert result.outcome.snapshot == "m"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_ours_is_found_among_others(dialect: str) -> None:
    """Of many batches, some as large, the one with our id is found on whatever page it stands; another's never is."""
    async with api(dialect, MockServer(rule="label:yes,no", batches=BatchSettings(working=0.3))) as (made, name):
        ours = await submitted(made, name)
        others = [await submitted(made, name, 6, f"smart-{i:016x}") for i in range(104)]
        query: dict[str, Any] = {"since": time.time(), "total": 6, "known": frozenset(others[:50])}
        while (found := await made.find(OURS, **query)).undecided:  # noqa: ASYNC110  nothing tells when it has ended
            await asyncio.sleep(0.05)
        assert found.remote == ours
        await asyncio.sleep(0.5)  # the others have ended, too
        nobody = await made.find("smart-ffffffffffffffff", **query)
        assert (nobody.remote, nobody.undecided) == (None, 0)


async def test_a_submission_without_its_file_fails() -> None:
    """The fence: once the input file is deleted, the same submission is refused. Deleting twice does no harm."""
    async with api("openai", MockServer()) as (made, name):
        encoded = lines(made, name, 3)
        file = await made.upload(OURS, encoded)
        assert await made.fence(file)
        assert await made.fence(file)
        with pytest.raises(Refused):
            await made.submit(OURS, file, encoded)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_lost_reply_to_a_submission_says_that_it_may_have_arrived(dialect: str) -> None:
    """A dropped connection or a fault of the server: `paid`. An address that cannot be reached: not."""
    for fault in ("lost", "error"):
        mock = MockServer(batches=BatchSettings(faults=BatchFaults(**{fault: 1.0})))
        async with api(dialect, mock) as (made, name):
            with pytest.raises(Retryable) as error:
                await made.submit(OURS, "file-1", lines(made, name, 2))
            assert error.value.paid
    model = resolve(f"{dialect}:m@http://127.0.0.1:9/v1?in=1&out=1")
    nowhere = batch_api(model, make_provider(model), timeout=1)
    assert nowhere is not None
    with pytest.raises(Retryable) as error:
        await nowhere.submit(OURS, "file-1", [b"{}"])
    assert not error.value.paid
    await nowhere.close()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_not_there_is_gone(dialect: str) -> None:
    """A batch nobody knows is `Gone`, not a reason to try again."""
    async with api(dialect, MockServer()) as (made, _):
        with pytest.raises(Gone):
            await made.look("batch_unknown")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_batch_that_ended_early_tells_what_was_not_done(dialect: str) -> None:
    """Half is answered; the rest may be tried again and was not paid."""
    mock = MockServer(rule="label:yes,no", batches=BatchSettings(faults=BatchFaults(expire=1.0)))
    async with api(dialect, mock) as (made, name):
        found = await results(made, await ended(made, await submitted(made, name)))
    errors = [result.outcome for result in found if not isinstance(result.outcome, Answer)]
    assert len(errors) == 3
    assert all(isinstance(error, Retryable) and not error.paid for error in errors)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_download_that_breaks_off_is_told(dialect: str) -> None:
    """What came before the break is given, then `Retryable` says that it is not all."""
    mock = MockServer(rule="label:yes,no", batches=BatchSettings(faults=BatchFaults(truncated=1.0)))
    async with api(dialect, mock) as (made, name):
        look = await ended(made, await submitted(made, name, 40))
        before = []

        async def read() -> None:
            async for result in made.results(look, OURS):
                before.append(result)

        with pytest.raises(Retryable):
            await read()
    assert len(before) < 40


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_redirects_are_not_followed(dialect: str) -> None:
    """A batch address that redirects is refused: the key would go elsewhere."""
    mock = MockServer()
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    mock.handle = lambda call: Reply(moved)  # type: ignore[method-assign]
    async with api(dialect, mock) as (made, _):
        with pytest.raises(Refused, match="redirects"):
            await made.look("x")


def test_custom_ids_tell_their_batch() -> None:
    """Our id and a place; whatever else is not ours. Within what Anthropic allows: 64 of letters, digits, _ and -."""
    assert is_ours(f"{OURS}-17", OURS) == 17
    for other in ("smart-fedcba9876543210-17", f"{OURS}-x", f"{OURS}-", OURS, "17", "", f"{OURS}-+1"):
        assert is_ours(other, OURS) is None
    assert len(f"{OURS}-99999") <= 64


class Watched(MockServer):
    """A mock that keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(rule="label:yes,no")
        self.calls: list[Call] = []

    def handle(self, call: Call) -> Reply:
        """Keep, then answer."""
        self.calls.append(call)
        return super().handle(call)

    def sent(self, path: str) -> list[Any]:
        """The bodies that were posted there, as JSON."""
        return [json.loads(call.body) for call in self.calls if call.method == "POST" and call.path == path]


async def test_what_is_sent_is_what_the_openai_client_sends() -> None:
    """The same file of requests and the same call to submit it."""
    mock = Watched()
    async with api("openai", mock) as (made, name):
        encoded = lines(made, name, 2)
        remote = await made.submit(OURS, await made.upload(OURS, encoded), encoded)
        async with openai.AsyncOpenAI(base_url=made.url, api_key="k") as sdk:
            file = await sdk.files.create(file=(f"{OURS}.jsonl", b"\n".join([*encoded, b""])), purpose="batch")
            await sdk.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"smart_batch": OURS},
            )
            assert (await sdk.batches.retrieve(remote)).metadata == {"smart_batch": OURS}
        kept = list(mock._mount._openai._files.values())  # type: ignore[union-attr]
    ours, theirs = ({**body, "input_file_id": ""} for body in mock.sent("/v1/batches"))
    assert ours == theirs
    assert kept[0] == kept[1]
    assert json.loads(encoded[0])["body"]["messages"][-1]["content"] == "row 0"


async def test_what_is_sent_is_what_the_anthropic_client_sends() -> None:
    """The same call to submit a batch."""
    mock = Watched()
    async with api("anthropic", mock) as (made, name):
        encoded = lines(made, name, 2)
        await made.submit(OURS, None, encoded)
        async with anthropic.AsyncAnthropic(base_url=made.url.removesuffix("/v1"), api_key="k") as sdk:
            await sdk.messages.batches.create(requests=[json.loads(line) for line in encoded])
    ours, theirs = mock.sent("/v1/messages/batches")
    assert ours == theirs
    posts = [call for call in mock.calls if call.method == "POST"]
    assert posts[0].header("anthropic-version") is not None
