"""OpenAI's Files and Batch addresses at the mock.

    POST /v1/files   GET /v1/files/{id}   GET /v1/files/{id}/content   DELETE /v1/files/{id}
    POST /v1/batches   GET /v1/batches[?after&limit]   GET /v1/batches/{id}   POST /v1/batches/{id}/cancel

What is not checked at once is found while validating, as there: lines that are no JSON, ids that come twice, more than
one model. A batch without failures has no error file, and one without answers has no output file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from smart_llm.mock.batches import Asked, Batch, BatchStore, Said
from smart_llm.mock.http import Call, Reply, reply

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Message(msgspec.Struct):
    content: Any = ""


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message] = []


_line = msgspec.json.Decoder(_Line).decode
_body = msgspec.json.Decoder(_Body).decode


class OpenAIBatches:
    """The addresses, over a store of batches."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store
        self._files: dict[str, tuple[str, str, bytes]] = {}  # id → purpose, name, content
        self._made: dict[str, tuple[Batch, Mapping[str, Any]]] = {}  # id → batch, what was asked for
        self._ids: dict[int, str] = {}

    def handle(self, call: Call) -> Reply | None:
        """The reply, or None for an address that is none of these."""
        path = call.path.removeprefix("/v1/").strip("/").split("/")
        if path[0] == "files":
            return self._file(call, path[1:])
        return self._batch(call, path[1:]) if path[0] == "batches" else None

    def _file(self, call: Call, path: list[str]) -> Reply:
        if not path and call.method == "POST":
            return self._upload(call)
        if not path or path[0] not in self._files:
            return problem(404, f"No such File object: {'/'.join(path)}", "not_found", param="id")
        if call.method == "DELETE":
            del self._files[path[0]]
            return _ok({"id": path[0], "object": "file", "deleted": True})
        if path[1:] == ["content"]:
            return Reply(reply(200, self._files[path[0]][2]))
        return _ok(self._file_object(path[0]))

    def _upload(self, call: Call) -> Reply:
        fields = _multipart(call)
        if fields.get("purpose", ("", b""))[1] != b"batch" or "file" not in fields:
            return problem(400, "A file and its purpose are needed.", "invalid_request_error")
        name, content = fields["file"]
        if len(content) > MOST_BYTES:
            return problem(413, "The file is too large.", "file_too_large")
        return _ok(self._file_object(self._keep("batch", name, content)))

    def _keep(self, purpose: str, name: str, content: bytes) -> str:
        file = f"file-{len(self._files)}x{self._store.random.getrandbits(48):012x}"
        self._files[file] = (purpose, name, content)
        return file

    def _file_object(self, file: str) -> dict[str, Any]:
        purpose, name, content = self._files[file]
        head = {"id": file, "object": "file", "bytes": len(content), "created_at": 0}
        return {**head, "filename": name, "purpose": purpose, "status": "processed"}

    def _batch(self, call: Call, path: list[str]) -> Reply:
        if not path:
            return self._submit(call) if call.method == "POST" else self._list(query(call))
        if path[0] not in self._made:
            return problem(404, f"No batch found with id '{path[0]}'.", "not_found")
        if path[1:] == ["cancel"] and call.method == "POST":
            self._store.cancel(self._made[path[0]][0])
        return _ok(self._object(path[0]))

    def _submit(self, call: Call) -> Reply:
        try:
            wanted = _decode(call.body)
            file = wanted["input_file_id"]
        except (msgspec.MsgspecError, KeyError, TypeError):
            return problem(400, "Missing required parameter: 'input_file_id'.", "invalid_request_error")
        if file not in self._files:
            return problem(400, f"Cannot find file {file}.", "invalid_request_error", param="file_id")
        if self._store.goes_wrong("late"):
            late = self._store.settings.late_by
            asyncio.get_running_loop().call_later(late, lambda: file in self._files and self._add(wanted))
            return Reply(b"", hang_up=True)
        return _ok(self._object(self._add(wanted)))

    def _add(self, wanted: Mapping[str, Any]) -> str:
        lines = [line for line in self._files[wanted["input_file_id"]][2].split(b"\n") if line.strip()]
        asked, trouble = _validated(lines, wanted["endpoint"])
        batch = self._store.add(asked, trouble)
        name = f"batch_{batch.number}x{self._store.random.getrandbits(48):012x}"
        self._made[name] = (batch, wanted)
        self._ids[batch.number] = name
        return name

    def _list(self, asked: Mapping[str, str]) -> Reply:
        names = [self._ids[batch.number] for batch in self._store.listed() if batch.number in self._ids]
        if asked.get("after") in names:
            names = names[names.index(asked["after"]) + 1 :]
        limit = int(asked.get("limit", "20"))
        page = [self._object(name) for name in names[:limit]]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return _ok({"object": "list", "data": page, **ends, "has_more": len(names) > limit})

    def _object(self, name: str) -> dict[str, Any]:
        batch, wanted = self._made[name]
        status = self._store.phase(batch)
        head = {"id": name, "object": "batch", "endpoint": wanted["endpoint"], "status": status}
        said = batch.said or []
        good = sum(each.status == 200 for each in said)
        counts = {
            "total": len(batch.asked),
            "completed": good,
            "failed": sum(each.status not in (0, 200) for each in said),
        }
        made = {"input_file_id": wanted["input_file_id"], "metadata": wanted.get("metadata")}
        times = {
            "created_at": int(batch.created),
            "expires_at": int(batch.created) + 86_400,
            "completion_window": "24h",
        }
        return {
            **head,
            **made,
            **times,
            "request_counts": counts,
            "errors": _errors(batch, status),
            **self._results(batch),
        }

    def _results(self, batch: Batch) -> dict[str, str | None]:
        if batch.said is None:
            return {"output_file_id": None, "error_file_id": None}
        found = {}
        for field, lines in (
            ("output_file_id", [_output(said) for said in batch.said if said.status == 200]),
            ("error_file_id", [_output(said, batch.fate) for said in batch.said if said.status != 200]),
        ):
            name = f"{self._ids[batch.number]}-{field}"
            kept = next((file for file, (_, known, _) in self._files.items() if known == name), None)
            found[field] = kept or (self._keep("batch_output", name, b"".join(lines)) if lines else None)
        return found


