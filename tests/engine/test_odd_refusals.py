"""Refusals that would stop a run at its first row are one row's where the model has answered others: whole runs, real
sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shapes import Said, Shaped, completion, error

import smart_llm as smart
from smart_llm.errors import ProviderError

LABELS = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
PAGE = b"<html>blocked</html>"
ODD: dict[str, Said] = {
    "a firewall sends the caller elsewhere": (302, PAGE, {"Location": "https://blocked.test/why"}),
    "a redirect to itself": (307, b"", {"Location": "/v1/chat/completions"}),
    "not modified": (304, b""),
    "several choices": (300, {"choices": "see elsewhere"}),
    "403 in words nobody knows": (403, {"reason": "Richtlinie 12b", "ok": False}),
    "403 of a gateway": (403, error("Your request was rejected by the guardrail topic-7.", code="guardrail")),
    "404 of a router": (404, error("No endpoints found that can take this input.", code=404)),
    "405": (405, b"Method Not Allowed"),
    "410": (410, error("gone")),
}


async def run(server: Shaped, tmp_path: Path, rows: int = 60, **options: Any) -> list[dict[str, Any]]:
    """The rows of a run by the reference alone; every thirteenth row is odd."""
    table = [{"text": f"odd {i}" if i % 13 == 5 else f"even {i}"} for i in range(rows)]
    options = {"seed": 1, "procedure": "reference-only", "ledger": tmp_path / "l.db", "concurrency": 2, **options}
    async with server as url:
        done = await smart.arun(table, LABELS, reference=f"openai:m@{url}?in=1&out=5", candidates=[], **options)
    found: list[dict[str, Any]] = done.table
    return found


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
async def test_one_odd_refusal_is_its_rows(said: Said, tmp_path: Path) -> None:
    """Others were answered with this key, at this address, by this model: so it is the row."""
    server = Shaped({"odd": said})
    table = await run(server, tmp_path)
    assert all(row["status"].startswith("error: ") == ("odd" in row["text"]) for row in table)
    assert set(server.seen.values()) == {1}


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
async def test_a_server_that_says_so_of_everything_stops_the_run_at_once(said: Said, tmp_path: Path) -> None:
    """Nothing was ever answered: a few calls, and the run stops."""
    server = Shaped({"": said})
    with pytest.raises(ProviderError):
        await run(server, tmp_path)
    assert len(server.bodies) <= 24


async def test_a_server_that_begins_to_redirect_stops_the_run(tmp_path: Path) -> None:
    """In mid-run, with its words, after a few rows; mended, the run goes on and every row is answered."""
    count = iter(range(1000))

    def react(body: dict[str, Any], prompt: str) -> Said:
        return (200, completion("yes")) if next(count) < 20 else (302, b"", {"Location": "https://login.test"})

    with pytest.raises(ProviderError, match="redirects to another address"):
        await run(Shaped({"": react}), tmp_path)
    table = await run(Shaped({}), tmp_path)
    assert all(row["status"] == "ok" for row in table)


@pytest.mark.parametrize("status", [401, 402, 407])
async def test_a_key_that_is_no_longer_taken_stops_the_run_at_once(status: int, tmp_path: Path) -> None:
    """Key and money are everybody's: no other row is asked in vain."""
    server = Shaped({"odd 5": (status, error("no"))})
    with pytest.raises(ProviderError):
        await run(server, tmp_path)
    assert len(server.bodies) < 12
