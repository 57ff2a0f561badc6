"""What turns a text into a vector for `learned`: any server with `/v1/embeddings`, a model
file, or static vectors of words on this machine.

A vector is kept as small whole numbers, so that the ledger holds a byte for each of its numbers; `learned` looks at
directions alone. One call embeds one text: retries, limits, money and the record are the client's, as for every call.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from smart_llm.errors import InputError, LedgerError, Retryable
from smart_llm.providers import making, problems
from smart_llm.providers.http import HttpEndpoint
from smart_llm.types import Answer, Model, Request, Usage

EMBED = "embed "
"""What `Request.at` begins with where a vector is asked for and no answer."""
LONGEST = 8000
"""Characters of a text that are embedded, from its beginning: servers refuse long ones."""
STATIC = "minishlab/potion-base-8M"
"""The static vectors that are used unless others are named (30 MB, fetched once from huggingface.co)."""

Vector = NDArray[np.float32]


class Embedder(Protocol):
    """Something that embeds texts."""

    async def embed(self, text: str) -> tuple[Vector, Usage]:
        """The vector of a text, of any length, and what the call used. Raises what a provider raises."""
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...


class _Vector(msgspec.Struct):
    embedding: list[float]


class _Used(msgspec.Struct):
    prompt_tokens: int = 0


class _Reply(msgspec.Struct):
    data: list[_Vector]
    usage: _Used = msgspec.field(default_factory=_Used)


class Served:
    """A server that speaks OpenAI's protocol. heard: is told the headers of every reply, which say how limits stand."""

    def __init__(self, model: Model) -> None:
        key, url = making.key(model), making.address(model)
        self._name = model.model
        self.heard: Callable[[Mapping[str, str]], None] = lambda headers: None
        self._http = HttpEndpoint(f"{url}/embeddings", {"Authorization": f"Bearer {key}"} if key else {}, secret=key)

    async def embed(self, text: str) -> tuple[Vector, Usage]:
        """One call."""
        asked = {"model": self._name, "input": text[:LONGEST] or " ", "encoding_format": "float"}
        reply = await self._http.post(msgspec.json.encode(asked))
        self.heard(reply.headers)
        if not 200 <= reply.status < 300:
            raise self._http.error(reply, problems.read(reply.data))
        try:
            found = msgspec.json.decode(reply.data, type=_Reply)
            vector = np.array(found.data[0].embedding, np.float32)
            if not len(vector) or not np.isfinite(vector).all():
                raise ValueError("no vector")
        except (msgspec.MsgspecError, ValueError, IndexError):
            raise Retryable(f"{self._http.host} sent a reply that holds no embedding.", paid=True) from None
        return vector, Usage(input_tokens=found.usage.prompt_tokens)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


class Static:
    """Vectors of words, looked up on this machine. digest: of all of them."""

    def __init__(self, name: str) -> None:
        if find_spec("model2vec") is None:
            raise InputError("Model learned: embed=static needs model2vec: pip install 'smart-llm[static]'.")
        try:
            self._model: Any = import_module("model2vec").StaticModel.from_pretrained(name)
        except Exception as error:  # a folder that is no model, no network: whatever the library raises
            first = (str(error).splitlines() or [""])[0]
            raise InputError(f"Model learned: embed=static:{name} cannot be loaded: {first[:200]}") from None
        self.digest = blake2b(np.ascontiguousarray(self._model.embedding).tobytes(), digest_size=8).hexdigest()

    async def embed(self, text: str) -> tuple[Vector, Usage]:
        """At no price."""
        found = await asyncio.to_thread(self._model.encode, [text[:LONGEST]])
        return np.asarray(found[0], np.float32), Usage()

    async def close(self) -> None:
        """Nothing to give up."""


static = lru_cache(maxsize=2)(Static)
"""Those that are loaded."""


def known(name: str) -> str:
    """The hash of what embeds on this machine: of the vectors, or of the model file. `InputError`: it is not there."""
    provider, _, rest = name.partition(":")
    if provider == "static":
        return static(rest or STATIC).digest
    embedding = import_module("smart_llm.providers.local.embedding")
    return str(embedding.digest(embedding.file_of(rest)))


def embedder_of(model: Model) -> Embedder | None:
    """What embeds texts for a candidate that is taught in the run, if anything does."""
    if model.embed is None:
        return None
    if model.embed.provider == "static":
        return static(model.embed.model)
    if model.embed.provider == "local":
        embedding = import_module("smart_llm.providers.local.embedding")
        local: Embedder = embedding.LocalEmbedder(embedding.file_of(model.embed.model))
        return local
    return Served(model.embed)


def vector_request(text: str, at: str) -> Request:
    """What asks for the vector of a text. at: of the model, `embed …`."""
    return Request("learned", text, 1, at=at)


def vector_answer(vector: Vector, usage: Usage) -> Answer:
    """A vector as an answer: its numbers as bytes, in base64."""
    top = float(np.abs(vector).max()) or 1.0
    return Answer(b64encode(np.round(vector / top * 127).astype("i1").tobytes()).decode(), usage)


def vector_in(answer: Answer) -> Vector:
    """The vector that an answer holds, of length 1."""
    try:
        vector = np.frombuffer(b64decode(answer.text or "", validate=True), "i1").astype(np.float32)
    except ValueError:
        raise LedgerError("an embedding in the ledger cannot be read.") from None
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
