"""Both batch APIs on one server: keys, faults of the calls, and answers as the server itself would give them.

A request of a batch is answered by a quiet twin of the server, one that has its answers but neither faults nor limits,
so that whatever dialect the server speaks can come in batches as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from smart_llm.mock import anthropic, batches_anthropic, batches_openai
from smart_llm.mock.batches import Asked, BatchSettings, BatchStore
from smart_llm.mock.http import Call, Handler, Reply

ROOTS = ("/v1/files", "/v1/batches", batches_anthropic.ROOT)


class BatchMount:
    """The batch addresses. quiet: answers a call without faults. key: the key asked for, if any."""

    def __init__(self, settings: BatchSettings, quiet: Handler, seed: int, key: str | None) -> None:
        self._settings, self._quiet, self._seed, self._key = settings, quiet, seed, key

    def start(self, now: Callable[[], float], address: str) -> None:
        """From here on time passes. address: the server's own, ending in /v1."""
        self.openai_store, self.anthropic_store = (
            BatchStore(self._settings, answer, now, time.time, self._seed)
            for answer in (self._openai_answer, self._anthropic_answer)
        )
        self._openai = batches_openai.OpenAIBatches(self.openai_store)
        self._anthropic = batches_anthropic.AnthropicBatches(self.anthropic_store)
        self._address = address

    def stats(self) -> dict[str, Any]:
        """What was done in batches, by dialect; see `BatchStore.stats`."""
        return {"openai": self.openai_store.stats(), "anthropic": self.anthropic_store.stats()}

    def handle(self, call: Call) -> Reply | None:
        """The reply to a call to a batch address; None for other addresses."""
        root = next((root for root in ROOTS if call.path == root or call.path.startswith(root + "/")), None)
        if root is None:
            return None
        native = root == batches_anthropic.ROOT
        store = self.anthropic_store if native else self.openai_store
        store.calls[f"{call.method} {root.removeprefix('/v1')}"] += 1
        if self._key is not None and self._key not in (call.header("x-api-key"), _bearer(call)):
            return _problem(native, 401, "Incorrect API key provided.")
        if store.goes_wrong("error"):
            return _problem(native, 500, "The server had an error.")
        answer = self._anthropic.handle(call, self._address) if native else self._openai.handle(call)
        if answer is None:
            return None
        if store.goes_wrong("lost"):
            return Reply(b"", hang_up=True)
        if call.path.endswith(("/content", "/results")) and store.goes_wrong("truncated"):
            return Reply(answer.data[: len(answer.data) * 2 // 3], hang_up=True)
        return answer

    def _openai_answer(self, asked: Asked) -> tuple[int, bytes]:
        return self._asked(Call("POST", "/v1/chat/completions", b"POST /v1/chat/completions HTTP/1.1", asked.body))

    def _anthropic_answer(self, asked: Asked) -> tuple[int, bytes]:
        head = b"POST /v1/messages HTTP/1.1\r\nanthropic-version: 2023-06-01"
        return self._asked(Call("POST", "/v1/messages", head, asked.body))

    def _asked(self, call: Call) -> tuple[int, bytes]:
        head, _, body = self._quiet(call).data.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), body


def _problem(native: bool, status: int, message: str) -> Reply:
    return anthropic.problem(status, message) if native else batches_openai.problem(status, message, "server_error")


def _bearer(call: Call) -> str | None:
    sent = call.header("authorization")
    return sent.removeprefix("Bearer ") if sent else None
