"""Commands as `subprocess` begins them, forked from a process that has loaded what they need.

Loading it takes a second of CPU, longer than most of these commands. Streams, terminal, signals and exit codes are
those of any process; how the interpreter itself starts is tested where that is meant.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import reduction
from pathlib import Path
from typing import IO, Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *("smart_llm.cli", "smart_llm.execution", "smart_llm.learned.model", "smart_llm.gateway.serving"),
        *("smart_llm.procedures.ladder.procedure", "smart_llm.providers.openai", "smart_llm.reports.history"),
        *("polars", "numpy.random", "pydantic.type_adapter", "pydantic.types", "pytest"),
    ]
)


class _Stream:
    """A file that the process gets."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (reduction.DupFd(self._file),)


def _received(sent: Any) -> int:
    file: int = sent.detach()
    return file


def _streams(files: Sequence[int]) -> None:
    """These files as stdin, stdout and stderr, as the interpreter sets them up."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in {*files} - {0, 1, 2}:
        os.close(file)
    encoding = sys.stdout.encoding
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding, "backslashreplace", closefd=False)


def start(arguments: Sequence[str], env: Mapping[str, str], folder: str) -> None:
    """As the interpreter would: a module (-m NAME), code (-c CODE) or a file, and what it is given."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path[:0] = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = [*arguments[arguments[0] in ("-m", "-c") :]]
    if arguments[0] == "-c":
        exec(compile(arguments[1], "<string>", "exec", dont_inherit=True), {"__name__": "__main__"})
    elif arguments[0] == "-m":
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(arguments[0], run_name="__main__")


def _begin(arguments: Sequence[str], env: Mapping[str, str], folder: str, files: Sequence[int], own: bool) -> None:
    _streams(files)
    if own:  # the terminal is the one that Ctrl-C comes from
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    start(arguments, env, folder)


class Forked:
    """A command of this interpreter: what tests use of `subprocess.Popen`. on_terminal: stdin is its own terminal."""

    def __init__(
        self,
        command: Sequence[object],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        on_terminal: bool = False,
    ) -> None:
        given, mine, nothing = [stdin, stdout, stderr], list[IO[str] | None](), os.open(os.devnull, os.O_RDWR)
        ours = [nothing]
        for number, each in enumerate(given):
            mine.append(None)
            if each == subprocess.PIPE:
                read, given[number] = os.pipe()
                mine[-1] = os.fdopen(read, encoding="utf-8")
                ours.append(given[number])
            elif each == subprocess.DEVNULL:
                given[number] = nothing
        _, self.stdout, self.stderr = mine
        arguments = [str(word) for word in command[1:]]
        told = (arguments, dict(os.environ if env is None else env), str(Path.cwd()), list(map(_Stream, given)))
        self._process = FORKS.Process(target=_begin, args=(*told, on_terminal), daemon=True)
        self._process.start()
        for file in ours:
            os.close(file)
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """None as long as it runs; below 0 where a signal ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended: its exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked command", timeout or 0.0)
        return self.returncode

    def send_signal(self, which: int) -> None:
        """Unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, which)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def ran(command: Sequence[object], typed: str = "", env: Mapping[str, str] | None = None) -> Any:
    """Run to the end, as `subprocess.run` does with text. typed: what comes from stdin."""
    with tempfile.TemporaryFile("w+") as source, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile() as err:
        source.write(typed)
        source.seek(0)
        code = Forked(command, stdin=source.fileno(), stdout=out.fileno(), stderr=err.fileno(), env=env).wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read().decode())
