"""Models and calls: what one costs, what is asked of it, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = Any  # a value msgspec can encode as JSON


class LongPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every token of a call costs whose prompt has more than `start` tokens; the rest as in `Rate`."""

    start: int
    input: float
    output: float
    cached: float | None = None
    written: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What a model's calls cost. Unit: USD per million tokens; `cpu_hour` is USD per CPU-hour (local models).

    cached, written: tokens read from and written to the provider's prompt cache (None: like other input). batch_*: the
    same prices by batch (both directions None: no batch price). long, batch_long: the prices of long prompts, shortest
    first; those of the longest that a prompt exceeds hold for the whole call. call: USD of every call, besides.
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
    long: tuple[LongPrices, ...] = ()
    batch_long: tuple[LongPrices, ...] = ()
    call: float | None = None

    def cost(self, usage: Usage) -> float:
        """USD for one call's usage, never less than 0."""
        prices = self._for(usage.input_tokens)
        cached = usage.cached_tokens if prices.cached is not None else 0
        written = usage.written_tokens if prices.written is not None else 0
        fresh = max(0, usage.input_tokens - cached - written)
        tokens = fresh * prices.input + usage.output_tokens * prices.output
        tokens += cached * (prices.cached or 0.0) + written * (prices.written or 0.0)
        return tokens / 1e6 + usage.cpu_seconds * self.cpu_hour / 3600 + (self.call or 0.0)

    def bound(self, input_tokens: int, output_tokens: int) -> float:
        """The most that this many tokens, or fewer, can cost, USD, whatever share of them a cache reads or writes."""
        most = _most(self, input_tokens, output_tokens)
        for each in self.long:
            if input_tokens > each.start:
                most = max(most, _most(each, input_tokens, output_tokens))
        return most + (self.call or 0.0)

    def saved(self, usage: Usage) -> float:
        """USD the provider's cache saved on this call; negative where writing to it cost more than reading saved."""
        if not (usage.cached_tokens or usage.written_tokens):
            return 0.0
        prices = self._for(usage.input_tokens)
        plain = Rate(prices.input, prices.output, cpu_hour=self.cpu_hour)
        return plain.cost(usage) - self.cost(usage)

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
            long=self.batch_long,
        )

    def _for(self, input_tokens: int) -> Rate | LongPrices:
        """The prices that hold for a prompt of so many tokens."""
        prices: Rate | LongPrices = self
        for each in self.long:
            if input_tokens > each.start:
                prices = each
        return prices


def _most(prices: Rate | LongPrices, input_tokens: int, output_tokens: int) -> float:
    """All input at the highest price that any of it can have."""
    highest = max(prices.input, prices.cached or 0.0, prices.written or 0.0)
    return (input_tokens * highest + output_tokens * prices.output) / 1e6


@dataclass(frozen=True, slots=True)
class Way:
    """How a candidate is asked, where that is not as the task says. What decides an answer besides this (what counts as
    one, how it is read, when two are the same) stays the task's.

    prompt, system: in place of the task's own. max_tokens: the longest answer. pack: rows in one call, at most; frame:
    the text around them (None: ours). head, tail: characters shown of the beginning and the end of a column's text
    (None: all of it).
    """

    prompt: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    pack: int = 1
    frame: str | None = None
    head: int | None = None
    tail: int | None = None

    def to_json(self) -> dict[str, Json]:
        """What is not as the task says."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in told.items() if value is not None and (name, value) != ("pack", 1)}

    @property
    def plain(self) -> bool:
        """Whether it is the task's own way."""
        return not self.to_json()


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the user named it, resolved. `name` (unique in a run, no prices in it) is what `answered_by` says.

    effort: how much it is told to think (None: the provider's own default); part of the name, since it decides answers.
    thinking: tokens it may think before it answers, on top of a request's `max_tokens`; part of the name where the user
    gave it. also: further addresses that serve the very same model; no part of its name, so that they may come and go.
    draws: further answers drawn to every row, to see how often it repeats itself (a candidate's score; part of the
    name, since it is another price). at: the address, where it is known from the environment alone. enforce: how its
    server is made to keep to the labels, "choice" or "schema"; "none": it is told neither labels nor schema; "auto": to
    be learned before the plan is frozen; empty: it is told a schema, and no labels. way: how
    it is asked (part of the name). function: what answers where that is a function of the user's own, of a row (column
    → text); what it is stands in `at`. embed: of the candidate that is taught in the run, what embeds texts for it.
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
    way: Way = Way()
    function: Callable[[Mapping[str, str]], Any] | None = field(default=None, compare=False, repr=False)
    embed: Model | None = field(default=None, compare=False, repr=False)

    @property
    def settings(self) -> dict[str, Json]:
        """What decides its answers besides its name; left out where it says nothing."""
        found = {name: value for name in ("thinking", "at", "enforce") if (value := getattr(self, name))}
        if f"enforce={self.enforce}" in self.name.partition("?")[2].split("&"):
            del found["enforce"]
        return found


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that decides an answer; its canonical JSON is the ledger's key.

    `draw` is 0 for the answer that counts; further draws (self-check, self-consistency) are neither evidence nor
    delivered. `thinking`, `at` and `enforce` are the model's (`Model.settings`): providers know them, keys need them.
    `before`: (role, text) of what was said before the prompt, where it ends a conversation.
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
    enforce: str = ""
    before: tuple[tuple[str, str], ...] = ()

    @property
    def call(self) -> Request:
        """The request that is sent."""
        return self

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of everything that is said, the prompt last."""
        system = [("system", self.system)] if self.system is not None else []
        return [*system, *self.before, ("user", self.prompt)]


@dataclass(frozen=True, slots=True)
class Part(Request):
    """One row's part in a request that asks about several. Its fields are those of `whole`, the request that is sent;
    number: of its item there, from 1; count: how many there are. half: its part in the request for one half of them,
    which is sent where nothing can be read in the reply to the whole."""

    whole: Request | None = None
    number: int = 1
    count: int = 1
    half: Part | None = None

    @classmethod
    def of(cls, whole: Request, number: int, count: int, half: Part | None = None) -> Part:
        """The part of a request that is sent."""
        told = {name: getattr(whole, name) for name in Request.__slots__}
        return cls(**told, whole=whole, number=number, count=count, half=half)

    @property
    def call(self) -> Request:
        """The request that is sent."""
        assert self.whole is not None
        return self.whole


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
