"""Ctrl-C from the first moment on: which command goes on, and whether anything was begun. No silence, no traceback."""

from __future__ import annotations

import asyncio
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from killing import Command

from smart_llm.mock import MockServer

WATCHED = """
import os, signal, sys
asked, sys.argv = sys.argv[1], ["smart_llm/__main__.py", *sys.argv[2:]]

class Ctrl:
    def find_spec(self, name, path=None, target=None):
        if name == asked:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Ctrl())
from smart_llm.__main__ import main
main()
"""
"""Runs the command, and presses Ctrl-C when it begins to load a module."""
MOMENTS = [
    "smart_llm.cli",
    "typer",
    "smart_llm.cli.verify",
    "smart_llm.execution",
    "numpy",
    "smart_llm.tables.reading",
]


def interrupted(module: str, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines on stderr of a command that is interrupted while this module is loaded."""
    done = subprocess.run([sys.executable, "-c", WATCHED, module, *arguments], capture_output=True, text=True)
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("module", MOMENTS)
def test_ctrl_c_while_loading_names_the_command(tmp_path: Path, module: str) -> None:
    """Two lines and exit 130, whatever is being loaded: nothing was begun, and this command goes on."""
    (tmp_path / "t.csv").write_text("text\na\nb\n")
    arguments = [
        *("run", str(tmp_path / "t.csv"), "--prompt", "Good or bad? {text}", "--labels", "good,bad"),
        *("--reference", "openai:m@http://127.0.0.1:9/v1?in=1&out=1", "--procedure", "reference-only"),
    ]
    code, lines = interrupted(module, *arguments)
    assert code == 130
    assert len(lines) == 2, lines
    assert lines[0].startswith("smart: stopped before anything was begun")
    assert shlex.split(lines[1]) == ["go", "on:", "python", "-m", "smart_llm", *arguments]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_ctrl_c_while_loading_another_verb() -> None:
    """Verbs that spend nothing speak of no money."""
    code, lines = interrupted("smart_llm.reports", "runs")
    assert (code, lines) == (130, ["smart: stopped.", "go on: python -m smart_llm runs"])


def test_a_mock_provider_that_is_stopped_has_served() -> None:
    """It does not say that nothing was begun."""
    command = [sys.executable, "-m", "smart_llm", "mock-provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as mock:
        assert mock.stdout is not None
        mock.stdout.readline()
        mock.send_signal(signal.SIGINT)
        _, said = mock.communicate(timeout=60)
    assert mock.returncode == 130
    assert said.splitlines()[-2:] == ["smart: stopped.", "go on: python -m smart_llm mock-provider --port 0"]


async def test_a_pilot_that_is_stopped_names_the_command(tmp_path: Path) -> None:
    """`smart plan --pilot` buys answers: what is kept is kept, and the same command goes on."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(800)))
    server = MockServer(rule="label:yes,no", latency=0.05)
    async with server as url:
        arguments = [
            *("plan", str(tmp_path / "t.csv"), "--prompt", "? {text}", "--labels", "yes,no", "--pilot", "250"),
            *("--reference", f"openai:big@{url}?in=10&out=10", "--concurrency", "2"),
            *("--candidate", f"openai:small@{url}?in=1&out=1&enforce=none"),
        ]
        process = Command([sys.executable, "-m", "smart_llm", *arguments])
        while server.stats()["answered"] < 4:  # noqa: ASYNC110  the server has no event to wait for
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
    assert process.returncode == 130
    assert "is kept" in said.decode()
    assert shlex.split(said.decode().splitlines()[-1]) == ["go", "on:", "python", "-m", "smart_llm", *arguments]


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """What a shell started in the background is not stopped by a Ctrl-C that is meant for something else."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "typer", "--version"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.returncode == 0
    assert done.stdout.startswith("smart ")
