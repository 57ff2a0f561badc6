"""A killed run loses nothing it was told to be durable, and leaves no lock behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smart_llm.errors import InputError
from smart_llm.ledger import Ledger, request_key
from smart_llm.types import Request

WRITER = """
import asyncio, sys
from smart_llm.ledger import Ledger, request_key
from smart_llm.types import Answer, Request

async def main():
    ledger = Ledger.open(sys.argv[1])
    async def write(worker):
        for number in range(10**6):
            request = Request("m", f"{worker}/{number}", 1)
            await ledger.put(request_key(request), request, Answer("yes", cost=1.0), run="r")
            print(request.prompt, flush=True)
    await asyncio.gather(*map(write, range(16)))

asyncio.run(main())
"""


def start(path: Path) -> subprocess.Popen[str]:
    """A process that writes until it is killed and prints what it was told to be durable."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)


def test_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Three kills at different moments: every acknowledged answer is there, and the ledger verifies."""
    path, told = tmp_path / "l", set()
    for pause in (0.0, 0.05, 0.2):
        with start(path) as writer:
            assert writer.stdout is not None
            told.add(writer.stdout.readline().strip())
            time.sleep(pause)
            writer.send_signal(signal.SIGKILL)
            told |= {line.strip() for line in writer.stdout if line.endswith("\n")}
    with Ledger.open(path) as ledger:
        assert all(ledger.get(request_key(Request("m", prompt, 1))) for prompt in told)
        assert ledger.verify() == []
        assert ledger.spent("r") >= len(told) > 3


def test_second_run_is_told(tmp_path: Path) -> None:
    """While a run holds the ledger another is refused with the holder's number; after a kill it is free."""
    path = tmp_path / "l"
    with start(path) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(InputError, match=f"process {writer.pid}"):
            Ledger.open(path)
        writer.kill()
    Ledger.open(path).close()


def test_second_run_in_one_process_is_told(tmp_path: Path) -> None:
    """The lock holds within a process as well."""
    with Ledger.open(tmp_path / "l"), pytest.raises(InputError, match="Another run"):
        Ledger.open(tmp_path / "l")
    Ledger.open(tmp_path / "l").close()
