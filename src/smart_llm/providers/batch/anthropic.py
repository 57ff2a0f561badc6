"""Anthropic's Message Batches: all requests in one call, results as lines once everything has ended.

    POST /messages/batches                  runs them at once; there is no file, and no place for an id of ours
    GET  /messages/batches/{id}             in_progress → ended (canceling in between, where somebody cancels)
    GET  /messages/batches/{id}/results     succeeded, errored, canceled, expired; in no order

Only the `custom_id`s bear our id, and they are first seen in the results. So after a crash between submission and note
a batch is recognized in two steps: of those made since, and not known otherwise, only ones with as many requests come
into question; each that has ended is told by the first line of its results, and one that is still running is waited
for. There is no fence: a submission that arrives after it was looked for in vain, for as long as the caller looked, is
not found. Only succeeded requests are billed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime

import msgspec

from smart_llm.errors import ProviderError, Retryable
from smart_llm.providers.anthropic import AnthropicProvider
from smart_llm.providers.batch.base import Found, Gone, Limits, Look, Result, is_ours
from smart_llm.providers.batch.http import BatchHttp, arrived, id_of
from smart_llm.providers.connections import HttpReply
from smart_llm.types import Json, Request

ROOT = "/messages/batches"
PAGE = 1000
"""Batches per page of the list."""
SKEW = 3600.0
"""Seconds the provider's clock may differ from ours when looking for a batch of a certain time."""
STATUSES = {"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
            "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500,
            "timeout_error": 504, "overloaded_error": 529}  # fmt: skip
"""What the types of errors would be as statuses of a call."""


class Outcome(msgspec.Struct):
    """What became of a request."""

    type: str
    message: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class Line(msgspec.Struct):
    """A line of results."""

    custom_id: str
    result: Outcome


class ErrorKind(msgspec.Struct):
    """The kind of an error."""

    type: str = ""


class Errored(msgspec.Struct):
    """An error as a call would have been answered."""

    error: ErrorKind


_line = msgspec.json.Decoder(Line).decode
_errored = msgspec.json.Decoder(Errored).decode


class AnthropicBatches:
    """Batches of one model at one address. url ends in /v1. timeout: seconds per call."""

    limits = Limits(100_000, 256_000_000)

    def __init__(self, url: str, model: str, provider: AnthropicProvider, *, key: str | None, timeout: float) -> None:
        self.url = url
        self._http = BatchHttp(url, {"x-api-key": key} if key else {}, secret=key, timeout=timeout)
        self.host = self._http.host
        self._model, self._provider = model, provider

    def line(self, custom_id: str, request: Request) -> bytes:
        """`{"custom_id", "params"}`."""
        return f'{{"custom_id":"{custom_id}","params":'.encode() + self._provider.body(request) + b"}"

    async def available(self) -> bool:
        """Whether the address knows of batches."""
        reply = await self._http.send("GET", ROOT, [], self._version(), {"limit": "1"})
        if reply.status in (404, 405, 501):
            return False
        return "data" in self._http.decoded(reply)

    async def upload(self, batch_id: str, lines: Sequence[bytes]) -> str | None:
        """There is no such step."""
        return None

    async def submit(self, batch_id: str, file: str | None, lines: Sequence[bytes]) -> str:
        """All requests in one call."""
        separated = [part for line in lines for part in (b",", line)][1:]
        headers = {**self._version(), "Content-Type": "application/json"}
        reply = await self._http.send("POST", ROOT, [b'{"requests":[', *separated, b"]}"], headers)
        return id_of(self._http.decoded(arrived(reply)))

    async def find(self, batch_id: str, *, since: float, total: int, known: frozenset[str]) -> Found:
        """The batch whose results bear our id. The list has the newest first."""
        query, undecided = {"limit": str(PAGE)}, 0
        while True:
            page = await self._http.json("GET", ROOT, query=query, headers=self._version())
            for batch in page["data"]:
                if batch["id"] in known or sum(batch["request_counts"].values()) != total:
                    continue
                if batch["processing_status"] != "ended":
                    undecided += 1
                elif not batch.get("archived_at") and await self._is_ours(batch["id"], batch_id):
                    return Found(batch["id"])
            oldest = page["data"][-1] if page["data"] else None
            if oldest is None or not page.get("has_more") or _seconds(oldest["created_at"]) < since - SKEW:
                return Found(undecided=undecided)
            query["after_id"] = oldest["id"]

    async def fence(self, file: str | None) -> bool:
        """There is none."""
        return False

    async def look(self, remote: str) -> Look:
        """The batch's status."""
        batch = await self._http.json("GET", f"{ROOT}/{remote}", headers=self._version())
        counts, status = batch.get("request_counts") or {}, str(batch.get("processing_status"))
        total = sum(counts.values())
        ended = status == "ended"
        return Look(remote, "ended" if ended else "running", status, total if ended else 0, total, (remote,))

    async def results(self, look: Look, batch_id: str) -> AsyncIterator[Result]:
        """The results, line by line."""
        async for data in self._http.lines(f"{ROOT}/{look.remote}/results", self._version()):
            line = self._decoded(data)
            place = is_ours(line.custom_id, batch_id)
            if place is not None:
                yield self._result(place, line.result)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _is_ours(self, remote: str, batch_id: str) -> bool:
        lines = self._http.lines(f"{ROOT}/{remote}/results", self._version())
        async with aclosing(lines):
            with suppress(Gone):
                async for data in lines:
                    return is_ours(self._decoded(data).custom_id, batch_id) is not None
        return False

    def _decoded(self, data: bytes) -> Line:
        try:
            return _line(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Retryable(f"{self.host} sent a broken line of results.") from None

    def _result(self, place: int, outcome: Outcome) -> Result:
        if outcome.type in ("expired", "canceled"):
            return Result(place, Retryable(f"The batch at {self.host} ended before it came to this request."))
        data = bytes(outcome.message if outcome.type == "succeeded" else outcome.error)
        status = 200 if outcome.type == "succeeded" else _status(data)
        try:
            return Result(place, self._provider.read(self._model, HttpReply(status, data, {})))
        except ProviderError as error:
            return Result(place, error)

    def _version(self) -> Mapping[str, str]:
        return self._provider.headers(self._model)


def _status(data: bytes) -> int:
    try:
        return STATUSES.get(_errored(data).error.type, 500)
    except msgspec.MsgspecError:
        return 500


def _seconds(written: Json) -> float:
    return datetime.fromisoformat(str(written)).timestamp()
