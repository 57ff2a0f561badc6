"""A server that says what it is told to, whatever is asked: for tests of what is sent and of how replies are read."""

from __future__ import annotations

from typing import Any

import msgspec

from smart_llm.mock.http import Call, Reply, reply
from smart_llm.mock.server import MockServer


class Scripted(MockServer):
    """Gives these replies in turn, the last one for ever. `calls` and `bodies` hold what was sent.

    replies: (status, body as bytes or as a value to encode[, headers]).
    """

    def __init__(self, *replies: tuple[int, Any] | tuple[int, Any, dict[str, str]]) -> None:
        super().__init__()
        self.replies = list(replies)
        self.bodies: list[dict[str, Any]] = []
        self.calls: list[Call] = []

    def handle(self, call: Call) -> Reply:
        """The next reply."""
        self.calls.append(call)
        self.bodies.append(msgspec.json.decode(call.body))
        status, body, *headers = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return Reply(reply(status, data, *headers))