def _validated(lines: Sequence[bytes], endpoint: str) -> tuple[list[Asked], tuple[str, str, int | None] | None]:
    """The requests, and the first thing that is wrong with them."""
    asked: dict[str, Asked] = {}
    for number, data in enumerate(lines, 1):
        try:
            line = _line(data)
            body = _body(line.body)
        except msgspec.MsgspecError:
            return [*asked.values()], ("invalid_json_line", "This line is not parseable as valid JSON.", number)
        if line.custom_id in asked:
            return [*asked.values()], ("duplicate_custom_id", f"The custom_id {line.custom_id} is used twice.", number)
        if line.url != endpoint or line.method != "POST":
            return [*asked.values()], ("invalid_url", "The URL does not match the batch's endpoint.", number)
        if asked and body.model != next(iter(asked.values())).model:
            return [*asked.values()], ("mismatched_model", "A batch is for one model.", number)
        prompt = "\n".join(_text(message.content) for message in body.messages)
        asked[line.custom_id] = Asked(line.custom_id, body.model, prompt, bytes(line.body))
    if len(lines) > MOST_REQUESTS or not lines:
        return [*asked.values()], ("too_many_tasks" if lines else "empty_file", "1 to 50,000 requests.", None)
    return [*asked.values()], None


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def _output(said: Said, fate: str = "completed") -> bytes:
    line: dict[str, Any] = {"id": "batch_req_mock", "custom_id": said.asked.custom_id, "response": None, "error": None}
    if said.status:
        line["response"] = {"status_code": said.status, "request_id": "mock", "body": msgspec.Raw(said.data)}
    else:
        message = "This request could not be executed before the completion window expired."
        line["error"] = {"code": f"batch_{fate}", "message": message}
    return _encode(line) + b"\n"


def _errors(batch: Batch, status: str) -> dict[str, Any] | None:
    if status != "failed" or batch.problem is None:
        return None
    code, message, line = batch.problem
    return {"object": "list", "data": [{"code": code, "message": message, "param": None, "line": line}]}


def _multipart(call: Call) -> dict[str, tuple[str, bytes]]:
    """Field name → file name and content."""
    bound = (call.header("content-type") or "").partition("boundary=")[2].strip('"').encode()
    fields = {}
    for part in call.body.split(b"--" + bound)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        names = dict(
            piece.strip().split(b"=", 1)
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-disposition")
            for piece in line.split(b";")[1:]
        )
        fields[names[b"name"].strip(b'"').decode()] = (
            names.get(b"filename", b"").strip(b'"').decode(),
            content.removesuffix(b"\r\n"),
        )
    return fields


def query(call: Call) -> dict[str, str]:
    """The query of a call, which its path no longer has."""
    from urllib.parse import parse_qsl

    target = call.headers.split(b"\r\n", 1)[0].split(b" ")[1].decode("latin-1")
    return dict(parse_qsl(target.partition("?")[2]))


def problem(status: int, message: str, code: str, *, param: str | None = None) -> Reply:
    """An error as OpenAI words it."""
    return Reply(reply(status, _encode({"error": {"message": message, "type": code, "code": code, "param": param}})))


def _ok(value: Any) -> Reply:
    return Reply(reply(200, _encode(value)))
