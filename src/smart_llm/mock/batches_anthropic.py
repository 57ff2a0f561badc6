"""Anthropic's Message Batches at the mock.

    POST /v1/messages/batches   GET /v1/messages/batches[?after_id&limit]   GET /v1/messages/batches/{id}
    GET /v1/messages/batches/{id}/results   POST /v1/messages/batches/{id}/cancel

Nothing in a batch says whose it is: a client finds its own again only by the `custom_id`s of the results. Counts stay
at `processing` until it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from smart_llm.mock.anthropic import problem
from smart_llm.mock.batches import Asked, Batch, BatchStore, Said
from smart_llm.mock.batches_openai import query
from smart_llm.mock.http import Call, Reply, reply

ROOT = "/v1/messages/batches"
MOST_REQUESTS, MOST_BYTES = 100_000, 256_000_000

_encode = msgspec.json.Encoder().encode


class _Entry(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Create(msgspec.Struct):
    requests: list[_Entry]


class _Message(msgspec.Struct):
    content: Any = ""


class _Params(msgspec.Struct):
    model: str
    max_tokens: int
    messages: list[_Message]
    system: Any = None


_create = msgspec.json.Decoder(_Create).decode
_params = msgspec.json.Decoder(_Params).decode


class AnthropicBatches:
    """The addresses, over a store of batches."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store
        self._made: dict[str, Batch] = {}

    def handle(self, call: Call, address: str) -> Reply | None:
        """The reply, or None for an address that is none of these. address: the server's own."""
        if not call.path.startswith(ROOT):
            return None
        path = call.path.removeprefix(ROOT).strip("/").split("/")
        if not path[0]:
            return self._submit(call, address) if call.method == "POST" else self._list(query(call), address)
        batch = self._made.get(path[0])
        if batch is None:
            return problem(404, f"No batch {path[0]}.")
        if path[1:] == ["results"]:
            return self._results(batch)
        if path[1:] == ["cancel"]:
            self._store.cancel(batch)
        return _ok(self._object(path[0], address))

    def _submit(self, call: Call, address: str) -> Reply:
        if len(call.body) > MOST_BYTES:
            return problem(413, "Request exceeds the maximum size.")
        try:
            wanted = _create(call.body)
        except msgspec.MsgspecError as error:
            return problem(400, f"requests: {error}")
        ids = [entry.custom_id for entry in wanted.requests]
        if not 1 <= len(ids) <= MOST_REQUESTS or len(set(ids)) < len(ids) or not all(map(_is_id, ids)):
            return problem(400, "requests: 1 to 100,000, custom_id unique, 1 to 64 of A-Z a-z 0-9 _ -")
        if self._store.goes_wrong("late"):
            asyncio.get_running_loop().call_later(self._store.settings.late_by, lambda: self._add(wanted))
            return Reply(b"", hang_up=True)
        return _ok(self._object(self._add(wanted), address))

    def _add(self, wanted: _Create) -> str:
        batch = self._store.add([_asked(entry) for entry in wanted.requests])
        if batch.fate == "failed":  # there is no such end here
            batch.fate = "expired"
        name = f"msgbatch_{batch.number}x{self._store.random.getrandbits(48):012x}"
        self._made[name] = batch
        return name

    def _list(self, asked: Mapping[str, str], address: str) -> Reply:
        ids = {id(batch): name for name, batch in self._made.items()}
        names = [ids[id(batch)] for batch in self._store.listed() if id(batch) in ids]
        if asked.get("after_id") in names:
            names = names[names.index(asked["after_id"]) + 1 :]
        limit = int(asked.get("limit", "20"))
        page = [self._object(name, address) for name in names[:limit]]
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return _ok({"data": page, **ends, "has_more": len(names) > limit})

    def _results(self, batch: Batch) -> Reply:
        self._store.phase(batch)
        if batch.said is None:
            return problem(404, "Results are there when the batch has ended.")
        return Reply(reply(200, b"".join(_line(said, batch.fate) for said in batch.said)))

    def _object(self, name: str, address: str) -> dict[str, Any]:
        batch = self._made[name]
        self._store.phase(batch)
        ended = batch.said is not None
        status = "ended" if ended else "canceling" if batch.cancelled_at is not None else "in_progress"
        times = {"created_at": _time(batch.created), "expires_at": _time(batch.created + 86_400), "archived_at": None}
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": _counts(batch),
            "results_url": f"{address}/messages/batches/{name}/results" if ended else None,
            "ended_at": _time(batch.created) if ended else None,
            "cancel_initiated_at": None if batch.cancelled_at is None else _time(batch.created),
            **times,
        }


def _asked(entry: _Entry) -> Asked:
    """A request whose parameters are wrong is found out when its turn comes."""
    try:
        params = _params(entry.params)
    except msgspec.MsgspecError:
        return Asked(entry.custom_id, "", "", bytes(entry.params))
    prompt = "\n".join(_text(content) for content in (params.system, *(m.content for m in params.messages)) if content)
    return Asked(entry.custom_id, params.model, prompt, bytes(entry.params))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def _counts(batch: Batch) -> dict[str, int]:
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if batch.said is None:
        return {**counts, "processing": len(batch.asked)}
    for said in batch.said:
        counts[_kind(said, batch.fate)] += 1
    return counts


def _kind(said: Said, fate: str) -> str:
    if said.status == 200:
        return "succeeded"
    return "errored" if said.status else "canceled" if fate == "cancelled" else "expired"


def _line(said: Said, fate: str) -> bytes:
    kind = _kind(said, fate)
    result: dict[str, Any] = {"type": kind}
    if kind == "succeeded":
        result["message"] = msgspec.Raw(said.data)
    elif kind == "errored":
        words = {400: "invalid_request_error", 404: "not_found_error"}
        inner = {"type": words.get(said.status, "api_error"), "message": _message(said.data)}
        result["error"] = {"type": "error", "error": inner, "request_id": "req_mock"}
    return _encode({"custom_id": said.asked.custom_id, "result": result}) + b"\n"


def _message(data: bytes) -> str:
    return str(msgspec.json.decode(data)["error"]["message"])


def _is_id(text: str) -> bool:
    return 1 <= len(text) <= 64 and all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in text)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _ok(value: Any) -> Reply:
    return Reply(reply(200, _encode(value)))
