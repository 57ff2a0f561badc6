"""One row never stops a run, and the status of a row without an answer says what to do: whole runs, real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shapes import NO_TEXT, ROW, Said, Shaped, completion, error, message, once

import smart_llm as smart
from smart_llm.errors import ProviderError, Refused

LABELS = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
TEXT = smart.Task("Say it in a sentence.\n{text}", answer="text")
NUMBER = smart.Task("How many euros?\n{text}", answer="number")


async def run(
    server: Shaped,
    tmp_path: Path,
    task: smart.Task = LABELS,
    *,
    rows: int = 60,
    dialect: str = "openai",
    **options: Any,
) -> list[dict[str, Any]]:
    """The rows of a run by the reference alone; every thirteenth row is odd."""
    table = [{"text": f"odd {i}" if i % 13 == 5 else f"even {i}"} for i in range(rows)]
    options = {"seed": 1, "procedure": "reference-only", "ledger": tmp_path / "l.db", **options}
    async with server as url:
        spec = f"{dialect}:m@{url}?in=1&out=5"
        done = await smart.arun(table, task, reference=spec, candidates=[], **options)
    found: list[dict[str, Any]] = done.table
    return found


@pytest.mark.parametrize("name", ROW)
async def test_one_row_never_stops_a_run(name: str, tmp_path: Path) -> None:
    """Whatever a server says of the odd rows: they have an error, all others are answered, and no budget is harmed."""
    server = Shaped({"odd": ROW[name]})
    table = await run(server, tmp_path, budget=1.0)
    assert all(row["status"].startswith("error: ") == ("odd" in row["text"]) for row in table)
    assert all(row["answer"] == "yes" for row in table if "even" in row["text"])


async def test_an_empty_cell_at_anthropic(tmp_path: Path) -> None:
    """What Anthropic says of an empty cell is that row's error."""
    words = "messages.0: user messages must have non-empty content"
    said: Said = (400, {"type": "error", "error": {"type": "invalid_request_error", "message": words}})
    table = await run(Shaped({"odd": said}), tmp_path, dialect="anthropic")
    assert {row["status"] for row in table if "odd" in row["text"]} == {
        row["status"] for row in table if "non-empty" in row["status"]
    }
    assert sum(row["status"] == "ok" for row in table) == 55


async def test_rerun_goes_on_behind_the_odd_row(tmp_path: Path) -> None:
    """A first row that is refused, before anything was answered, does not stop the run either."""
    table = await run(Shaped({"even 0": ROW["OpenAI, words nobody knows"]}), tmp_path, concurrency=1)
    assert [row["status"] == "ok" for row in table] == [False] + [True] * 59


@pytest.mark.parametrize("rows", [5, 60])
async def test_a_server_that_refuses_everything_stops_the_run(rows: int, tmp_path: Path) -> None:
    """The words of the server are told, also of a small table; nothing has been answered."""
    server = Shaped({"": (400, error("this server is not set up"))})
    with pytest.raises(ProviderError, match="not set up"):
        await run(server, tmp_path, rows=rows)


async def test_a_server_that_begins_to_refuse_stops_the_run(tmp_path: Path) -> None:
    """In mid-run; mended, the run goes on and every row is answered."""
    answered: list[str] = []

    def react(body: dict[str, Any], prompt: str) -> Said:
        answered.append(prompt)
        return None if len(answered) <= 30 else (400, error("the licence has run out"))

    with pytest.raises(Refused, match=r"in a row.*the licence has run out"):
        await run(Shaped({"": react}), tmp_path, rows=120, concurrency=4)
    assert len(answered) < 30 + 25
    table = await run(Shaped({}), tmp_path, rows=120)
    assert all(row["status"] == "ok" for row in table)


async def test_throttled_inside_a_200(tmp_path: Path) -> None:
    """A router that says 429 inside a 200 is waited for, and no row is lost."""
    said: Said = (200, {"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": "slow down"}}})
    table = await run(Shaped({"odd": once(*[said] * 4)}), tmp_path)
    assert all(row["status"] == "ok" for row in table)


# --------------------------------------------------------------------------- how an answer ended


