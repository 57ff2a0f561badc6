"""What was fitted, as plain arrays, and what it says of any text. Nothing here needs the library that fitted it.

The model is linear in the features, whatever it was fitted with: one column of weights a label, or a single one where
there are two. Its probabilities are calibrated on the rows it was taught with, each judged by a model that had not seen
it. As bytes it is a header in JSON and arrays as they lie in memory: reading it executes nothing.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import pairwise
from math import exp, log1p
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from smart_llm.errors import LedgerError
from smart_llm.learned.closed import put_together
from smart_llm.learned.features import FAMILIES, WIDTH, Rows
from smart_llm.learned.space import Singles, weigh

FORMAT = "smart-learned/2"
JOINT_FORMAT = "smart-learned-fields/1"
DECIMALS, FINE = 6, 12
"""Odds are rounded here; log-probabilities, which are the closer together the surer rows are, there."""
SUREST = 30.0
"""Log-odds are not greater than this."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the bytes are of. recipe: what was fitted, in words; rows: taught with; columns: features with weights;
    embedded: numbers of a vector with weights."""

    format: str
    labels: tuple[str, ...]
    recipe: str
    rows: int
    columns: int
    lines: int
    embedded: int = 0


class JointHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the bytes are of. names: of fields; sizes: bytes of their models, in this order."""

    format: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of some rows. label: the number of the label, shape (n,); odds: log-odds that it is that one."""

    label: NDArray[np.int64]
    odds: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """labels: those it may say. columns: the features that have weights; weights: shape (columns, lines), one line a
    label, a single one of two labels; offset: shape (lines,). steps: how much features weigh (`Space.steps`). dense:
    shape (numbers of a vector, lines), of the texts' vectors; empty where they are not used."""

    labels: tuple[str, ...]
    columns: NDArray[np.int32]
    weights: Singles
    offset: NDArray[np.float64]
    steps: NDArray[np.uint8]
    recipe: str = ""
    rows: int = 0
    dense: Singles = field(default_factory=lambda: np.empty((0, 1), np.float32))

    @property
    def embeds(self) -> bool:
        """Whether it looks at the vectors of texts."""
        return bool(self.dense.size)

    def said(self, texts: Sequence[str], vectors: Singles | None = None) -> Said:
        """Of any texts; of a text alone the same as among others. vectors: theirs, where it looks at them."""
        return self.of_rows(weigh(texts, self.steps), vectors)

    def of_rows(self, rows: Rows, vectors: Singles | None = None) -> Said:
        """Of texts turned into features."""
        whole = np.zeros((rows.shape[1], len(self.offset)), np.float32)
        whole[self.columns] = self.weights
        margins = np.asarray(rows @ whole, np.float64) + self.offset
        if self.embeds:
            assert vectors is not None
            margins += vectors.astype(np.float64) @ self.dense.astype(np.float64)
        return decided(margins)

    def answer(self, number: int) -> str:
        """What an answer says."""
        return self.labels[number]

    def logp(self, odds: float) -> float:
        """The log-probability of an answer."""
        return -log1p(exp(-odds))

    def to_bytes(self) -> bytes:
        """As it is kept."""
        lines = len(self.offset)
        header = Header(FORMAT, self.labels, self.recipe, self.rows, len(self.columns), lines, len(self.dense))
        arrays = (
            self.columns.astype("<i4"), self.weights.astype("<f4"), self.offset.astype("<f8"), self.dense.astype("<f4"),
            self.steps.astype("u1")
        )  # fmt: skip
        return msgspec.json.encode(header) + b"\n" + zlib.compress(b"".join(a.tobytes() for a in arrays), 6)

    @classmethod
    def from_bytes(cls, kept: bytes) -> Fitted:
        """What was kept; `LedgerError` where it is not that."""
        try:
            head, _, packed = kept.partition(b"\n")
            header, body = msgspec.json.decode(head, type=Header), zlib.decompress(packed)
            n, lines = header.columns, header.lines
            sizes = [4 * n, 4 * n * lines, 8 * lines, 4 * header.embedded * lines, len(FAMILIES) * WIDTH]
            if header.format != FORMAT or len(body) != sum(sizes) or lines != _lines(header.labels):
                raise ValueError("another format, or not whole")
            ends = np.cumsum(sizes)
            columns = np.frombuffer(body[: ends[0]], "<i4")
            weights = np.frombuffer(body[ends[0] : ends[1]], "<f4").reshape(n, lines)
            offset = np.frombuffer(body[ends[1] : ends[2]], "<f8")
            dense = np.frombuffer(body[ends[2] : ends[3]], "<f4").reshape(header.embedded, lines)
            if n and not 0 <= columns.min() <= columns.max() < len(FAMILIES) * WIDTH:
                raise ValueError("features that there are not")
        except (ValueError, zlib.error, msgspec.DecodeError) as error:
            raise LedgerError(f"the learned model that is kept cannot be read: {error}.") from None
        return cls(header.labels, columns, weights, offset, np.frombuffer(body[ends[3] :], "u1"), header.recipe,
                   header.rows, dense)  # fmt: skip

    @property
    def name(self) -> str:
        """What stands in the keys of its answers, where the address of other models stands."""
        return f"learned {self.digest}"

    @property
    def digest(self) -> str:
        """Short, of everything that decides what it says."""
        told = blake2b(digest_size=12)
        for array in (self.columns, self.weights, self.offset, self.steps, self.dense):
            told.update(np.ascontiguousarray(array).tobytes())
        told.update("\0".join(self.labels).encode("utf-8", "surrogatepass"))
        return told.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """A model for every field of JSON answers. Its odds are the log-probability of the whole: fields are taken to be
    right or wrong independently of each other, which decides no more than the order of rows."""

    names: tuple[str, ...]
    parts: tuple[Fitted, ...]

    @property
    def embeds(self) -> bool:
        """Whether any of them looks at the vectors of texts."""
        return any(part.embeds for part in self.parts)

    def said(self, texts: Sequence[str], vectors: Singles | None = None) -> Said:
        """Of any texts."""
        return self.of_rows(weigh(texts, self.parts[0].steps), vectors)

    def of_rows(self, rows: Rows, vectors: Singles | None = None) -> Said:
        """Of texts turned into features."""
        return joined([part.of_rows(rows, vectors) for part in self.parts], [len(part.labels) for part in self.parts])

    def answer(self, number: int) -> str:
        """What an answer says."""
        values = list[str]()
        for part in reversed(self.parts):
            number, at = divmod(number, len(part.labels))
            values.insert(0, part.labels[at])
        return put_together(values, self.names)

    def logp(self, odds: float) -> float:
        """The log-probability of an answer."""
        return min(0.0, odds)

    def to_bytes(self) -> bytes:
        """As it is kept: how much features weigh is the same for all fields, and stands there once."""
        bare = [replace(part, steps=np.zeros_like(part.steps)).to_bytes() for part in self.parts]
        steps = zlib.compress(self.parts[0].steps.astype("u1").tobytes(), 6)
        header = JointHeader(JOINT_FORMAT, self.names, tuple(map(len, bare)))
        return msgspec.json.encode(header) + b"\n" + b"".join([*bare, steps])

    @classmethod
    def from_bytes(cls, kept: bytes) -> Joint:
        """What was kept; `LedgerError` where it is not that."""
        try:
            head, _, body = kept.partition(b"\n")
            header = msgspec.json.decode(head, type=JointHeader)
            ends = [0, *np.cumsum(header.sizes).tolist()]
            steps = np.frombuffer(zlib.decompress(body[ends[-1] :]), "u1")
            if header.format != JOINT_FORMAT or len(steps) != len(FAMILIES) * WIDTH or not header.names:
                raise ValueError("another format, or not whole")
        except (ValueError, zlib.error, msgspec.DecodeError) as error:
            raise LedgerError(f"the learned model that is kept cannot be read: {error}.") from None
        parts = [Fitted.from_bytes(body[start:end]) for start, end in pairwise(ends)]
        return cls(header.names, tuple(replace(part, steps=steps) for part in parts))

    @property
    def recipe(self) -> str:
        """What was fitted, in words."""
        return "; ".join(f"{name}: {part.recipe}" for name, part in zip(self.names, self.parts, strict=True))

    @property
    def rows(self) -> int:
        """Rows taught with."""
        return max(part.rows for part in self.parts)

    @property
    def name(self) -> str:
        """See `Fitted`."""
        return f"learned {self.digest}"

    @property
    def digest(self) -> str:
        """See `Fitted`."""
        told = "\0".join([*self.names, *(part.digest for part in self.parts)])
        return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


