"""The conversation with a procedure: it asks for rows of the population, is sent marks, and returns a verdict.

Model indices: 0 is the reference, 1 … m are the candidates in the order the user gave them.
Positions: 0 … N−1, the place of a row in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.stats.grown import Part, parted
from smart_llm.types.calls import Json
from smart_llm.types.rules import Gate, Rule, Tier
from smart_llm.types.share import allowed, complement
from smart_llm.types.values import Value

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Marks: TypeAlias = NDArray[np.int8]
NOT_ASKED = -1
"""Mark: the model was not asked, or was asked alone (without the reference there is nothing to compare with)."""
AGREE = 0
"""Mark: the candidate's answer is equivalent to the reference's (always so for the reference itself)."""
BAD = 1
"""Mark: a rule that delivers this candidate here would deliver a miss (other answer, or the reference has none)."""
DEFER = 2
"""Mark: the candidate broke the output contract; its answer is never delivered, the row goes to the reference."""
ERROR = 3
"""Mark of the reference only: it finally failed or broke the contract; the row has no answer and is a miss."""


@dataclass(frozen=True, slots=True)
class SidePromise:
    """Also: for every label that the reference gives to at least `least` rows, at least `share` of those rows agree.

    labels: their answer keys (`scores.traits.answer_key`).
    """

    share: Fraction
    least: int
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grown:
    """An earlier run of the same command, on the first rows of the table. looks: rows, credit and rows looked at of the
    looks behind what those rows are delivered, the first one first; tiers, gate: by which rows added are delivered, as
    they were before the look. excess: where the first rows were left to a mix, pairs (count, chance): it hands over
    more bad rows than the count with that chance at most."""

    looks: tuple[tuple[int, int, int], ...]
    tiers: tuple[Tier, ...]
    gate: Gate | None = None
    excess: tuple[tuple[int, float], ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Of the rows there were, the first one first."""
        return parted(self.excess, self.looks)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a procedure knows before anything is asked.

    rows: the rows it may sample and deliver. agreement, confidence: exact decimals in (0, 1). rates: expected USD per
    call, reference first. reserve: rows of the allowance kept for rows that finally have no answer. set_aside: further
    rows of the table, piloted earlier, that the reference answers; lost: those of them it has no answer for. floor: a
    candidate is delivered only where it is likely to agree on more than this share of the rows it answers. bounds: USD
    a call can cost at most, reference first (∞ where that is not known; empty where nothing is known). packs: rows that
    share a call, reference first (empty: every row has its own). kin: the number of the model behind each, where some
    candidates are ways of one model (empty: none are). out: candidates that are not considered any more. learned: the
    candidate that is taught in the run by the reference's answers (0: there is none). requests: how many different
    requests the rows make, where some ask the same and share an answer (0: every row has its own). earlier: labels that
    it is taught with besides, known before the run. grown: the earlier run by which the rows set aside are delivered,
    where there is one.
    """

    rows: int
    agreement: Fraction
    confidence: Fraction
    reference: str
    candidates: tuple[str, ...]
    rates: tuple[float, ...]
    seed: int
    reserve: int = 0
    side: SidePromise | None = None
    set_aside: int = 0
    lost: int = 0
    floor: Fraction = Fraction(1, 2)
    bounds: tuple[float, ...] = ()
    packs: tuple[float, ...] = ()
    kin: tuple[int, ...] = ()
    out: frozenset[int] = frozenset()
    learned: int = 0
    requests: int = 0
    earlier: int = 0
    grown: Grown | None = None

    @property
    def alone(self) -> int:
        """Calls of the reference that the rows cost without candidates."""
        return self.requests or self.rows

    @property
    def repeats(self) -> float:
        """Rows that share a request, on average; 1 where every row has its own."""
        return self.rows / self.alone

    def rows_for(self, calls: float) -> float:
        """How many rows, drawn at random, make about so many different requests: the more of them have been made, the
        fewer rows make a new one."""
        if self.repeats <= 1:
            return calls
        return self.rows * float(-np.expm1(np.log1p(-min(calls / self.alone, 1.0 - 1e-12)) / self.repeats))

    def bought(self, candidate: int, rows: float) -> float:
        """About how many rows' answers are paid for where a candidate is asked about so many, drawn at random: those
        that share their calls included."""
        pack = self.packs[candidate] if self.packs else 1
        return rows if pack <= 1 else self.rows * float(-np.expm1(pack * np.log1p(-min(rows / self.rows, 1 - 1e-12))))

    @property
    def promised(self) -> int:
        """B = N − ⌈agreement · N⌉: how many delivered rows of the whole table may be misses."""
        return allowed(self.rows + self.set_aside, self.agreement)

    @property
    def allowance(self) -> int:
        """What is left of B for misses among `rows`, without what is kept for rows that finally have no answer.
        Negative where the rows set aside have used up more than that: then nothing can be granted."""
        return self.promised - self.lost - self.reserve

    @property
    def by_price(self) -> list[int]:
        """The candidates, cheapest first."""
        return sorted(set(range(1, len(self.rates))) - self.out, key=lambda j: self.rates[j])

    @property
    def alpha(self) -> float:
        """1 − confidence, rounded down."""
        return complement(self.confidence)


class Standing(Value, frozen=True):
    """How one candidate stands: for showing progress, never for deciding anything."""

    model: str
    profiled: int
    agreeing: int
    lower: float
    upper: float
    in_play: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a procedure expects while it is still asking. Costs are shares of reference-only cost."""

    standings: tuple[Standing, ...]
    expected_cost_ratio: float


