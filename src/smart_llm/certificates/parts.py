"""The parts of a certificate, as values whose fields are those of its JSON.

What a procedure's evidence is made of is known to its check alone (`certificates.checks`).
"""

from __future__ import annotations

import msgspec

from smart_llm.types import Standing
from smart_llm.types.values import Number, Value


class Claim(Value, frozen=True, kw_only=True):
    """What is promised, in numbers and in words. allowance: how many of the rows may differ from what the reference
    answers. reserve: the part of it kept for rows without an answer. label_rows: of how many rows a label must be for
    the promise per label. errors, unsettled: rows without an answer, and rows not delivered yet. set_aside,
    set_aside_errors: rows piloted before, and those of them without an answer when they were settled."""

    rows: int
    agreement: str
    confidence: str
    reference: str
    allowance: int
    reserve: int
    floor: str
    per_label: str | None
    label_rows: int | None
    errors: int
    unsettled: int
    set_aside: int
    set_aside_errors: int
    words: str = ""


class NamedProcedure(Value, frozen=True):
    """Of whom the evidence is."""

    name: str
    version: str


class Software(Value, frozen=True):
    """What made the certificate."""

    name: str
    version: str


class Delivered(Value, frozen=True, kw_only=True):
    """Rows profiled, rows piloted before, rows by the model that answered them, and how the candidates fared."""

    profiled: int
    set_aside: int
    by: dict[str, int]
    standings: tuple[Standing, ...]


class Cost(Value, frozen=True, kw_only=True):
    """In USD, each distinct request once, whoever paid. set_aside … self_check: by stage; they add up to the total.
    reference_only: an estimate. paid, reused: by this run, and by earlier ones whose answers it took. learning: paid
    to learn how servers are told to keep to labels. lost_at_most: of calls that brought no answer, besides."""

    total: float
    set_aside: float
    profiling: float
    delivery: float
    self_check: float
    by_model: dict[str, float]
    reference_only: float
    saving: float
    unit: str
    paid: float
    reused: float
    learning: float
    lost_at_most: float


class Errors(Value, frozen=True, kw_only=True):
    """Rows without an answer: all of them, those lost while profiling, those among the rows set aside, and the
    positions of the first."""

    rows: int
    while_profiling: int
    set_aside: int
    first: tuple[int, ...]

    @property
    def late(self) -> int:
        """Rows that ended without an answer although profiling did not show it."""
        return self.rows - self.while_profiling - self.set_aside


class LabelShares(Value, frozen=True, kw_only=True):
    """How the delivered answers fare for one label, with 95 % limits; None where there is nothing to count."""

    label: str
    profiled: int
    agreement: float | None
    agreement_lower: float | None
    agreement_upper: float | None
    precision: float | None
    precision_lower: float | None
    precision_upper: float | None


class SelfAgreement(Value, frozen=True, kw_only=True):
    """How often the reference said the same again, with limits at this confidence."""

    rows: int
    agreeing: int
    lower: float
    upper: float
    confidence: float


class SharedRows(Value, frozen=True):
    """So many of the rows left go to this model."""

    model: str
    rows: int


class StatedTier(Value, frozen=True, kw_only=True):
    """A tier of a cascade by the names of its models (`types.Tier`). score: (trait, weight) pairs."""

    model: str
    score: tuple[tuple[str, Number], ...]
    stop: tuple[Number, int] | None
    peers: tuple[str, ...]


class StatedGate(Value, frozen=True):
    """Rows whose score is below the floor go to the reference at once (`types.Gate`)."""

    score: tuple[tuple[str, Number], ...]
    floor: Number


class StatedRule(Value, frozen=True, kw_only=True):
    """Which answer a row not profiled is delivered: by shares in an order, or by tiers behind a gate. reference: who
    answers all other rows."""

    shares: tuple[SharedRows, ...] | None = None
    order: str | None = None
    tiers: tuple[StatedTier, ...] | None = None
    gate: StatedGate | None = None
    reference: str = msgspec.field(default="", name="else")

    @property
    def models(self) -> tuple[str, ...]:
        """The candidates whose answers it delivers."""
        return tuple(each.model for each in self.tiers or ()) or tuple(s.model for s in self.shares or () if s.rows)
