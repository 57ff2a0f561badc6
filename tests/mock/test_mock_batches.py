"""The mock's batches are what the official SDKs expect, fail as told, and count what they would bill."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from later import anthropic, openai

from smart_llm.mock import MockServer
from smart_llm.mock.batches import BatchFaults, BatchSettings


def lines(count: int, model: str = "m", prefix: str = "row") -> bytes:
    """An input file of so many requests."""
    made = [
        {
            "custom_id": f"c-{i}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": f"{prefix} {i}"}]},
        }
        for i in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in made)


async def submitted(sdk: openai.AsyncOpenAI, data: bytes) -> Any:
    """Upload and submit."""
    file = await sdk.files.create(file=("in.jsonl", io.BytesIO(data)), purpose="batch")
    return await sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"mine": "yes"},
    )


async def ended(sdk: openai.AsyncOpenAI, data: bytes) -> Any:
    """Submit, and wait for the end."""
    batch = await submitted(sdk, data)
    seen = [batch.status]
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        await asyncio.sleep(0.005)
        batch = await sdk.batches.retrieve(batch.id)
        seen.append(batch.status)
    return batch, list(dict.fromkeys(seen))


async def content(sdk: openai.AsyncOpenAI, file: str | None) -> list[Any]:
    """The lines of a file."""
    assert file is not None
    return [json.loads(line) for line in (await sdk.files.content(file)).text.splitlines()]


async def test_the_official_openai_client_is_served() -> None:
    """Upload, submit, poll through all states, list, fetch: unordered lines, each with a whole completion."""
    async with MockServer(key="k") as url, openai.AsyncOpenAI(base_url=url, api_key="k") as sdk:
        batch, seen = await ended(sdk, lines(20))
        states = ["validating", "in_progress", "finalizing", "completed"]
        assert seen == [each for each in states if each in seen]  # a busy machine may look too seldom to see them all
        assert (seen[0], seen[-1]) == (states[0], states[-1])
        assert (batch.request_counts.completed, batch.request_counts.total, batch.error_file_id) == (20, 20, None)
        found = await content(sdk, batch.output_file_id)
        listed = [each async for each in sdk.batches.list(limit=1)]
    ids = [line["custom_id"] for line in found]
    assert ids != sorted(ids, key=lambda name: int(name[2:]))
    assert len(set(ids)) == 20
    assert {line["response"]["body"]["choices"][0]["message"]["content"] for line in found} == {"positive", "negative"}
    assert [(each.id, each.metadata) for each in listed] == [(batch.id, {"mine": "yes"})]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{not json}\n", "invalid_json_line"),
        (lines(2) + lines(1), "duplicate_custom_id"),
        (lines(1) + lines(3, "other").split(b"\n")[2], "mismatched_model"),
        (lines(1).replace(b"/v1/chat/completions", b"/v1/embeddings"), "invalid_url"),
    ],
)
async def test_what_is_wrong_is_found_while_validating(data: bytes, code: str) -> None:
    """A file that cannot be run fails with the code and the line, and bills nothing."""
    server = MockServer()
    async with server as url, openai.AsyncOpenAI(base_url=url, api_key="k") as sdk:
        batch, seen = await ended(sdk, data)
        assert seen[-1] == "failed"
        assert batch.errors.data[0].code == code
        assert batch.errors.data[0].line is not None
        assert server.stats()["batches"]["openai"]["billed"] == 0


async def test_too_many_queued_tokens_fail_a_batch() -> None:
    """While one is running there is no room for another; afterwards there is."""
    server = MockServer(batches=BatchSettings(queue_tokens=300, working=1e9))
    async with server as url, openai.AsyncOpenAI(base_url=url, api_key="k") as sdk:
        first = await submitted(sdk, lines(20))
        second, _ = await ended(sdk, lines(20))
        assert server._mount is not None
        server._mount.openai_store.settings = BatchSettings(queue_tokens=300, working=0.0)
        while (await sdk.batches.retrieve(first.id)).status != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        third, _ = await ended(sdk, lines(20))
    assert (second.status, second.errors.data[0].code) == ("failed", "token_limit_exceeded")
    assert third.status == "completed"


@pytest.mark.parametrize(("fate", "status"), [("expire", "expired"), ("cancel", "cancelled")])
async def test_half_of_a_batch_that_ends_early_is_done(fate: str, status: str) -> None:
    """What was done is in the output file and billed; the rest is in the error file with its code."""
    server = MockServer(batches=BatchSettings(faults=BatchFaults(**{fate: 1.0})))
    async with server as url, openai.AsyncOpenAI(base_url=url, api_key="k") as sdk:
        batch, _ = await ended(sdk, lines(10))
        good, bad = await content(sdk, batch.output_file_id), await content(sdk, batch.error_file_id)
    assert (batch.status, len(good), len(bad)) == (status, 5, 5)
    assert {line["error"]["code"] for line in bad} == {f"batch_{status}"}
    assert server.stats()["batches"]["openai"]["billed"] == 5


async def test_what_is_answered_twice_is_counted() -> None:
    """The same request in two batches is billed twice, and told."""
    server = MockServer()
    async with server as url, openai.AsyncOpenAI(base_url=url, api_key="k") as sdk:
        await ended(sdk, lines(10))
        await ended(sdk, lines(4))
    stats = server.stats()["batches"]["openai"]
    assert (stats["billed"], stats["billed_twice"], stats["submitted"]) == (14, 4, 2)


async def test_a_cancelled_batch_ends() -> None:
    """Cancelling leads over `cancelling` to `cancelled`."""
    async with (
        MockServer(batches=BatchSettings(working=60)) as url,
        openai.AsyncOpenAI(base_url=url, api_key="k") as sdk,
    ):
        batch = await submitted(sdk, lines(4))
        assert (await sdk.batches.cancel(batch.id)).status == "cancelling"
        while (status := (await sdk.batches.retrieve(batch.id)).status) == "cancelling":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert status == "cancelled"


async def test_the_official_anthropic_client_is_served() -> None:
    """Submit, poll, list, fetch: unordered results, each a whole message; nothing tells whose a batch is."""
    made: Any = [
        {
            "custom_id": f"c-{i}",
            "params": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": f"row {i}"}]},
        }
        for i in range(10)
    ]
    made[3]["params"]["temperature"] = "hot"
    server = MockServer(key="k")
    async with server as url, anthropic.AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="k") as sdk:
        batch = await sdk.messages.batches.create(requests=made)
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 10)
        while batch.processing_status != "ended":
            await asyncio.sleep(0.01)
            batch = await sdk.messages.batches.retrieve(batch.id)
        results = [result async for result in await sdk.messages.batches.results(batch.id)]
        listed = [each.id async for each in sdk.messages.batches.list(limit=1)]
    assert listed == [batch.id]
    assert (batch.request_counts.succeeded, batch.request_counts.errored) == (9, 1)
    kinds = {result.custom_id: result.result.type for result in results}
    assert len(kinds) == 10
    assert kinds["c-3"] == "errored"
    assert server.stats()["batches"]["anthropic"]["billed"] == 9


async def test_a_server_without_batches_knows_no_such_address() -> None:
    """Endpoints that only speak the protocol of calls answer 404."""
    async with MockServer(batches=None) as url, openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as sdk:
        with pytest.raises(openai.NotFoundError):
            await sdk.batches.list()