CHOSEN = "chosen"
"""Stage of an ask about rows that were chosen by what was learned, not by the order. They are never evidence, and the
order of the rows that are left is that of the run without them."""
LESSON = "learned again"
"""Stage of an ask by which the candidate that is taught in the run is taught with its rows, and with no others. What it
answers to them is said, of each, by a model that had not seen the row; what it is asked later, by the model of the last
lesson."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask these models about these rows. positions: shape (n,), no repeats; models: indices, 0 = reference.

    fixed: where these rows are evidence, everything that was decided before they are seen (JSON). The driver records it
    before it asks, so that a verifier can tell a design that came first from one that was fitted to its evidence.
    least: of a lesson, how many rows that were not asked about yet it should name, those the candidate is least sure
    of.
    """

    positions: Ints
    models: tuple[int, ...]
    stage: str
    outlook: Outlook | None = None
    fixed: Mapping[str, Json] | None = None
    least: int = 0


WORDS = 128
"""Buckets that the words of a row are hashed into."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of rows and answers besides marks; scores are made of it, promises never depend on it.

    key: shape (n, 1 + m), a number standing for the canonical answer (equal answers, equal numbers; 0 = none, or not
    asked). length: shape (n, 1 + m), characters of the answer. text: shape (n,), characters of the row's input (NaN
    where it is not known). words: shape (n, WORDS), its hashed words and pairs of words (`scores.traits.words_of`; None
    where they are not looked at).
    """

    key: Ints
    length: Floats
    text: Floats
    words: Floats | None = None

    def rows(self, at: Ints) -> Traits:
        """Those of some rows."""
        return Traits(self.key[at], self.length[at], self.text[at], None if self.words is None else self.words[at])

    @classmethod
    def joined(cls, one: Traits, other: Traits) -> Traits:
        """Those of two, one after the other; no words where they are not looked at in both."""
        words = None if one.words is None or other.words is None else np.concatenate([one.words, other.words])
        key, length = np.concatenate([one.key, other.key]), np.concatenate([one.length, other.length])
        return cls(key, length, np.concatenate([one.text, other.text]), words)


@dataclass(frozen=True, slots=True)
class Least:
    """Rows that the candidate taught in the run is least sure of, of those not asked about, the least sure first.
    positions, odds: shape (k,). share: of all rows, those among which they were looked for."""

    positions: Ints
    odds: Floats
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What an `Ask` brought, all arrays of shape (n, 1 + m), column = model index.

    marks: the codes above. cost: USD of each call (0 where not asked). score: the answer's own confidence, higher is
    surer (NaN where there is none). traits: what else a score may look at (None where nothing is known). least: what a
    lesson was asked to name. like: of a lesson, rows known before the run that are like those of the table which were
    not asked about yet; no rows of the table's own.
    """

    marks: Marks
    cost: Floats
    score: Floats
    traits: Traits | None = None
    least: Least | None = None
    like: Answers | None = None

    @classmethod
    def blank(cls, shape: tuple[int, int], *, traits: bool = True, words: bool = False) -> Answers:
        """Of that shape, with nothing in them yet."""
        grams = np.full((shape[0], WORDS), np.nan) if words else None
        key, text = np.zeros(shape, np.int64), np.full(shape[0], np.nan)
        known = Traits(key, np.full(shape, np.nan), text, grams) if traits else None
        return cls(np.full(shape, NOT_ASKED, np.int8), np.zeros(shape), np.full(shape, np.nan), known)

    @classmethod
    def joined(cls, one: Answers, other: Answers) -> Answers:
        """The rows of two, one after the other."""
        marks, cost = np.concatenate([one.marks, other.marks]), np.concatenate([one.cost, other.cost])
        known = None if one.traits is None or other.traits is None else Traits.joined(one.traits, other.traits)
        return cls(marks, cost, np.concatenate([one.score, other.score]), known)

    def rows(self, at: Ints) -> Answers:
        """Those of some rows."""
        known = None if self.traits is None else self.traits.rows(at)
        return Answers(self.marks[at], self.cost[at], self.score[at], known)

    def fill(self, lines: Ints, models: Sequence[int], other: Answers) -> None:
        """Write another batch's answers of these models into these lines."""
        columns = np.array(models)
        at = np.ix_(lines, columns)
        self.marks[at], self.cost[at] = other.marks[:, columns], other.cost[:, columns]
        self.score[at] = other.score[:, columns]
        if self.traits is not None and other.traits is not None:
            self.traits.key[at], self.traits.length[at] = other.traits.key[:, columns], other.traits.length[:, columns]
            self.traits.text[lines] = other.traits.text
            if self.traits.words is not None and other.traits.words is not None:
                self.traits.words[lines] = other.traits.words


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a procedure returns. `granted` = a rule that uses a candidate was certified; else everything goes to the
    reference. `profiled`: all positions whose reference answer was asked for. `evidence` (JSON) is enough to recompute
    the verdict."""

    granted: bool
    rule: Rule
    profiled: Ints
    procedure: str
    evidence: Mapping[str, Json]
    outlook: Outlook | None = None
    notes: tuple[str, ...] = ()


Conversation: TypeAlias = Generator[Ask, Answers, Verdict]
"""A running procedure: yields `Ask`, is sent `Answers`, returns a `Verdict`."""


Procedure: TypeAlias = Callable[[Problem], Conversation]
"""A procedure: pure and deterministic in its `Problem` and the answers it is sent."""
