"""Chance that a test can repeat: numbers that follow from a text, and every way rows can be shared out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from math import factorial, prod

from smart_llm.types import Request


def draw(text: str, salt: str = "") -> float:
    """A number in [0, 1) that follows from the text."""
    return int.from_bytes(hashlib.sha256((salt + text).encode("utf-8", "replace")).digest()[:6], "big") / 2**48


def answering(error: float, salt: str = "") -> Callable[[Request], str]:
    """A model that strays from the truth on this share of the prompts."""

    def answer(request: Request) -> str:
        truth = draw(request.prompt, "truth") < 0.5
        return "yes" if truth != (draw(request.prompt, f"error{salt}") < error) else "no"

    return answer


def compositions(rows: int, kinds: int) -> Iterator[tuple[int, ...]]:
    """All ways to share rows out among kinds."""
    if kinds == 1:
        yield (rows,)
        return
    for first in range(rows + 1):
        yield from ((first, *rest) for rest in compositions(rows - first, kinds - 1))


def orders(counts: Sequence[int]) -> int:
    """In how many orders rows of so many kinds can stand."""
    return factorial(sum(counts)) // prod(map(factorial, counts))
