"""Chance that a test can repeat: numbers that follow from a text, and every way rows can be shared out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from math import factorial
from typing import TypeAlias

import numpy as np

from smart_llm.types import Request

FACTORIAL = np.array([factorial(k) for k in range(20)], float)


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


def orders(counts: np.ndarray) -> np.ndarray:
    """In how many orders rows of so many kinds can stand, for each line of counts."""
    return FACTORIAL[counts.sum(axis=1)] / FACTORIAL[counts].prod(axis=1)


Seen: TypeAlias = tuple[int, ...]


def worst(
    rows: int,
    kinds: int,
    ends: Mapping[tuple[Seen, int, int], int],
    missed: Callable[[np.ndarray, np.ndarray, int, int], np.ndarray],
) -> float:
    """The largest chance, over all populations of so many rows, that a run misses too often.

    ends: how many orders of the profiled rows lead to (rows of each kind that were profiled, candidate, rows handed
    over). missed(profiled, left, candidate, handed over): the chance from there on, for each line of rows left.
    """
    populations = np.array(list(compositions(rows, kinds)))
    chance = np.zeros(len(populations))
    for (seen, candidate, share), ways in ends.items():
        fits = np.flatnonzero((populations >= seen).all(axis=1))
        left = populations[fits] - np.array(seen)
        weight = ways * orders(left) / orders(populations[fits])
        chance[fits] += weight * missed(np.array(seen), left, candidate, share)
    return float(chance.max())
