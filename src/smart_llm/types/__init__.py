"""The vocabulary: every value that passes between layers, frozen.

Two conversations meet here. A *procedure* (pure) asks for rows of the population and is sent marks; a *provider*
(I/O) is sent one `Request` and returns one `Answer`. The engine translates between them.

Model indices: 0 is the reference, 1 … m are the candidates in the order the user gave them.
Positions: 0 … N−1, the place of a row in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Marks: TypeAlias = NDArray[np.int8]
Json: TypeAlias = Any  # a value msgspec can encode as JSON

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


# --------------------------------------------------------------------------- models and calls


@dataclass(frozen=True, slots=True)
class Rate:
    """What a model's calls cost. Unit: USD per million tokens; `cpu_hour` is USD per CPU-hour (local models).

    cached, written: tokens read from and written to the provider's prompt cache (None: like other input). batch_*: the
    same prices by batch (both directions None: no batch price). long_from, long_factor: a prompt of more tokens than
    this (0: never) costs up to so many times as much, in both directions.
    """

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    cpu_hour: float = 0.0
    source: str = "given"
    written: float | None = None
    batch_input: float | None = None
    batch_output: float | None = None
    batch_cached: float | None = None
    batch_written: float | None = None
    long_from: int = 0
    long_factor: float = 1.0

    def cost(self, usage: Usage) -> float:
        """USD for one call's usage, never less than 0."""
        cached = usage.cached_tokens if self.cached is not None else 0
        written = usage.written_tokens if self.written is not None else 0
        fresh = max(0, usage.input_tokens - cached - written)
        tokens = fresh * self.input + usage.output_tokens * self.output
        tokens += cached * (self.cached or 0.0) + written * (self.written or 0.0)
        return self._long(usage.input_tokens) * tokens / 1e6 + usage.cpu_seconds * self.cpu_hour / 3600

    def bound(self, input_tokens: int, output_tokens: int) -> float:
        """USD for so many tokens at most, however many of them are read from a cache or written to one."""
        dearest = max(self.input, self.cached or 0.0, self.written or 0.0)
        return self._long(input_tokens) * (input_tokens * dearest + output_tokens * self.output) / 1e6

    def saved(self, usage: Usage) -> float:
        """USD the provider's cache saved on this call; negative where writing to it cost more than reading saved."""
        return replace(self, cached=None, written=None).cost(usage) - self.cost(usage)

    def by_batch(self) -> Rate | None:
        """The rate of the provider's batch API, or None where none is known."""
        if self.batch_input is None or self.batch_output is None:
            return None
        return Rate(
            self.batch_input,
            self.batch_output,
            self.batch_cached,
            source=f"{self.source}, by batch",
            written=self.batch_written,
            long_from=self.long_from,
            long_factor=self.long_factor,
        )

    def _long(self, input_tokens: int) -> float:
        return self.long_factor if 0 < self.long_from < input_tokens else 1.0


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the user named it, resolved. `name` (unique in a run, no prices in it) is what `answered_by` says.

    effort: how much it is told to think (None: the provider's own default); part of the name, since it decides answers.
    thinking: tokens it may think before it answers, on top of a request's `max_tokens`; part of the name where the user
    gave it. also: further addresses that serve the very same model; no part of its name, so that they may come and go.
    draws: further answers drawn to every row, to see how often it repeats itself (a candidate's score; part of the
    name, since it is another price). at: the address, where it is known from the environment alone. enforce: how its
    server is made to keep to the labels, "choice" or "schema" (empty: it is not; else part of the name).
    """

    name: str
    provider: str
    model: str
    rate: Rate
    url: str | None = None
    key_env: str | None = None
    effort: str | None = None
    thinking: int = 0
    also: tuple[str, ...] = ()
    draws: int = 0
    at: str | None = None
    enforce: str = ""

    @property
    def settings(self) -> dict[str, Json]:
        """What decides its answers besides its name; left out where it says nothing."""
        return {name: value for name in ("thinking", "at") if (value := getattr(self, name))}


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that decides an answer; its canonical JSON is the ledger's key.

    `draw` is 0 for the answer that counts; further draws (self-check, self-consistency) are neither evidence nor
    delivered. `thinking` and `at` are the model's (`Model.settings`): providers know them, keys need them.
    """

    model: str
    prompt: str
    max_tokens: int
    system: str | None = None
    labels: tuple[str, ...] | None = None
    schema: str | None = None
    temperature: float = 0.0
    logprobs: bool = False
    draw: int = 0
    thinking: int = 0
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call used. Tokens as billed.

    Of `input_tokens`, `cached_tokens` were read from the provider's cache and `written_tokens` written to it; of
    `output_tokens`, `reasoning_tokens` were thought, not said.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cpu_seconds: float = 0.0
    written_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's reply to one request. `error` (then `text` is None) is final: retries are over.

    `logprobs` holds (token, natural-log probability) of the answer's own tokens, empty where not given; `listed`, for
    each of the first of them, the other tokens that were most probable in its place (requests with labels only).
    `cost` is USD, filled in by the client from the model's rate.
    """

    text: str | None
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    logprobs: tuple[tuple[str, float], ...] = ()
    finish: str = "stop"
    snapshot: str = ""
    error: str | None = None
    listed: tuple[tuple[tuple[str, float], ...], ...] = ()


# --------------------------------------------------------------------------- procedures


@dataclass(frozen=True, slots=True)
class SidePromise:
    """Also: for every label that the reference gives to at least `least` rows, at least `share` of those rows agree.

    labels: their answer keys (`tasks.scores.answer_key`).
    """

    share: Fraction
    least: int
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What a procedure knows before anything is asked.

    rows: the rows it may sample and deliver. agreement, confidence: exact decimals in (0, 1). rates: expected USD per
    call, reference first. reserve: rows of the allowance kept for rows that finally have no answer. set_aside: further
    rows of the table, piloted earlier, that the reference answers; lost: those of them it has no answer for. floor: a
    candidate is delivered only where it is likely to agree on more than this share of the rows it answers. bounds: USD
    a call can cost at most, reference first (∞ where that is not known; empty where nothing is known).
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

    @property
    def promised(self) -> int:
        """B = N − ⌈agreement · N⌉: how many delivered rows of the whole table may be misses."""
        whole = self.rows + self.set_aside
        return int(whole - -((-self.agreement * whole) // 1))

    @property
    def allowance(self) -> int:
        """What is left of B for misses among `rows`, without what is kept for rows that finally have no answer.
        Negative where the rows set aside have used up more than that: then nothing can be granted."""
        return self.promised - self.lost - self.reserve

    @property
    def by_price(self) -> list[int]:
        """The candidates, cheapest first."""
        return sorted(range(1, len(self.rates)), key=lambda j: self.rates[j])

    @property
    def alpha(self) -> float:
        """1 − confidence, rounded down."""
        exact = 1 - self.confidence
        value = float(exact)
        return value if Fraction(value) <= exact else float(np.nextafter(value, 0.0))


@dataclass(frozen=True, slots=True)
class Standing:
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


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask these models about these rows. positions: shape (n,), no repeats; models: indices, 0 = reference.

    fixed: where these rows are evidence, everything that was decided before they are seen (JSON). The driver records it
    before it asks, so that a verifier can tell a design that came first from one that was fitted to its evidence.
    """

    positions: Ints
    models: tuple[int, ...]
    stage: str
    outlook: Outlook | None = None
    fixed: Mapping[str, Json] | None = None


WORDS = 128
"""Buckets that the words of a row are hashed into."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of rows and answers besides marks; scores are made of it, promises never depend on it.

    key: shape (n, 1 + m), a number standing for the canonical answer (equal answers, equal numbers; 0 = none, or not
    asked). length: shape (n, 1 + m), characters of the answer. text: shape (n,), characters of the row's input (NaN
    where it is not known). words: shape (n, WORDS), its hashed words and pairs of words (`tasks.scores.words_of`; None
    where they are not looked at).
    """

    key: Ints
    length: Floats
    text: Floats
    words: Floats | None = None

    def rows(self, at: Ints) -> Traits:
        """Those of some rows."""
        return Traits(self.key[at], self.length[at], self.text[at], None if self.words is None else self.words[at])


@dataclass(frozen=True, slots=True)
class Answers:
    """What an `Ask` brought, all arrays of shape (n, 1 + m), column = model index.

    marks: the codes above. cost: USD of each call (0 where not asked). score: the answer's own confidence, higher is
    surer (NaN where there is none). traits: what else a score may look at (None where nothing is known).
    """

    marks: Marks
    cost: Floats
    score: Floats
    traits: Traits | None = None

    @classmethod
    def blank(cls, shape: tuple[int, int], *, traits: bool = True, words: bool = False) -> Answers:
        """Of that shape, with nothing in them yet."""
        grams = np.full((shape[0], WORDS), np.nan) if words else None
        key, text = np.zeros(shape, np.int64), np.full(shape[0], np.nan)
        known = Traits(key, np.full(shape, np.nan), text, grams) if traits else None
        return cls(np.full(shape, NOT_ASKED, np.int8), np.zeros(shape), np.full(shape, np.nan), known)

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
class Mix:
    """Rule: of the rows not profiled, the next `count` in `order` go to each candidate in turn, the rest to the
    reference.

    shares: (candidate index, count). order: "hashed" (the blank score u_i of the seed) or "file" (the paper's).
    """

    shares: tuple[tuple[int, int], ...] = ()
    order: str = "hashed"


@dataclass(frozen=True, slots=True)
class Score:
    """How sure an answer is: Σ weight × trait, higher is surer; the traits' names are explained in `tasks.scores`."""

    terms: tuple[tuple[str, float], ...] = (("own", 1.0),)


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a cascade: `candidate` is asked, and its answer accepted when its (score, u) stands before `stop`.

    stop: (score, u) of the first row not accepted; rows with a higher score stand before it, and of those with the same
    score the ones with a smaller u, the blank score of the run's seed (`uniforms(seed, "shares", rows)`). None: every
    row with a score is accepted. peers: candidates asked along with it, because the score compares their answers.
    """

    candidate: int
    score: Score
    stop: tuple[float, int] | None
    peers: tuple[int, ...] = ()

    @property
    def models(self) -> tuple[int, ...]:
        """Who is asked about a row that reaches this tier."""
        return (self.candidate, *self.peers)


@dataclass(frozen=True, slots=True)
class Gate:
    """Rows whose `score` is below `floor`, or is not known, go straight to the reference: no candidate is called. The
    score is made of what is known before any call, the text."""

    score: Score
    floor: float


@dataclass(frozen=True, slots=True)
class Cascade:
    """Rule: a row not profiled goes from tier to tier until one accepts it, else to the reference; straight there where
    the gate, if there is one, says so. Absolute: each row is routed by itself, as it comes."""

    tiers: tuple[Tier, ...]
    gate: Gate | None = None


Rule: TypeAlias = Mix | Cascade


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
