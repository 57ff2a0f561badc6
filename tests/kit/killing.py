"""Commands in processes of their own: run to the end, or killed on the way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from smart_llm.mock.server import MockServer


async def start(arguments: list[str]) -> asyncio.subprocess.Process:
    """The command, begun."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)


async def finished(arguments: list[str]) -> dict[str, Any]:
    """Run to the end; the one JSON object it prints."""
    process = await start(arguments)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    result: dict[str, Any] = json.loads(out)
    return result


async def killed(arguments: list[str], server: MockServer, answered: int) -> None:
    """Run until the server has given so many answers more, then SIGKILL."""
    goal = server.stats()["answered"] + answered
    process = await start(arguments)
    while server.stats()["answered"] < goal:
        await asyncio.sleep(0.01)
        assert process.returncode is None, "it ended before it could be killed"
    process.kill()
    await process.communicate()
