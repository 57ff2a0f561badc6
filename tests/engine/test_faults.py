"""What can go wrong around a whole run, by the command people use: it says so, loses nothing, and tells no secret."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forgiving import Forgiving

from smart_llm.errors import Refused
from smart_llm.ledger import Reader
from smart_llm.mock.faults import Faults
from smart_llm.mock.http import Call, Reply, reply
from smart_llm.mock.server import MockServer

KEY = "sk-do-not-tell-1234567890"
SECRET = "the patient's name is Rumpelstiltskin"


def table(path: Path, rows: int) -> Path:
    """Rows that nobody but the model should read."""
    path.write_text("text\n" + "".join(f"row {i}: {SECRET}\n" for i in range(rows)), encoding="utf-8")
    return path


def command(source: Path, url: str, *more: str) -> list[str]:
    """The same command every time; the key is in MY_KEY."""
    return [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(source), "--prompt", "? {text}", "--labels", "yes,no"),
        *("--reference", f"openai:big@{url}?in=10&out=10&key_env=MY_KEY", "--seed", "1", "--json"),
        *("--candidate", f"openai:small@{url}?in=1&out=1&key_env=MY_KEY", "--concurrency", "8", *more),
    ]


async def start(arguments: list[str], limit: Callable[[], None] | None = None) -> asyncio.subprocess.Process:
    """A run in a process of its own."""
    return await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "MY_KEY": KEY},
        preexec_fn=limit,
    )


async def ended(arguments: list[str], limit: Callable[[], None] | None = None) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = await start(arguments, limit)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """The ledger cannot grow any more: exit 5 with what to do, what was recorded is sound, and with room again the same
    command ends; only calls that were in flight are paid twice."""
    source = table(tmp_path / "t.csv", 400)
    server = MockServer(rule="label:yes,no")
    async with server as url:
        room = 500_000
        code, out, err = await ended(
            command(source, url), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        )
        assert (code, out) == (5, "")
        assert "could not be written" in err
        assert "Traceback" not in err
        with Reader.open(tmp_path / "t.csv.ledger.db") as reader:
            assert reader.verify() == []
            kept = reader.count()
        assert kept > 50
        code, out, err = await ended(command(source, url))
        assert code == 0, err
        stats = server.stats()
    assert json.loads(out)["certificate"]["claim"]["unsettled"] == 0
    assert stats["answered"] <= sum(model["distinct"] for model in stats["models"].values()) + 3 * 8


async def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """The first Ctrl-C waits for what is in flight, the second for nothing; what was recorded is kept."""
    source = table(tmp_path / "t.csv", 300)
    server = MockServer(rule="label:yes,no", latency=0.3)
    async with server as url:
        process = await start(command(source, url))
        while server.stats()["requests"] < 20:  # noqa: ASYNC110  the server has no event to wait for
            await asyncio.sleep(0.01)
        server._latency, before = 600.0, server.stats()["requests"]
        while server.stats()["requests"] == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # until one is in flight that does not end by itself
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        await asyncio.wait_for(process.stderr.readuntil(b"Stopping"), 60)  # it has heard the first one
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert b"again" in err
    with Reader.open(tmp_path / "t.csv.ledger.db") as reader:
        assert reader.verify() == []
        assert reader.count() > 0


async def test_no_key_and_no_prompt_leaves_by_the_back_door(tmp_path: Path) -> None:
    """Through all faults, with a server that quotes the key and the prompt: the key is in no file and no output, the
    rows' text only where it belongs (the ledger, which has an option against it, and the output)."""
    source = table(tmp_path / "t.csv", 120)
    server = Forgiving(rule="label:yes,no", key=KEY, faults=Faults.all(0.03), hang=0.1, pause=0.01, seed=2)
    async with server as url:
        code, *shown = await ended(command(source, url, "--no-store-text"))
        assert code == 0, shown
        assert server.keys == {KEY}
    async with Quoting() as url:
        for status in ("401", "404", "400"):
            own = ("--ledger", str(tmp_path / f"{status}.db"), "--output", str(tmp_path / f"{status}.csv"))
            code, *said = await ended(command(source, f"{url}/{status}", *own, "--no-store-text"))
            assert code == Refused.exit_code or status == "400"
            shown += said
    assert not any(KEY in text for text in shown)
    assert not any(SECRET in text for text in shown)
    files = contents(tmp_path)
    assert {"t.csv.ledger.db", "t.answers.csv", "t.answers.csv.certificate.json"} <= files.keys()
    assert not [name for name, data in files.items() if KEY.encode() in data]
    with_text = {name.partition("-")[0] for name, data in files.items() if SECRET.encode() in data}
    assert with_text <= {"t.csv", "t.answers.csv"}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Quoting(MockServer):
    """A server that refuses and quotes all it was sent, the key included. The status is in the address."""

    async def start(self) -> str:
        """Its address, without the version."""
        return (await super().start()).removesuffix("/v1")

    def handle(self, call: Call) -> Reply:
        """Everything back."""
        said = f"{call.headers.decode('latin-1')} {call.body.decode()}"
        return Reply(reply(int(call.path.split("/")[1]), json.dumps({"error": {"message": said}}).encode()))


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ((401, "invalid_api_key"), 3, "MY_KEY"),
        ((429, "insufficient_quota"), 3, "quota"),
        ((404, "model_not_found"), 3, "404"),
    ],
)
async def test_what_concerns_all_rows_stops_the_run(
    tmp_path: Path, fault: tuple[int, str], code: int, says: str
) -> None:
    """A wrong key, a used-up quota, an unknown model: exit 3 after few calls, with what to do; nothing is retried."""

    class Refusing(MockServer):
        def handle(self, call: Call) -> Reply:
            self.faulted["refused"] += 1
            error = {"message": "no", "type": fault[1], "code": fault[1]}
            return Reply(reply(fault[0], json.dumps({"error": error}).encode()))

    server = Refusing()
    async with server as url:
        found, out, err = await ended(command(table(tmp_path / "t.csv", 200), url))
    assert (found, out) == (code, "")
    assert says in err or "key" in err
    assert "Traceback" not in err
    assert server.faulted["refused"] <= 16


