"""What a text is made of, in numbers: hashed words, pairs of words, and runs of characters.

Texts are turned into sparse rows a block at a time, by arithmetic on whole arrays of characters, so that a core does
tens of thousands of short texts a second. Nothing is fitted here but how many texts hold each feature (`Counts`), for
which nobody has to be asked. Hashes are the same on every machine.

A *family* is a kind of feature with columns of its own: single characters and pairs (`short`), runs of three (`long`),
words and pairs of words (`words`). Every family's part of a row has length 1, so that families can be combined freely.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.uint64]
Rows: TypeAlias = Any
"""A sparse matrix of scipy's, one row a text (its types are not known to type checkers)."""

FAMILIES = ("short", "long", "words")
BITS = 18
"""Of a feature's number: columns of one family."""
WIDTH = 1 << BITS
LONGEST = 4000
"""Characters of a text that are looked at, from its beginning."""
STIR = np.uint64(0x9E3779B97F4A7C15)
STEP = np.uint64(0xC2B2AE3D27D4EB4F)


@cache
def letters() -> NDArray[np.bool_]:
    """By code point: whether it belongs to a word (a letter or a digit, or a mark on one)."""
    return np.fromiter((chr(code).isalnum() for code in range(0x110000)), bool, 0x110000)


@dataclass(frozen=True, slots=True)
class Characters:
    """Texts, one after the other. code: of every character; row: whose it is; rows: how many texts."""

    code: Numbers
    row: NDArray[np.int64]
    rows: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> Characters:
        """In lower case, as far as they are looked at."""
        cut = [text[:LONGEST].lower() for text in texts]
        code = np.frombuffer("".join(cut).encode("utf-32-le", "surrogatepass"), np.uint32)
        row = np.repeat(np.arange(len(cut)), [len(text) for text in cut])
        return cls(code.astype(np.uint64), row, len(cut))


def block(texts: Sequence[str], families: Sequence[str] = FAMILIES) -> dict[str, Rows]:
    """By family: how often each text holds each feature, shape (texts, WIDTH)."""
    characters = Characters.of(texts)
    return {family: counted(KINDS[family](characters), characters.rows) for family in families}


def counted(found: Iterable[tuple[Numbers, NDArray[np.int64]]], rows: int) -> Rows:
    """Hashes and whose they are, as a sparse matrix."""
    from scipy.sparse import csr_array

    hashes, owners = map(np.concatenate, zip(*found, strict=True))
    keys = np.sort((owners.astype(np.uint64) << np.uint64(BITS)) | (hashes >> np.uint64(64 - BITS)))
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, np.int64)
    times = np.diff(np.r_[first, len(keys)]).astype(np.float32)
    unique = keys[first]
    columns = (unique & np.uint64(WIDTH - 1)).astype(np.int32)
    starts = np.searchsorted(unique >> np.uint64(BITS), np.arange(rows + 1, dtype=np.uint64)).astype(np.int32)
    return csr_array((times, columns, starts), shape=(rows, WIDTH))


def runs(characters: Characters, size: int) -> tuple[Numbers, NDArray[np.int64]]:
    """Of every run of so many characters within a text: its hash, and whose it is."""
    code, row, end = characters.code, characters.row, max(0, len(characters.code) - size + 1)
    value = np.full(end, size, np.uint64)
    for at in range(size):
        value = (value ^ code[at : at + end]) * STIR
        value ^= value >> np.uint64(29)
    whole = row[:end] == row[size - 1 : size - 1 + end]
    return (value * STEP)[whole], row[:end][whole]


def words(characters: Characters) -> list[tuple[Numbers, NDArray[np.int64]]]:
    """Words and pairs of neighbours."""
    inside = letters()[characters.code]
    before = np.r_[False, inside[:-1] & (characters.row[1:] == characters.row[:-1])] if len(inside) else inside
    begins = np.flatnonzero(inside & ~before)
    if not len(begins):
        return [(np.empty(0, np.uint64), np.empty(0, np.int64))]
    number = np.cumsum(inside & ~before) - 1
    place = np.arange(len(inside)) - begins[np.maximum(number, 0)]
    each = (characters.code + STIR * (place.astype(np.uint64) + np.uint64(1))) * STEP
    each ^= each >> np.uint64(31)
    value = np.add.reduceat(np.where(inside, each * STIR, np.uint64(0)), begins)
    row = characters.row[begins]
    value = (value ^ (value >> np.uint64(33))) * STEP
    pair = ((value[:-1] * STIR) ^ (value[1:] >> np.uint64(7))) * STEP
    same = row[:-1] == row[1:]
    return [(value, row), (pair[same], row[:-1][same])]


KINDS = {
    "short": lambda characters: [runs(characters, 1), runs(characters, 2)],
    "long": lambda characters: [runs(characters, 3)],
    "words": words,
}
"""How the features of a family are found."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of so many texts hold each feature, by family."""

    texts: int
    held: dict[str, NDArray[np.int32]]

    @classmethod
    def of(cls, blocks: Iterable[Sequence[str]]) -> Counts:
        """Of these texts."""
        held, texts = {family: np.zeros(WIDTH, np.int32) for family in FAMILIES}, 0
        for some in blocks:
            texts += len(some)
            for family, rows in block(some).items():
                held[family] += np.bincount(rows.indices, minlength=WIDTH).astype(np.int32)
        return cls(texts, held)

    def weight(self, family: str) -> NDArray[np.float32]:
        """Shape (WIDTH,): of each feature, the more the rarer it is."""
        return np.asarray(np.log((1 + self.texts) / (1 + self.held[family])) + 1, np.float32)


def weighted(rows: Rows, weight: NDArray[np.float32]) -> Rows:
    """1 + log of the counts, times the features' weights, each row of length 1."""
    data = (1 + np.log(rows.data)) * weight[rows.indices]
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    length = np.sqrt(np.bincount(owners, data.astype(np.float64) ** 2, minlength=rows.shape[0]))
    rows.data = (data / length[owners]).astype(np.float32)
    return rows