Answering: TypeAlias = Fitted | Joint


def joined(said: Sequence[Said], counts: Sequence[int]) -> Said:
    """What is said of all fields, as one answer. counts: of the values of each."""
    number, logp = np.zeros_like(said[0].label), np.zeros(len(said[0].label))
    for each, count in zip(said, counts, strict=True):
        number = number * count + each.label
        logp -= np.log1p(np.exp(-each.odds))
    return Said(number, np.round(logp, FINE))


def to_keep(fitted: Answering, around: tuple[int, int], embed: str | None = None) -> dict[str, Any]:
    """As it stands in a ledger. around: characters of a prompt before and after what the row says. embed: what made the
    vectors that it looks at."""
    model = b64encode(fitted.to_bytes()).decode()
    kept = {"digest": fitted.digest, "rows": fitted.rows, "recipe": fitted.recipe, "around": around, "model": model}
    return kept | ({"embed": embed} if fitted.embeds else {})


def kept_model(kept: Any) -> Answering:
    """The model that stands in a ledger; `LedgerError` where it is not the one it says it is."""
    try:
        whole = b64decode(kept["model"], validate=True)
        joint = JOINT_FORMAT.encode() in whole.partition(b"\n")[0]
        fitted = Joint.from_bytes(whole) if joint else Fitted.from_bytes(whole)
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"the learned model that is kept cannot be read: {error}.") from None
    if fitted.digest != kept["digest"]:
        raise LedgerError("the learned model that is kept is not the one that was taught.")
    return fitted


def _lines(labels: Sequence[str]) -> int:
    return len(labels) if len(labels) != 2 else 1


def decided(margins: NDArray[np.float64]) -> Said:
    """The most likely label of each row and its log-odds against all others. margins: shape (n, lines)."""
    if margins.shape[1] == 1:
        margins = np.column_stack([np.zeros(len(margins)), margins[:, 0]]) if len(margins) else np.zeros((0, 2))
    label = margins.argmax(axis=1) if len(margins) else np.empty(0, np.int64)
    best = np.take_along_axis(margins, label[:, None], axis=1)
    others = np.exp(np.minimum(0.0, margins - best))
    np.put_along_axis(others, label[:, None], 0.0, axis=1)
    with np.errstate(divide="ignore"):
        odds = -np.log(others.sum(axis=1))
    return Said(label, np.round(np.minimum(odds, SUREST), DECIMALS))
