"""What can be known of a table's texts before anybody is asked: how rare each feature is, and which go together.

Features that occur in the same texts say similar things, so a model that has seen one knows something of the others:
`topics` are the directions in which a sample of the texts differs most (latent semantic analysis). They make the first
hundred labels worth two or three hundred. All of this is computed from texts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.learned.features import FAMILIES, WIDTH, Rows, block, weighted

Singles: TypeAlias = NDArray[np.float32]
COUNTED = 100_000
"""Texts whose features are counted; of larger tables, so many, spread evenly."""
READ = 8_000
"""Texts that topics are taken from."""
TOPICS, TELLING, RARE = 100, 20_000, 5
"""Directions; the features they are made of, at most; and texts that must hold such a feature."""
STEPS = 16
"""Of a feature's weight, per unit: weights are kept as small whole numbers."""
SLICE = 2048
"""Texts turned into features at a time."""


@dataclass(frozen=True, slots=True)
class Space:
    """steps: shape (families × WIDTH,), how much each feature weighs, in 1/STEPS. common, topics: the features that
    topics are made of, and how much of each, shape (common, TOPICS); scaled so that a text has about length 1."""

    steps: NDArray[np.uint8]
    common: NDArray[np.int32]
    topics: Singles

    @classmethod
    def of(cls, texts: Sequence[str], sample: Sequence[str]) -> Space:
        """texts: to count features in; sample: to take topics from."""
        held = np.zeros(len(FAMILIES) * WIDTH, np.int64)
        for some in sliced(texts):
            for number, rows in enumerate(block(some).values()):
                held[number * WIDTH : (number + 1) * WIDTH] += np.bincount(rows.indices, minlength=WIDTH)
        weight = np.log((1 + len(texts)) / (1 + held)) + 1
        steps = np.minimum(255, np.round(weight * STEPS)).astype(np.uint8)
        bare = cls(steps, np.empty(0, np.int32), np.empty((0, 0), np.float32))
        return cls(steps, *_topics(bare.rows(sample), held))

    def rows(self, texts: Sequence[str]) -> Rows:
        """Shape (texts, families × WIDTH): what these texts hold."""
        return weigh(texts, self.steps)


def weigh(texts: Sequence[str], steps: NDArray[np.uint8]) -> Rows:
    """Shape (texts, families × WIDTH): what texts hold, by how much each feature weighs."""
    from scipy.sparse import hstack, vstack

    slices = []
    for some in sliced(texts):
        parts = block(some)
        for number, (name, rows) in enumerate(parts.items()):
            parts[name] = weighted(
                rows, steps[number * WIDTH : (number + 1) * WIDTH].astype(np.float32) / np.float32(STEPS)
            )
        slices.append(hstack(list(parts.values()), format="csr"))
    return vstack(slices, format="csr") if slices else hstack(list(block([]).values()), format="csr")


def sliced(texts: Iterable[str]) -> Iterator[list[str]]:
    """A few thousand at a time."""
    some = list[str]()
    for text in texts:
        some.append(text)
        if len(some) == SLICE:
            yield some
            some = []
    if some:
        yield some


def _topics(rows: Rows, held: NDArray[np.int64]) -> tuple[NDArray[np.int32], Singles]:
    """The features that topics are made of, and the topics."""
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    short = np.r_[np.ones(WIDTH, bool), np.zeros(WIDTH, bool), np.ones(WIDTH, bool)]
    times = np.bincount(rows.indices, minlength=len(held))
    often = np.flatnonzero(short & (times >= RARE))
    often = np.sort(often[np.argsort(-times[often], kind="stable")[:TELLING]])
    if min(len(often), rows.shape[0]) <= 2 * TOPICS:
        return np.empty(0, np.int32), np.empty((0, 0), np.float32)
    part = rows[:, often]
    with threadpool_limits(1):  # how many there are decides the last digits
        _, _, across = randomized_svd(part, TOPICS, n_iter=1, random_state=0)
    told = part @ across.T
    length = float(np.sqrt((told**2).sum(axis=1)).mean())
    return often.astype(np.int32), np.ascontiguousarray(across.T / max(length, 1e-9), np.float32)
