"""Commands in processes of their own: run to the end, or killed on the way.

Each is forked from a process that has loaded what a run needs, as loading it takes longer than most of these runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from forks import FORKS, start

from smart_llm.mock.server import MockServer


def _run(arguments: list[str], env: dict[str, str], folder: str, written: str) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{written}/{name}", os.O_WRONLY), number)
    start(arguments, env, folder)


class Command:
    """A command of this interpreter, begun."""

    def __init__(self, arguments: list[str]) -> None:
        self._folder = tempfile.mkdtemp()
        for name in ("out", "err"):
            Path(self._folder, name).touch()  # it may be killed before it has begun
        told = (arguments[1:], dict(os.environ), str(Path.cwd()), self._folder)
        self._process = FORKS.Process(target=_run, args=told, daemon=True)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """None as long as it runs; below 0 where a signal ended it."""
        return self._process.exitcode

    def send_signal(self, which: int) -> None:
        """Unless it has ended."""
        if self.returncode is None and self._process.pid is not None:
            os.kill(self._process.pid, which)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end: all that it has written."""
        await asyncio.to_thread(self._process.join)
        out, err = (Path(self._folder, name).read_bytes() for name in ("out", "err"))  # noqa: ASYNC240
        shutil.rmtree(self._folder)
        return out, err


def ended(code: str, folder: str) -> tuple[int | None, str]:
    """Run this code, which may import what is in a folder: exit code and what it has written to stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", folder)
        command = Command([sys.executable, "-c", code])
    _, err = asyncio.run(command.communicate())
    return command.returncode, err.decode()


async def finished(arguments: list[str]) -> dict[str, Any]:
    """Run to the end; the one JSON object it prints."""
    process = Command(arguments)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    result: dict[str, Any] = json.loads(out)
    return result


async def killed(arguments: list[str], server: MockServer, answered: int) -> None:
    """Run until the server has given so many answers more, then SIGKILL."""
    goal = server.stats()["answered"] + answered
    process = Command(arguments)
    while server.stats()["answered"] < goal:
        await asyncio.sleep(0.01)
        assert process.returncode is None, "it ended before it could be killed"
    process.kill()
    await process.communicate()
