"""Servers that answer a few calls at a time and let the others wait, over real sockets: fewer calls in flight, no row
lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attempts import in_one_of_four

from smart_llm.client.client import Client
from smart_llm.ledger import Ledger
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.types import Request

DONE = b'{"choices":[{"message":{"content":"yes"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'


class Slots:
    """So many calls at a time, first come, first served, and whoever hangs up is served all the same or not."""

    def __init__(self, slots: int, seconds: float, *, notices: bool) -> None:
        self._slots, self._seconds, self._notices = asyncio.Semaphore(slots), seconds, notices
        self.requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(size)
                self.requests += 1
                async with self._slots:
                    if not (self._notices and reader.at_eof()):
                        await asyncio.sleep(self._seconds)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DONE) + DONE)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@pytest.mark.parametrize(("slots", "seconds"), [(1, 0.01), (4, 0.04)])
@pytest.mark.parametrize("notices", [True, False])
async def test_no_row_is_lost_in_a_servers_queue(tmp_path: Path, slots: int, seconds: float, notices: bool) -> None:
    """One worker or four slots, sixty-four calls allowed in flight, and a time limit far below the whole queue: every
    row is answered, and not many more requests are sent than there are rows."""

    async def attempt(ledger: Ledger) -> bool:
        handler = Slots(slots, seconds, notices=notices)
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            model = resolve(f"openai:m@{url}?in=1&out=1")
            client = Client(ledger, [model], make_providers([model]), timeout=0.25)
            answers = await asyncio.gather(*(client.ask(Request(model.name, str(row), 8)) for row in range(200)))
            await client.close()
        return not any(answer.error for answer in answers) and handler.requests < 300

    assert await in_one_of_four(attempt, tmp_path)
