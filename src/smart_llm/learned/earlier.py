"""What was known before a run: labels of texts, by earlier runs or by people, and which of them are like rows left.

Labels that are known were not drawn from the rows that are left: earlier runs have asked about what they were least
sure of, and people label what they come across. What a model says of a row, taught without it, tells how likely it is
wrong, whoever chose the row. So as many rows are taken from every part of the scale as there are rows left in that part
of it, and these show what is to be expected of the rows left. Forecasts go by them, promises never do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from smart_llm.types import Answers

PARTS = 24
"""Of the scale of odds, each with as many rows that are left."""
ENOUGH = 800
"""Rows like those left, at most."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """texts and their labels; sheet: what the candidates of the run have said of them, as far as that is known."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    sheet: Answers | None = None

    @property
    def digest(self) -> str:
        """Of texts and labels, in whatever order."""
        return digest(zip(self.texts, self.labels, strict=True))


NOTHING = Earlier((), ())


def digest(pairs: Iterable[tuple[str, str]]) -> str:
    """Of texts and labels, in whatever order."""
    told = blake2b(digest_size=16, person=b"smart-llm taught")
    for text, label in sorted(pairs):
        for part in (text.encode("utf-8", "surrogatepass"), label.encode("utf-8", "surrogatepass")):
            told.update(len(part).to_bytes(8, "big") + part)
    return f"b2:{told.hexdigest()}"


def like(known: NDArray[np.float64], left: NDArray[np.float64], most: int = ENOUGH) -> NDArray[np.int64]:
    """Which of the rows that are known are like those left, by how sure the model is of them: as many from every part
    of the scale. Their number is what they are worth, were they weighted instead; few in one part are few in all."""
    if not len(known) or not len(left):
        return np.empty(0, np.int64)
    edges = np.quantile(left, np.arange(1, PARTS) / PARTS)
    part = np.searchsorted(edges, known)
    share = np.bincount(np.searchsorted(edges, left), minlength=PARTS) / len(left)
    held = np.bincount(part, minlength=PARTS)
    worth = 1 / float((share**2 / np.maximum(held, 0.5)).sum())
    count = min(most, len(known), int(worth))
    found = [_some(_nearest(part, held, k), round(count * share[k])) for k in range(PARTS)]
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)


def _nearest(part: NDArray[np.int64], held: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Rows of this part of the scale, or of the one nearest to it that has any."""
    there = np.flatnonzero(held)
    return np.flatnonzero(part == there[np.abs(there - k).argmin()])


def _some(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of these, spread evenly; again from the beginning where there are too few."""
    if count <= len(rows):
        return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)] if count else rows[:0]
    return np.resize(rows, count)
