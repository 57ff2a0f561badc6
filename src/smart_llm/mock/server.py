"""`smart mock-provider`: a local server that speaks the OpenAI protocol, with the latency, limits and faults you set.

    POST /v1/chat/completions   answers (usage and log-probabilities follow from the prompt)
    POST /v1/embeddings         vectors; texts with the same words point the same way
    POST /v1/messages           the same answers in Anthropic's dialect (see `mock.anthropic`)
    /v1/batches, /v1/files, /v1/messages/batches   both batch APIs (see `mock.batches`)
    GET  /v1/models             the models named in its options
    GET  /stats                 what it did: requests, answered, distinct, faults by kind, per model

`answered` counts replies with status 200 and a whole body: what a provider would bill. It listens on 127.0.0.1 only,
unless told otherwise.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from smart_llm.errors import InputError
from smart_llm.mock import anthropic, embeddings
from smart_llm.mock.answers import BROKEN, Answerer, Recorded, Said, by_rule, uniform
from smart_llm.mock.batch_mount import BatchMount
from smart_llm.mock.batches import PROMPT, BatchSettings
from smart_llm.mock.faults import Faults
from smart_llm.mock.http import Call, Connection, Reply, reply
from smart_llm.mock.keeping import KEEPS, kept
from smart_llm.mock.limits import Limiter, Limits
from smart_llm.mock.packs import Packs, PackSaid, Piece, answered


class _Message(msgspec.Struct):
    role: str
    content: Any = ""


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    logprobs: bool | None = None
    top_logprobs: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    response_format: Any = None
    structured_outputs: Any = None
    guided_choice: Any = None


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


class MockServer:
    """The server; `async with MockServer(…) as url` runs it on a free port. `url` ends in /v1.

    rule: what `answers.by_rule` takes; answer: a function (model, prompt) → text instead. errors: share of prompts a
    model strays on; chats, break_contract: the same of prompts that it breaks the contract on, and models that always
    do. keeps: how the server keeps a model to labels (`keeping.KEEPS`). packs: what goes wrong where several rows are
    asked about at once. vectors: of texts. latency: seconds; jitter: seconds added at random. hang, pause: seconds a
    silent call lasts, and a 429 asks to wait. key: the key asked for, if any. `keys` holds those that were sent.
    """

    def __init__(
        self,
        answer: Answerer | None = None,
        *,
        rule: str = "label:positive,negative",
        errors: Mapping[str, float] | None = None,
        break_contract: Iterable[str] = (),
        chats: Mapping[str, float] | None = None,
        keeps: str = "none",
        refuse_logprobs: bool = False,
        latency: float = 0.0,
        jitter: float = 0.0,
        limits: Limits | None = None,
        faults: Faults | None = None,
        hang: float = 60.0,
        pause: float = 0.05,
        key: str | None = None,
        batches: BatchSettings | None = PROMPT,
        packs: Packs | None = None,
        vectors: embeddings.Vectors = embeddings.vector,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._answer = answer or by_rule(rule, errors or {}, seed)
        if keeps not in KEEPS:
            raise InputError(f"--keep {keeps}: there are {', '.join(KEEPS)}.")
        self._breaking, self._keeps = dict(chats or {}) | dict.fromkeys(break_contract, 1.0), keeps
        self._packs, self._seed = packs or Packs(), seed
        self._models = sorted({*getattr(answer, "models", ()), *(errors or ()), *self._breaking})
        self._refuse_logprobs = refuse_logprobs
        self._latency, self._jitter, self._hang, self._pause = latency, jitter, hang, pause
        self._limits = limits or Limits()
        self._random = Random(seed)
        self._faults = _cumulated(faults or Faults())
        self._key, self._vectors = key, vectors
        self._address = host, port
        self._connections: set[Connection] = set()
        self._counts: dict[str, Counter[str]] = {}
        self._seen: dict[str, set[bytes]] = {}
        self._draws: Counter[tuple[str, str]] = Counter()
        self._cached: set[str] = set()
        self.faulted: Counter[str] = Counter()
        self.keys: set[str | None] = set()
        self._mount = BatchMount(batches, self._quiet().handle, seed, key) if batches is not None else None

    async def start(self) -> str:
        """Listen; returns the address to give to a client."""
        loop = asyncio.get_running_loop()
        self._limiter = Limiter(self._limits, loop.time)
        try:
            self._server = await loop.create_server(lambda: Connection(self.handle, self._connections), *self._address)
        except OSError as error:
            raise InputError(f"Cannot listen on {self._address[0]}:{self._address[1]}: {error.strerror}.") from error
        host, port = self._server.sockets[0].getsockname()[:2]
        url = f"http://{host}:{port}/v1"
        if self._mount is not None:
            self._mount.start(loop.time, url)
        return url

    async def stop(self) -> None:
        """Stop listening and cut what is connected."""
        self._server.close()
        for _ in range(3):  # a connection that was just accepted becomes known a turn of the loop later
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)
        await self._server.wait_closed()

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def stats(self) -> dict[str, Any]:
        """What it did so far. distinct: different (model, prompt) among the requests."""
        models = {
            name: {"requests": n["requests"], "answered": n["answered"], "distinct": len(self._seen[name])}
            for name, n in self._counts.items()
        }
        totals = {
            field: sum(model[field] for model in models.values()) for field in ("requests", "answered", "distinct")
        }
        batches = {"batches": self._mount.stats()} if self._mount is not None else {}
        return {**totals, "faults": dict(self.faulted), "models": models, **batches}

    def handle(self, call: Call) -> Reply:
        """One request."""
        if call.path == "/stats":
            return Reply(reply(200, _encode(self.stats())))
        if self._mount is not None and (found := self._mount.handle(call)) is not None:
            return found
        if call.path == "/v1/models":
            listed = [{"id": name, "object": "model", "owned_by": "mock"} for name in self._models]
            return Reply(reply(200, _encode({"object": "list", "data": listed})))
        if call.method == "POST" and call.path == anthropic.PATH:
            return self._messages(call)
        embeds = call.path == embeddings.PATH
        if call.method != "POST" or (call.path != "/v1/chat/completions" and not embeds):
            return _problem(404, f"no such address: {call.method} {call.path}", "not_found")
        sent = call.header("authorization")
        self.keys.add(sent.removeprefix("Bearer ") if sent else None)
        if self._key is not None and sent != f"Bearer {self._key}":
            return _problem(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
        if embeds:
            return self._embedded(call)
        try:
            body = _decode(call.body)
        except msgspec.MsgspecError as error:
            return _problem(400, f"not a chat completion request: {error}", "invalid_request")
        return self._chat(body)

    def _embedded(self, call: Call) -> Reply:
        try:
            body = embeddings.read(call.body)
        except msgspec.MsgspecError as error:
            return _problem(400, f"not a request for embeddings: {error}", "invalid_request")
        self._count(body.model, str(body.input))
        found, tokens = embeddings.reply(body, self._vectors)
        if (wait := self._limiter.admit(tokens)) > 0:
            return self._throttled(wait)
        data = _encode(found)
        return self._faulty(data, body.model) or self._whole(data, body.model, self._limiter.headers())

    def _quiet(self) -> MockServer:
        """Its twin without faults and limits, which answers the requests of batches."""
        twin = MockServer(
            self._answer,
            chats=self._breaking,
            keeps=self._keeps,
            refuse_logprobs=self._refuse_logprobs,
            batches=None,
            packs=self._packs,
            seed=self._seed,
        )
        twin._limiter = Limiter(Limits(), lambda: 0.0)
        return twin

    def _chat(self, body: _Body) -> Reply:
        prompt = "\n".join(_text(message.content) for message in body.messages)
        self._count(body.model, prompt)
        tokens = 8 + len(prompt.encode()) // 4
        wait = self._limiter.admit(tokens)
        if wait > 0:
            return self._throttled(wait)
        if body.logprobs and self._refuse_logprobs:
            return _problem(400, "This model does not support the parameter logprobs.", "unsupported", param="logprobs")
        said = self._said(body.model, prompt, drawn=bool(body.temperature))
        if said is None:
            return _problem(404, f"The model {body.model} has no answer to this prompt.", "model_not_found")
        data = _encode(_completion(body, self._kept(body, prompt, said), tokens))
        return self._faulty(data, body.model) or self._whole(data, body.model, self._limiter.headers())

    def _messages(self, call: Call) -> Reply:
        """The same in Anthropic's dialect."""
        self.keys.add(sent := anthropic.key(call))
        if self._key is not None and sent != self._key:
            return anthropic.problem(401, "invalid x-api-key")
        try:
            asked = anthropic.read(call)
        except (msgspec.MsgspecError, ValueError) as error:
            return anthropic.problem(400, str(error))
        self._count(asked.model, asked.prompt)
        tokens = 8 + len(asked.prompt.encode()) // 4
        if (wait := self._limiter.admit(tokens)) > 0:
            return self._throttled(wait, anthropic.problem)
        said = self._said(asked.model, asked.prompt, drawn=asked.warm)
        if said is None:
            return anthropic.problem(404, f"model: {asked.model}")
        data = _encode(anthropic.completion(asked, said, tokens, self._cached))
        headers = anthropic.limit_headers(self._limiter.headers())
        return self._faulty(data, asked.model, anthropic.problem) or self._whole(data, asked.model, headers)

    def _kept(self, body: _Body, prompt: str, said: Said) -> Said:
        """What is said where the server keeps its model to labels; it would have chatted without."""
        told, asked = body.structured_outputs, body.response_format
        choice = (told.get("choice") if isinstance(told, dict) else None) or body.guided_choice
        schema = asked.get("json_schema", {}).get("schema") if isinstance(asked, dict) else None
        meant = self._answer(body.model, prompt)
        meant = meant.text if isinstance(meant, Said) else meant or said.text
        text = kept(meant, self._keeps, choice=choice, schema=schema)
        return said if text is None else Said(text, said.logprob)

    def _said(self, model: str, prompt: str, *, drawn: bool = False) -> Said | None:
        if (packed := answered(model, prompt, partial(self._alone, model), self._packs, self._seed)) is not None:
            return packed
        said = self._alone(model, prompt)
        if said is None or said.other is None or not drawn:
            return said
        self._draws[model, prompt] += 1
        return said.drawn(model, prompt, str(self._draws[model, prompt]))

    def _alone(self, model: str, prompt: str) -> Said | None:
        """What it says of one row."""
        chats = uniform("chats", model, prompt) < self._breaking.get(model, 0.0)
        said = BROKEN if chats else self._answer(model, prompt)
        return Said(said) if isinstance(said, str) else said

    def _count(self, model: str, prompt: str) -> None:
        self._counts.setdefault(model, Counter())["requests"] += 1
        self._seen.setdefault(model, set()).add(blake2b(prompt.encode(), digest_size=8).digest())

    def _whole(self, data: bytes, model: str, headers: Mapping[str, str]) -> Reply:
        self._counts[model]["answered"] += 1
        return Reply(reply(200, data, headers), self._delay())

    def _faulty(self, data: bytes, model: str, problem: Callable[..., Reply] | None = None) -> Reply | None:
        """A reply that goes wrong, or None for most calls."""
        place = self._random.random()
        kind = next((name for name, end in self._faults if place < end), None)
        if kind is None:
            return None
        problem = problem or _problem
        if kind == "throttle":
            return self._throttled(self._pause, problem)
        self.faulted[kind] += 1
        whole = reply(200, data)
        replies = {
            "error": lambda: problem(500, "The server had an error.", "server_error", delay=self._delay()),
            "hang": lambda: Reply(b"", self._hang, hang_up=True),
            "drop": lambda: Reply(b"", hang_up=True),
            "broken": lambda: Reply(reply(200, data[: len(data) // 2]), self._delay()),
            "truncated": lambda: Reply(whole[: len(whole) - len(data) // 2], self._delay(), hang_up=True),
        }
        return replies[kind]()

    def _throttled(self, seconds: float, problem: Callable[..., Reply] | None = None) -> Reply:
        self.faulted["throttle"] += 1
        headers = self._limiter.refusal(seconds)
        return (problem or _problem)(429, "Rate limit reached.", "rate_limit_exceeded", headers=headers)

    def _delay(self) -> float:
        return self._latency + (self._jitter * self._random.random() if self._jitter else 0.0)


def serve(*, ready: Callable[[str], None], answers: Path | str | None = None, **options: Any) -> None:
    """Run the server until interrupted. ready: is told the address. answers: a recorded table to answer from.

    options: what `MockServer` takes.
    """

    async def run() -> None:
        server = MockServer(Recorded(answers) if answers is not None else None, **options)
        ready(await server.start())
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop()

    asyncio.run(run())


def _cumulated(faults: Faults) -> list[tuple[str, float]]:
    shares = {field.name: getattr(faults, field.name) for field in fields(faults)}
    if any(not 0 <= share <= 1 for share in shares.values()) or sum(shares.values()) > 1:
        raise InputError("The shares of faults must each lie in [0, 1], and together not pass 1.")
    return [(name, end) for name, end in zip(shares, accumulate(shares.values()), strict=True) if shares[name]]


def _completion(body: _Body, said: Said, tokens: int) -> dict[str, Any]:
    """A token is four characters; what passes the limit of tokens is cut off."""
    most = body.max_completion_tokens or body.max_tokens
    tokens_said = _tokens(said)
    cut = most is not None and len(tokens_said) > most
    tokens_said = tokens_said[:most] if cut else tokens_said
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(piece for piece, *_ in tokens_said), "refusal": None},
        "finish_reason": "length" if cut else "stop",
        "logprobs": None,
    }
    if body.logprobs:
        choice["logprobs"] = {"content": _token_logprobs(tokens_said, body.top_logprobs or 0), "refusal": None}
    written = len(tokens_said)
    usage = {"prompt_tokens": tokens, "completion_tokens": written, "total_tokens": tokens + written}
    head = {"id": "chatcmpl-mock", "object": "chat.completion", "created": 0, "model": body.model}
    return {**head, "choices": [choice], "usage": usage}


def _tokens(said: Said) -> list[Piece]:
    """Tokens of four characters. The doubt lies where what it says parts from what else it might have said."""
    if not isinstance(said, PackSaid):
        return _spelled(said.text, said.logprob, said.other, said.against)
    return [token for piece in said.pieces for token in _spelled(*piece)]


def _spelled(text: str, logprob: float, other: str | None, against: float) -> list[Piece]:
    own, otherwise = _pieces(text), _pieces(other or "")
    parting = next((i for i, pair in enumerate(zip(own, otherwise, strict=False)) if pair[0] != pair[1]), None)
    doubt = parting or 0
    return [
        (piece, logprob if i == doubt else -1e-4, otherwise[i] if other and i == parting else None, against)
        for i, piece in enumerate(own)
    ]


def _token_logprobs(tokens: list[Piece], most: int) -> list[dict[str, Any]]:
    """As a reply lists them."""
    listed = []
    for piece, logprob, other, against in tokens:
        own: dict[str, Any] = {"token": piece, "logprob": logprob}
        both = [own, {"token": other, "logprob": against}] if other is not None else [own]
        listed.append({**own, "top_logprobs": sorted(both, key=lambda each: -each["logprob"])[:most]})
    return listed


def _pieces(text: str) -> list[str]:
    """Tokens of four characters."""
    return [text[i : i + 4] for i in range(0, len(text), 4)] or [""]


def _text(content: Any) -> str:
    """Content is a text, or a list of parts."""
    return "".join(str(part.get("text", "")) for part in content) if isinstance(content, list) else str(content)


def _problem(
    status: int,
    message: str,
    code: str,
    *,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
    delay: float = 0.0,
) -> Reply:
    error = {"message": message, "type": code, "code": code, "param": param}
    return Reply(reply(status, _encode({"error": error}), headers), delay)
