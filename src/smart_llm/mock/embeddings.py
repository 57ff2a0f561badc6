"""`POST /v1/embeddings` of the mock: texts with the same words point the same way."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

PATH = "/v1/embeddings"
NUMBERS = 32
"""Of a vector."""


class Body(msgspec.Struct):
    """What is asked: the vectors of one text or several."""

    model: str
    input: str | list[str]


read = msgspec.json.Decoder(Body).decode


def vector(text: str) -> list[float]:
    """The sum of what its words point at."""
    total = [0.0] * NUMBERS
    for word in re.findall(r"\w+", text.lower()):
        seed = blake2b(word.encode(), digest_size=8).digest()
        random = Random(int.from_bytes(seed, "big"))
        total = [sum(pair) for pair in zip(total, (random.gauss(0, 1) for _ in range(NUMBERS)), strict=True)]
    return [round(number, 6) for number in total]


Vectors = Callable[[str], list[float]]


def reply(body: Body, of: Vectors) -> tuple[dict[str, Any], int]:
    """The reply, and tokens used. of: the vector of a text."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    tokens = sum(1 + len(text.encode()) // 4 for text in texts)
    data = [{"object": "embedding", "index": k, "embedding": of(text)} for k, text in enumerate(texts)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}, tokens
