"""A headless Chromium, driven over its debugging protocol: what a page does when somebody looks at it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START = 60.0
"""Seconds a browser may take to start on a busy machine."""


def find() -> str | None:
    """A browser on this machine that starts, or None."""
    there = [path for name in NAMES if (path := shutil.which(name))]
    starts = (path for path in there if not subprocess.run([path, "--version"], capture_output=True).returncode)
    return next(starts, None)


@dataclass
class Page:
    """What was seen of a page. said: console messages, errors and refused requests. asked: addresses it went to."""

    width: int
    content: int
    said: list[str]
    asked: list[str]
    picture: bytes
    found: Any


@dataclass
class Browser:
    """A connection to a browser, one command at a time."""

    socket: aiohttp.ClientWebSocketResponse
    events: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0

    async def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """A command and its result."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        await self.socket.send_json(command | ({"sessionId": session} if session else {}))
        while True:
            message = await self.socket.receive_json(timeout=START)
            if message.get("id") == self.number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    async def look(
        self, path: Path | str, width: int, *, dark: bool = False, ask: str = "null", whole: bool = False
    ) -> Page:
        """Open a file or an address at this width. ask: an expression to evaluate in it (a promise is waited for);
        whole: take a picture of all of it."""
        self.events.clear()
        target = (await self.send("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network"):
            await self.send(f"{domain}.enable", session)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.send("Emulation.setDeviceMetricsOverride", session, **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", session, features=[scheme])
        await self.send("Page.navigate", session, url=path if isinstance(path, str) else path.as_uri())
        await self._until("Page.loadEventFired", session)
        content = await self._value(session, "document.documentElement.scrollWidth")
        found = await self._value(session, ask)
        beyond = {"clip": await self._all(session), "captureBeyondViewport": True} if whole else {}
        shot = await self.send("Page.captureScreenshot", session, **beyond)
        page = Page(width, content, self._said(), self._asked(), base64.b64decode(shot["data"]), found)
        await self.send("Target.closeTarget", targetId=target)
        return page

    async def _all(self, session: str) -> dict[str, Any]:
        size = (await self.send("Page.getLayoutMetrics", session))["cssContentSize"]
        return {**size, "scale": 1}

    async def _until(self, event: str, session: str) -> None:
        """Wait for an event that may have come already."""
        while not any(each["method"] == event and each.get("sessionId") == session for each in self.events):
            self.events.append(await self.socket.receive_json(timeout=START))

    async def _value(self, session: str, expression: str) -> Any:
        done = await self.send(
            "Runtime.evaluate", session, expression=expression, returnByValue=True, awaitPromise=True
        )
        return done["result"].get("value")

    def _said(self) -> list[str]:
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Network.loadingFailed")
        return [str(event) for event in self.events if event["method"] in kinds]

    def _asked(self) -> list[str]:
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser of our own, gone at the end."""
    program = find()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
        process = await asyncio.create_subprocess_exec(
            program,
            *options,
            f"--user-data-dir={folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            address = await asyncio.to_thread(_address, Path(folder) / "DevToolsActivePort")
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(address, max_msg_size=0) as socket,
            ):
                shown = Browser(socket)
                yield shown
                await shown.send("Browser.close")
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
            if process.returncode is None:
                process.kill()
                await process.wait()


def _address(file: Path) -> str:
    """Where it listens: written down by the browser once it does."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        lines = file.read_text().split("\n") if file.is_file() else []
        if len(lines) > 1:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise TimeoutError("the browser does not start")
