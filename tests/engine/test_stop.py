"""Stopping: what is in flight is finished and kept, what waits for its turn is not sent, the same command goes on."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
from killing import Command, finished
from shapes import Shaped, error

from smart_llm.engine.pool import all_of, each
from smart_llm.errors import Interrupted
from smart_llm.events import Stop
from smart_llm.ledger import Reader
from smart_llm.mock.server import MockServer


async def test_rows_in_flight_are_finished() -> None:
    """After a stop no new row starts, those in flight end, and `Interrupted` is raised."""
    stop, started, ended = Stop(), [], []

    async def work(row: int) -> None:
        started.append(row)
        await asyncio.sleep(0.01)
        if row == 2:
            stop.request()
        ended.append(row)

    with pytest.raises(Interrupted):
        await each(range(100), work, workers=4, stop=stop)
    assert sorted(started) == sorted(ended)
    assert len(started) < 12


async def test_no_call_is_left_behind() -> None:
    """When one of several calls fails, the failure is raised only after the others have ended."""
    ended = []

    async def call(k: int) -> int:
        await asyncio.sleep(0.01 * k)
        if k == 0:
            raise ValueError(k)
        ended.append(k)
        return k

    with pytest.raises(ValueError, match="0"):
        await all_of(call(k) for k in range(3))
    assert ended == [1, 2]
    assert await all_of(call(k) for k in (1, 2)) == [1, 2]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    """Exit 130 with what to do next, every answer given is in the ledger, nothing is paid twice afterwards."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(300)))
    server = MockServer(rule="label:yes,no", latency=0.02)
    async with server as url:
        command = [
            *(sys.executable, "-m", "smart_llm.cli", "run", str(tmp_path / "t.csv"), "--prompt", "? {text}"),
            *("--labels", "yes,no", "--reference", f"openai:big@{url}?in=10&out=10", "--concurrency", "8"),
            *("--candidate", f"openai:small@{url}?in=1&out=1&enforce=none", "--seed", "1", "--json"),
        ]
        process = Command(command)
        while server.stats()["answered"] < 60:  # noqa: ASYNC110  the server has no event to wait for
            await asyncio.sleep(0.01)
        process.send_signal(how)
        out, err = await process.communicate()
        assert process.returncode == 130
        assert out == b""
        kept, written, again = err.decode().splitlines()[-3:]
        assert kept.startswith("kept: ")
        assert kept.endswith(f"in the ledger {tmp_path / 't.csv.ledger.db'}")
        assert "t.answers.csv.certificate.json (pending)" in written
        assert shlex.split(again)[:5] == ["go", "on:", "python", "-m", "smart_llm"]
        assert shlex.split(again)[5:] == command[3:]
        given = server.stats()["answered"]
        with Reader.open(tmp_path / "t.csv.ledger.db") as reader:
            assert reader.count() == given
        assert json.loads((tmp_path / "t.answers.csv.certificate.json").read_text())["status"] == "pending"
        assert (await finished(command))["certificate"]["claim"]["unsettled"] == 0
        stats = server.stats()
        assert stats["answered"] == sum(model["distinct"] for model in stats["models"].values())


@pytest.mark.parametrize(("named", "how"), [("60", signal.SIGINT), ("1e300", signal.SIGTERM)])
async def test_a_stop_does_not_wait_for_what_a_server_asks(tmp_path: Path, named: str, how: signal.Signals) -> None:
    """All calls wait because a server names a time without end, or a minute: Ctrl-C ends the run before that minute is
    over."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(40)))
    server = Shaped({"": (429, error("Rate limit reached."), {"Retry-After": named})})
    async with server as url:
        command = [
            *(sys.executable, "-m", "smart_llm.cli", "run", str(tmp_path / "t.csv"), "--prompt", "? {text}"),
            *("--labels", "yes,no", "--reference", f"openai:big@{url}?in=10&out=10", "--json"),
            *("--candidate", f"openai:small@{url}?in=1&out=1&enforce=none", "--seed", "1"),
        ]
        process = Command(command)
        while not server.bodies:  # noqa: ASYNC110  the server has no event to wait for
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        process.send_signal(how)
        begun = time.monotonic()
        _, err = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode == 130
    assert time.monotonic() - begun < 40
    assert b"again" in err
