"""OpenAI's Batch API: a file of requests, a batch that runs it, files of results and of errors.

    POST /files (purpose: batch)    the requests, one JSON object a line; nothing runs
    POST /batches                   runs the file; `metadata` bears our id
    GET  /batches/{id}              validating → in_progress → finalizing → completed; or failed, expired, cancelled
    GET  /files/{id}/content        the output file, and the error file

The marker that survives a crash between submission and note is `metadata.smart_batch`; `GET /batches` is searched for
it. The fence is the input file: once it is deleted, a submission still on its way names a file that is not there.

A failed batch never ran and costs nothing: `token_limit_exceeded` only means too many tokens queued at once. Expired
and cancelled ones have files of what was done in time; what was not is in the error file, or in none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.providers.batch.base import Found, Limits, Look, Result, is_ours
from smart_llm.providers.batch.http import BatchHttp, arrived, id_of
from smart_llm.providers.connections import HttpReply
from smart_llm.providers.openai import OpenAIProvider
from smart_llm.types import Json, Request

MARK = "smart_batch"
ENDPOINT = "/v1/chat/completions"
PAGE = 100
"""Batches per page of the list."""
SKEW = 3600.0
"""Seconds the provider's clock may differ from ours when looking for a batch of a certain time."""
ENDED = ("completed", "expired", "cancelled")
RUNNING = ("validating", "in_progress", "finalizing", "cancelling")
NOT_DONE = ("batch_expired", "batch_cancelled")
"""Codes of requests that the batch did not come to."""


class Response(msgspec.Struct):
    """The reply to one request of a batch."""

    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class LineError(msgspec.Struct):
    """Why a request got no reply."""

    code: str | None = None
    message: str | None = None


class Line(msgspec.Struct):
    """A line of an output or error file."""

    custom_id: str
    response: Response | None = None
    error: LineError | None = None


_line = msgspec.json.Decoder(Line).decode


class OpenAIBatches:
    """Batches of one model at one address. url ends in /v1. timeout: seconds per call."""

    limits = Limits(50_000, 200_000_000)

    def __init__(self, url: str, model: str, provider: OpenAIProvider, *, key: str | None, timeout: float) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url
        self._http = BatchHttp(url, headers, secret=key, timeout=timeout)
        self.host = self._http.host
        self._model, self._provider = model, provider

    def line(self, custom_id: str, request: Request) -> bytes:
        """`{"custom_id", "method", "url", "body"}`."""
        body = self._provider.body(request)
        head = f'{{"custom_id":"{custom_id}","method":"POST","url":"{ENDPOINT}","body":'
        return head.encode() + body + b"}"

    async def available(self) -> bool:
        """Whether the address knows of batches: servers that only speak the protocol of calls answer 404."""
        reply = await self._http.send("GET", "/batches", [], {}, {"limit": "1"})
        if reply.status in (404, 405, 501):
            return False
        return "data" in self._http.decoded(reply)

    async def upload(self, batch_id: str, lines: Sequence[bytes]) -> str | None:
        """The file of requests."""
        bound = f"----{batch_id}"
        head = (
            f'--{bound}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{bound}\r\nContent-Disposition: form-data; name="file"; filename="{batch_id}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        pieces = [head.encode(), *(line + b"\n" for line in lines), f"\r\n--{bound}--\r\n".encode()]
        headers = {"Content-Type": f"multipart/form-data; boundary={bound}"}
        return id_of(self._http.decoded(await self._http.send("POST", "/files", pieces, headers)))

    async def submit(self, batch_id: str, file: str | None, lines: Sequence[bytes]) -> str:
        """Run the file."""
        wanted = {
            "input_file_id": file,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": {MARK: batch_id},
        }
        headers = {"Content-Type": "application/json"}
        return id_of(self._http.decoded(arrived(await self._http.send("POST", "/batches", [_encode(wanted)], headers))))

    async def find(self, batch_id: str, *, since: float, total: int, known: frozenset[str]) -> Found:
        """The batch with our id in its metadata. The list has the newest first."""
        query = {"limit": str(PAGE)}
        while True:
            page = await self._http.json("GET", "/batches", query=query)
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get(MARK) == batch_id:
                    return Found(batch["id"])
            if not page.get("has_more") or page["data"][-1].get("created_at", 0) < since - SKEW:
                return Found()
            query["after"] = page["data"][-1]["id"]

    async def fence(self, file: str | None) -> bool:
        """Delete the input file."""
        reply = await self._http.send("DELETE", f"/files/{file}", [], {})
        if reply.status != 404:
            self._http.decoded(reply)
        return True

    async def look(self, remote: str) -> Look:
        """The batch's status."""
        batch = await self._http.json("GET", f"/batches/{remote}")
        counts, status = batch.get("request_counts") or {}, str(batch.get("status"))
        done, total = counts.get("completed", 0) + counts.get("failed", 0), counts.get("total", 0)
        if status == "failed":
            return self._failed(remote, batch, total)
        if status not in (*ENDED, *RUNNING):
            raise Retryable(f"{self.host} reports a batch with the unknown status {status}.")
        files = tuple(batch[name] for name in ("output_file_id", "error_file_id") if batch.get(name))
        return Look(remote, "ended" if status in ENDED else "running", status, done, total, files)

    async def results(self, look: Look, batch_id: str) -> AsyncIterator[Result]:
        """Both files, line by line."""
        for file in look.files:
            async for data in self._http.lines(f"/files/{file}/content"):
                try:
                    line = _line(data)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    raise Retryable(f"{self.host} sent a broken line of results.") from None
                place = is_ours(line.custom_id, batch_id)
                if place is not None:
                    yield self._result(place, line)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _result(self, place: int, line: Line) -> Result:
        if line.response is None:
            code, message = (line.error.code, line.error.message) if line.error else (None, None)
            words = "ended before it came to this request" if code in NOT_DONE else f"lost this request: {message}"
            return Result(place, Retryable(f"The batch at {self.host} {words}."))
        reply = HttpReply(line.response.status_code, bytes(line.response.body), {})
        try:
            return Result(place, self._provider.read(self._model, reply))
        except ProviderError as error:
            return Result(place, error)

    def _failed(self, remote: str, batch: Mapping[str, Json], total: int) -> Look:
        """Why it did not run. Lines are counted from 1."""
        errors = (batch.get("errors") or {}).get("data") or []
        codes = {str(error.get("code")) for error in errors}
        said = next((error.get("message") for error in errors if error.get("message")), "no reason given")
        lines = {int(error["line"]) - 1 for error in errors if error.get("line") is not None}
        everywhere = not lines or len(lines) >= max(total, 1) or bool(codes & {"model_not_found"})
        return Look(
            remote,
            "failed",
            "failed",
            total=total,
            error=Refused(f"{self.host} refuses the batch: {str(said)[:160]}", row_only=not everywhere),
            lines=() if everywhere else tuple(sorted(lines)),
            queue_full=bool(codes & {"token_limit_exceeded"}),
        )


_encode = msgspec.json.Encoder().encode
