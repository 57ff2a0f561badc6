"""`smart doctor`: what is there, what is missing, who answers; never a key."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.cli.diagnosis import BAD, GOOD, REMARK, Diagnosis, examine
from smart_llm.mock.answers import Said
from smart_llm.mock.server import MockServer

Command = Callable[..., tuple[int, str, str]]
SECRET = "sk-very-secret"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A provider that answers."""
    server = MockServer(lambda model, prompt: Said("yes"))
    yield await server.start()
    await server.stop()


async def _listening(reply: bytes | None) -> tuple[asyncio.Server, str]:
    """A server of few words: says `reply` and hangs up; None: says nothing at all."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if reply is None:
                await reader.read()
            else:
                writer.write(reply)
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def state(found: Diagnosis, name: str) -> tuple[str, str]:
    """What was found of one thing."""
    (finding,) = (each for each in found.findings if each.name == name)
    return finding.state, finding.said


def model(url: str, options: str = "") -> str:
    """A model at an address."""
    return f"openai:m@{url}?in=1&out=1{options}"


async def test_all_is_well(tmp_path: Path, url: str) -> None:
    """Versions, a ledger, an address that answers: in order, exit code 0, and the folder is as it was."""
    found = await examine([model(url)], folder=tmp_path)
    assert found.exit_code == 0
    assert state(found, "SQLite") == (GOOD, sqlite3.sqlite_version)
    assert state(found, "ledgers here")[0] == GOOD
    assert state(found, url)[0] == GOOD
    assert os.listdir(tmp_path) == []


async def test_addresses_that_do_not_answer(tmp_path: Path) -> None:
    """Nobody there, silence, nonsense, a redirect: each is said, within the time allowed, with exit code 3."""
    silent, hush = await _listening(None)
    babbling, noise = await _listening(b"hello there\r\n\r\n")
    moved, away = await _listening(b"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n")
    nobody = "http://127.0.0.1:9/v1"
    start = asyncio.get_running_loop().time()
    found = await examine([model(each) for each in (hush, noise, away, nobody)], folder=tmp_path, seconds=0.5)
    assert asyncio.get_running_loop().time() - start < 60
    assert found.exit_code == 3
    said = {name: state(found, name) for name in (hush, noise, away, nobody)}
    assert {each for each, _ in said.values()} == {BAD}
    assert "no answer in time" in said[hush][1]
    assert "redirects" in said[away][1]
    assert "cannot be reached" in said[nobody][1]
    for server in (silent, babbling, moved):
        server.close()


async def test_offline_asks_nobody(tmp_path: Path) -> None:
    """With `offline` an address is not asked, so none is missing."""
    found = await examine([model("http://127.0.0.1:9/v1")], folder=tmp_path, offline=True)
    assert found.exit_code == 0
    assert not [each for each in found.findings if each.about == "address"]


async def test_keys_are_present_or_not_and_never_shown(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is set or not set; one that a model needs is missed; its value is in no finding."""
    monkeypatch.setenv("MY_KEY", SECRET)
    found = await examine([model(url, "&key_env=MY_KEY"), "openai:gpt-4.1"], folder=tmp_path, offline=True)
    assert state(found, "MY_KEY")[0] == GOOD
    assert state(found, "OPENAI_API_KEY")[0] == BAD
    assert found.exit_code == 2
    everybodys = await examine([], folder=tmp_path, offline=True)
    assert state(everybodys, "ANTHROPIC_API_KEY")[0] == REMARK
    assert SECRET not in found.text() + json.dumps(found.to_json())


async def test_no_key_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is asked without its key."""
    heard: list[bytes] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    monkeypatch.setenv("MY_KEY", SECRET)
    found = await examine([model(url, "&key_env=MY_KEY")], folder=tmp_path)
    assert state(found, url)[0] == GOOD
    assert len(heard) == 1
    assert SECRET.encode() not in heard[0]
    server.close()


async def test_a_folder_that_cannot_hold_a_ledger(tmp_path: Path) -> None:
    """A place below a file cannot be written: said with the place, exit code 2."""
    (tmp_path / "file").write_text("")
    found = await examine(folder=tmp_path / "file" / "below", offline=True)
    assert state(found, "ledgers here")[0] == BAD
    assert found.exit_code == 2


async def test_an_old_sqlite_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older than what is tested against: exit code 2."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 7, 17))
    found = await examine(folder=tmp_path, offline=True)
    assert state(found, "SQLite")[0] == BAD
    assert found.exit_code == 2


async def test_models_that_cannot_be_used(tmp_path: Path) -> None:
    """No price, an unknown provider, a local model that is not there: each is said, none ends the examination."""
    found = await examine(["fake:q", "nobody:1", "local:none", "fake:ok?in=1&out=1"], folder=tmp_path, offline=True)
    assert state(found, "fake:q")[0] == BAD
    assert state(found, "nobody:1")[0] == BAD
    assert state(found, "local:none")[0] == BAD
    assert found.exit_code == 2


async def test_the_time_allowed_must_be_one(tmp_path: Path) -> None:
    """A time limit of nothing is a mistake."""
    with pytest.raises(smart.InputError, match="timeout="):
        await examine(folder=tmp_path, seconds=0)


def test_the_command(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`smart doctor` prints a line a finding, or one JSON object, and returns the exit code."""
    monkeypatch.chdir(tmp_path)
    for arguments, code in ((["--offline"], 0), (["fake:q", "--offline", "--json"], 2)):
        ended, printed, _ = command("doctor", *arguments)
        assert ended == code
        assert printed.count("\n") == 1 if "--json" in arguments else "SQLite" in printed
    assert json.loads(printed)["ok"] is False


async def test_a_model_without_a_price_is_looked_at_all_the_same(tmp_path: Path, url: str) -> None:
    """That its price is missing is said, and its address is tried."""
    found = await examine([f"openai:big@{url}"], folder=tmp_path)
    assert any(each.about == "model" and "no price known" in each.said for each in found.findings)
    assert [each.state for each in found.findings if each.about == "address"] == ["ok"]
    assert found.exit_code == 2


async def test_keys_of_others_are_not_listed_where_models_are_named(tmp_path: Path) -> None:
    """A model on this machine needs no key, so none is spoken of."""
    found = await examine(["local:no-such-model"], folder=tmp_path, offline=True)
    assert not [each for each in found.findings if each.about == "key"]