async def test_rows_the_provider_refuses_are_those_rows_errors(tmp_path: Path) -> None:
    """Content it will not touch and prompts too long for it: these rows have an error, all others their answer."""

    class Picky(MockServer):
        def handle(self, call: Call) -> Reply:
            for word, code in ((b"row 7:", "content_filter"), (b"row 9:", "context_length_exceeded")):
                if word in call.body:
                    return Reply(reply(400, json.dumps({"error": {"message": "no", "code": code}}).encode()))
            return super().handle(call)

    async with Picky(rule="label:yes,no") as url:
        code, out, err = await ended(command(table(tmp_path / "t.csv", 60), url))
    assert code == 0, err
    assert json.loads(out)["certificate"]["errors"]["rows"] == 2
    lines = (tmp_path / "t.answers.csv").read_text().splitlines()[1:]
    assert [i for i, line in enumerate(lines) if not line.endswith(",ok")] == [7, 9]


async def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall clocks go back and forth; waiting is measured by a clock that does not, and the ledger still verifies."""
    import time

    import smart_llm as smart

    jumps = iter(range(10**6))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(jumps) * 86_400.0)
    server = MockServer(rule="label:yes,no", faults=Faults(throttle=0.1, error=0.1), pause=0.01)
    async with server as url:
        done = await smart.arun(
            [{"text": f"row {i}"} for i in range(80)],
            smart.Task("? {text}", labels=["yes", "no"]),
            reference=f"openai:big@{url}?in=10&out=10",
            candidates=[f"openai:small@{url}?in=1&out=1"],
            ledger=tmp_path / "l.db",
            seed=1,
        )
    assert all(row["status"] == "ok" for row in done.table)
    assert smart.verify(json.loads(done.certificate.to_json()), tmp_path / "l.db") == []
