"""A mock provider in a thread, and a gateway in a process of its own, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forks import Forked

from smart_llm.mock import MockServer

NUMBERS = itertools.count()
SMALL_WINDOWS = "window = 60\nagreement = 0.8\n"
REVIEWS = """
[route.reviews]
labels = ["positive", "negative"]
reference = "openai:big@{url}?in=10&out=10"
candidates = ["openai:small@{url}?in=1&out=1"]
"""


@dataclass
class Mock:
    """A mock provider that runs in a thread. `url` ends in /v1."""

    server: Any
    url: str
    loop: asyncio.AbstractEventLoop
    port: int

    def calls(self, model: str) -> int:
        """How many requests it got for a model."""
        found: int = self.server.stats()["models"].get(model, {}).get("requests", 0)
        return found


@contextlib.contextmanager
def mocking(server: Any = None, *, port: int = 0, **options: Any) -> Iterator[Mock]:
    """A mock provider, or another server like it, until the block ends."""
    loop, up = asyncio.new_event_loop(), threading.Event()
    server = server or MockServer(port=port, **options)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    url = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    up.set()
    try:
        yield Mock(server, url, loop, int(url.split(":")[2].split("/")[0]))
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass
class Served:
    """A gateway's process. `url` has no path."""

    process: subprocess.Popen[str] | Forked
    url: str
    log: list[str] = field(default_factory=list)

    def get(self, path: str, **headers: str) -> Reply:
        """GET an address of it."""
        return send(f"{self.url}{path}", None, headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """POST to one; headers by their names with underscores."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return send(f"{self.url}{path}", data, headers)

    def chat(self, text: str, model: str = "smart/reviews", **fields: Any) -> Reply:
        """Ask for a completion."""
        messages = [{"role": "user", "content": text}]
        return self.post("/v1/chat/completions", {"model": model, "messages": messages, **fields})

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(30)


def send(url: str, data: bytes | None, headers: Mapping[str, str]) -> Reply:
    """One request as a plain client sends it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return Reply(reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


@contextlib.contextmanager
def serving(
    folder: Path,
    config: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Iterator[Served]:
    """A gateway with this configuration on a free port, until the block ends. before: called in its process first,
    which is then begun by the interpreter."""
    path = folder / "gateway.toml"
    path.write_text(config)
    command = [sys.executable, "-m", "smart_llm", "serve", str(path), "--listen", "127.0.0.1:0", *arguments]
    files: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": {**os.environ, **(env or {})}}
    process = subprocess.Popen(command, **files, text=True, preexec_fn=before) if before else Forked(command, **files)
    assert process.stdout is not None
    assert process.stderr is not None
    if not (said := process.stdout.readline()):
        with process.stdout, process.stderr:
            raise AssertionError(process.stderr.read())
    served = Served(process, said.split()[-1])
    reading = threading.Thread(target=lambda: served.log.extend(process.stderr or ()), daemon=True)
    reading.start()
    try:
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        reading.join(10)
        process.stdout.close()
        process.stderr.close()


def asking(served: Served, texts: list[str], killed_after: int = 0) -> list[Reply | None]:
    """Ask all of this, eight at a time; None where the gateway was gone. killed_after: so many answers."""
    answered = itertools.count(1)

    def ask(text: str) -> Reply | None:
        try:
            reply = served.chat(text)
        except OSError:
            return None
        if next(answered) == killed_after:
            served.process.kill()
        return reply

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, texts))


def verified(command: Callable[..., tuple[int, str, str]], folder: Path) -> list[Any]:
    """The windows as `smart verify` counts them; nothing may be wrong."""
    code, out, err = command("verify", folder / "gateway.db", "--json")
    assert code == 0, out + err
    [route] = json.loads(out)["routes"]
    windows: list[Any] = route["windows"]
    return windows


def texts() -> list[str]:
    """Sixteen that were never asked before."""
    return [f"film {next(NUMBERS)}" for _ in range(16)]


def counted(served: Served, name: str, label: str = "") -> int:
    """A count in its metrics, by the name and a part of its labels; 0 where there is none."""
    lines = served.get("/metrics").body.decode().splitlines()
    return next((int(float(line.split()[-1])) for line in lines if line.startswith(name) and label in line), 0)


def under_way(served: Served) -> int:
    """Requests that wait for an answer."""
    return counted(served, "smart_requests_under_way ")


def until(there: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def hurried(served: Served, how: signal.Signals = signal.SIGTERM) -> None:
    """A signal, and another one once the first has been heard."""
    place = ("127.0.0.1", int(served.url.rpartition(":")[2]))

    def heard() -> bool:
        with socket.socket() as wire:
            return wire.connect_ex(place) != 0

    served.process.send_signal(how)
    until(heard)
    served.process.send_signal(how)


def waiting(served: Served) -> int:
    """Audits of the newest window that are not back."""
    return counted(served, "smart_window{", 'count="waiting"')
