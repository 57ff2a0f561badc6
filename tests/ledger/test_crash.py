"""A killed run loses nothing it was told to be durable, and leaves no lock behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smart_llm.errors import InputError
from smart_llm.ledger import Ledger, Reader, request_key
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

FORKER = """
import os, sys, time
from smart_llm.ledger import Ledger

ledger = Ledger.open(sys.argv[1])
there, here = os.pipe()
child = os.fork()
if child == 0:
    os.write(here, b"!")
    time.sleep(60)
os.read(there, 1)
print(child, flush=True)
if sys.argv[2] == "close":
    ledger.close()
print("ready", flush=True)
time.sleep(60)
"""


def start(path: Path) -> subprocess.Popen[str]:
    """A process that writes until it is killed and prints what it was told to be durable."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)


def test_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Three kills at different moments: every acknowledged answer is there, and the ledger verifies."""
    path, told = tmp_path / "l", set()
    for lines in (1, 50, 400):
        with start(path) as writer:
            assert writer.stdout is not None
            told |= {writer.stdout.readline().strip() for _ in range(lines)}
            writer.send_signal(signal.SIGKILL)
            told |= {line.strip() for line in writer.stdout if line.endswith("\n")}
    with Ledger.open(path) as ledger:
        assert all(ledger.get(request_key(Request("m", prompt, 1))) for prompt in told)
        assert ledger.verify() == []
        assert ledger.spent("r") >= len(told) >= 400


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


def test_a_lock_file_left_behind_blocks_nobody(tmp_path: Path) -> None:
    """What a dead process left in the side file keeps nobody out, whatever number stands there."""
    path = tmp_path / "l"
    Path(f"{path}.lock").write_text("1 is the number of a process that is always there")
    Ledger.open(path).close()


def test_readers_are_never_locked_out(tmp_path: Path) -> None:
    """A ledger that another process is writing can be read, and reading it locks nobody out."""
    path = tmp_path / "l"
    with start(path) as writer:
        assert writer.stdout is not None
        said = writer.stdout.readline().strip()
        with Reader.open(path) as reader:
            assert reader.get(request_key(Request("m", said, 1))) is not None
        writer.kill()
    with Reader.open(path), Ledger.open(path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("ends", ["close", "kill"])
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path, ends: str) -> None:
    """A process forked during a run outlives it, however it ends, and the ledger is free all the same."""
    path = tmp_path / "l"
    with subprocess.Popen([sys.executable, "-c", FORKER, str(path), ends], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.stdout.readline()
            if ends == "kill":
                parent.kill()
                parent.wait()
            Ledger.open(path).close()
        finally:
            os.kill(child, signal.SIGKILL)
            parent.kill()
