"""Vectors of texts by a model file on this machine, for `learned`: the mean of what llama.cpp makes of its tokens.

One text at a time, in one thread; what it costs is its CPU-seconds, as of every local call. A text that is too long is
halved until it fits, which depends on the text alone.
"""

from __future__ import annotations

import asyncio
import os
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smart_llm.errors import InputError, Refused
from smart_llm.providers.local import weights
from smart_llm.providers.local.provider import Engine, library, start
from smart_llm.types import Usage

TOKENS = 2048
"""Of a text, at most."""
LONGEST = 4 * TOKENS
"""Characters of a text that are tried."""


def file_of(name: str) -> Path:
    """The file meant: a path that ends in .gguf, or the name of a model that is here. `InputError`: there is none."""
    if not name.endswith(".gguf"):
        return weights.locate(name)
    if not Path(name).is_file():
        raise InputError(f"Model learned: embed=local:{name}: no such file.")
    return Path(name)


def digest(path: Path) -> str:
    """Short, of a file's content."""
    found = path.stat()
    return _digest(os.fspath(path), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _digest(path: str, changed: int, size: int) -> str:
    told = blake2b(digest_size=8)
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 22):
            told.update(chunk)
    return told.hexdigest()


class LocalEmbedder:
    """One model file, loaded when it is first asked."""

    def __init__(self, path: Path) -> None:
        self._path, self._turn = path, asyncio.Lock()
        self._engine: Engine | None = None

    async def embed(self, text: str) -> tuple[NDArray[np.float32], Usage]:
        """See `Embedder`."""
        async with self._turn:
            return await asyncio.to_thread(self._embedded, text[:LONGEST] or " ")

    def _embedded(self, text: str) -> tuple[NDArray[np.float32], Usage]:
        engine = self._engine = self._engine or start(self._path, TOKENS, adapt=_adapt)
        before = engine.cpu_seconds()
        reply = engine.server.handle_embeddings({"input": text})
        while "error" in reply and "too large" in str(reply["error"].get("message")) and len(text) > 1:
            text = text[: len(text) // 2]
            reply = engine.server.handle_embeddings({"input": text})
        if "error" in reply:
            raise Refused(f"the local model embeds nothing: {reply['error'].get('message')}", row_only=True)
        used = Usage(reply["usage"]["prompt_tokens"], cpu_seconds=engine.cpu_seconds() - before)
        return np.array(reply["data"][0]["embedding"], np.float32), used

    async def close(self) -> None:
        """Free the model's memory."""
        self._engine = None


def _adapt(params: Any) -> None:
    """For embedding, whole texts at once."""
    params.embedding, params.pooling_type = True, library().llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_batch = params.n_ubatch = TOKENS