@pytest.mark.parametrize(("task", "cut"), [(TEXT, "It is 1250 euros and"), (NUMBER, "12")])
async def test_an_answer_that_was_cut_off_is_none(task: smart.Task, cut: str, tmp_path: Path) -> None:
    """A text or a number that ended at the limit breaks the contract, and the status says what to do."""
    server = Shaped({"odd": (200, completion(cut, finish="length"))}, text="1250")
    table = await run(server, tmp_path, task)
    for row in table:
        odd = "odd" in row["text"]
        assert (row["status"] == "ok", bool(row["answer"])) == (not odd, not odd)
        assert not odd or ("cut off" in row["status"] and "--max-tokens" in row["status"])


async def test_a_message_that_was_cut_off_is_none(tmp_path: Path) -> None:
    """The same in Anthropic's words."""
    server = Shaped({"odd": (200, message("It is 1250 euros and", stop_reason="max_tokens"))}, text="so")
    table = await run(server, tmp_path, TEXT, dialect="anthropic")
    assert all(("cut off" in row["status"]) == ("odd" in row["text"]) for row in table)


async def test_a_label_or_json_may_end_at_the_limit(tmp_path: Path) -> None:
    """A whole label, and a whole JSON value, are what they are, whatever came after."""
    server = Shaped({"odd": (200, completion("yes", finish="length"))})
    assert all(row["status"] == "ok" for row in await run(server, tmp_path))
    whole = smart.Task("JSON, please.\n{text}", schema={"type": "object"})
    server = Shaped({"odd": (200, completion('{"a": 1}', finish="length"))}, text="{}")
    table = await run(server, tmp_path / "json.db", whole, ledger=tmp_path / "json.db")
    assert all(row["status"] == "ok" for row in table)


THOUGHT = {"prompt_tokens": 9, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 20}}
ENDINGS: dict[str, tuple[Said, str]] = {
    "thoughts cut off": ((200, completion("", finish="length", usage=THOUGHT)), "?thinking=2000"),
    "thoughts in the text": ((200, completion("<think>hm, so", finish="length")), "?effort=none"),
    "thoughts, no answer": ((200, completion(None, reasoning_content="hm", usage=THOUGHT)), "?effort=none"),
    "refused": ((200, completion(None, refusal="I cannot help with that.")), "refused"),
    "filtered": (NO_TEXT["Azure without a message"], "safety filter"),
    "Gemini, null": (NO_TEXT["Gemini, null"], "empty"),
    "empty": ((200, completion("")), "empty"),
}


@pytest.mark.parametrize(("said", "tells"), ENDINGS.values(), ids=ENDINGS)
async def test_the_status_says_why_there_is_no_answer(said: Said, tells: str, tmp_path: Path) -> None:
    """Thinking without an answer, refusal, safety: each in its own words, after one call, and counted."""
    server = Shaped({"odd": said})
    table = await run(server, tmp_path)
    for row in table:
        assert row["status"] == "ok" if "even" in row["text"] else tells in row["status"]
    assert set(server.seen.values()) == {1}


async def test_what_was_cut_off_is_no_evidence_for_a_candidate(tmp_path: Path) -> None:
    """A candidate's number that was cut off is never delivered, and the certificate verifies from the ledger."""

    def react(body: dict[str, Any], prompt: str) -> Said:
        whole = str(1000 + sum(map(ord, prompt)) % 7)
        if body["model"] == "big":
            return 200, completion(whole)
        return 200, completion(whole[:2], finish="length") if "3" in prompt else completion(whole)

    table = [{"text": f"row {i}"} for i in range(300)]
    async with Shaped({"": react}) as url:
        done = await smart.arun(
            table,
            NUMBER,
            reference=f"openai:big@{url}?in=10&out=50",
            candidates=[f"openai:small@{url}?in=0.1&out=0.5"],
            agreement=0.9,
            seed=2,
            ledger=tmp_path / "l.db",
        )
    assert all(len(row["answer"]) == 4 for row in done.table)
    assert done.certificate.granted
    path = tmp_path / "c.json"
    path.write_text(json.dumps(json.loads(done.certificate.to_json())))
    assert smart.verify(path, ledger=tmp_path / "l.db") == []
