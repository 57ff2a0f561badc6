"""The client: what stands between the engine and the models. An onion, each layer one concern:

    ask ── the ledger has it? an identical request in flight? else buy it
      buy ── try, and try again while that may help; then the answer is durable in the ledger, or the row has an error
        attempt ── a turn (pace), money set aside (budget), a time limit, the provider; whatever may have been paid is
                   recorded before anything else happens

A rate limit never uses up the tries; it is bounded in time. An error of one row is an `Answer` with `error`; an error
of the provider as a whole is raised and stops the run.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from smart_llm.errors import Refused, Retryable
from smart_llm.ledger import request_key
from smart_llm.providers.base import Provider, Telling
from smart_llm.providers.budget import Budget
from smart_llm.providers.headers import Limits, limits_from
from smart_llm.providers.pace import Gate, Pace, Turn
from smart_llm.types import Answer, Model, Request, Usage

FIRST_DELAY, LONGEST_DELAY = 0.2, 20.0
"""Seconds between tries: doubles from the first to the longest, half of it at random."""

FRAME_TOKENS = 64
"""Tokens a provider may add around system and prompt (roles, separators): counted into the upper bound."""

HOPELESS = 10
"""Rows that finally fail before any call to a model ever succeeded, until the run is stopped."""

_turn: ContextVar[tuple[Lane, Turn]] = ContextVar("turn")
"""The lane and turn of the call that is being made: headers come while it is awaited, to whichever client the provider
was given last."""


class Journal(Protocol):
    """What a client needs of a ledger: `Ledger` itself, or a line to one that many share."""

    def get(self, key: str) -> Answer | None:
        """The answer recorded for a request, as far as is known here."""
        ...

    async def put(
        self, key: str, request: Request, answer: Answer, *, run: str = "", attempt: int | None = None
    ) -> Answer:
        """Record an answer; returns, once it is durable, the one that stands."""
        ...

    async def send(self, key: str, model: str, bound: float, *, run: str = "") -> int:
        """Announce a call; returns, once that is durable, the number to settle it by."""
        ...

    def attempt(
        self, key: str, model: str, outcome: str, cost: float, *, run: str = "", settles: int | None = None
    ) -> asyncio.Future[bool]:
        """Record a call that brought no answer, before any answer put later."""
        ...

    def spent(self, run_id: str) -> float:
        """USD this run has paid or may have paid."""
        ...


class Lane:
    """Everything the client knows about one model."""

    def __init__(self, model: Model, provider: Provider, pace: Gate) -> None:
        self.model = model
        self.provider = provider
        self.pace = pace
        self.last_success = 0.0
        self.idle_at = 0.0
        self.failed_rows = 0
        self.answered, self.seconds = 0, 0.0
        self.limits = Limits()

    def succeeded(self, turn: Turn) -> None:
        """A call brought an answer."""
        self.last_success = _now()
        self.answered, self.seconds = self.answered + 1, self.seconds + self.last_success - turn.at
        self.pace.succeeded(turn)

    def silent_for(self, now: float) -> float:
        """Seconds without an answer while there were calls to answer."""
        if not (self.pace.in_flight or self.pace.waiting):
            self.idle_at = now
        return now - max(self.last_success, self.idle_at)

    def bound(self, request: Request, timeout: float) -> float:
        """USD one attempt can cost at most: a token per byte sent, all output tokens, every core until the timeout."""
        rate = self.model.rate
        tokens = rate.bound(sent_bytes(request), request.max_tokens + self.model.thinking)
        seconds = timeout * (os.cpu_count() or 1) if rate.cpu_hour else 0.0
        return tokens + seconds * rate.cpu_hour / 3600

    def priced(self, request: Request, answer: Answer) -> Answer:
        """The answer with its cost. Where a server states no usage, a token per byte is assumed (never too little)."""
        usage = answer.usage
        if not (usage.input_tokens or usage.output_tokens or usage.cpu_seconds):
            usage = Usage(sent_bytes(request), len((answer.text or "").encode()) + 1)
        cost = self.model.rate.cost(usage)
        return replace(answer, usage=usage, cost=cost)


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one model's calls, as seen: seconds per call, and the requests and tokens a minute its replies say are allowed
    (0: they do not say)."""

    seconds: float
    requests: float = 0.0
    tokens: float = 0.0

    @classmethod
    def of(cls, lane: Lane) -> Speed:
        """What a lane saw."""
        told = (lane.limits.requests, lane.limits.tokens)
        return cls(lane.seconds / lane.answered, *(each.limit if each is not None else 0.0 for each in told))


def sent_bytes(request: Request) -> int:
    """Bytes of everything that is billed as input; no tokenizer makes more than a token of a byte."""
    return FRAME_TOKENS + sum(len(part.encode()) for part in (request.prompt, request.system, request.schema) if part)


def _guessed_tokens(request: Request) -> float:
    """What a provider may count against its limit of tokens; how far off that is, the pace learns."""
    return (len(request.prompt) + len(request.system or "")) / 4 + request.max_tokens


class Client:
    """Asks models, once per request, within the budget, at the pace they bear.

    Counters by model name: `calls` attempts made, `hits` answers that cost nothing now (ledger, or shared with an
    identical request), `spent` USD paid or possibly paid by this client, `recorded` USD that the hits once cost.
    """

    def __init__(
        self,
        ledger: Journal,
        models: Sequence[Model],
        providers: Mapping[str, Provider],
        *,
        concurrency: int = 64,
        tries: int = 8,
        budget: float | None = None,
        timeout: float = 120.0,
        patience: float = 600.0,
        run: str = "",
        seed: int = 0,
        check: Callable[[], None] = lambda: None,
        gate: Callable[[Model], Gate] | None = None,
        purse: Budget | None = None,
    ) -> None:
        """concurrency: calls in flight per model, at most (of a local model: the cores). timeout: seconds per
        attempt. patience: seconds a row, or a model, may be rate-limited without a success. budget: USD for `run` as
        a whole, earlier sessions included. check: called before a
        call leaves; raises what should keep it from leaving. gate, purse: who else lets calls through (by model), and
        whose money it is, where this client is one of many.
        """
        random = Random(seed)
        self._ledger = ledger
        gate = gate or (lambda model: Pace(ceiling(model, concurrency), random))
        self._lanes = {m.name: Lane(m, providers[m.name], gate(m)) for m in models}
        for provider in providers.values():
            if isinstance(provider, Telling):
                provider.told = self._told
        self._check = check
        self._tries, self._timeout, self._patience = tries, timeout, patience
        self._budget = purse or Budget(budget, ledger.spent(run) if budget is not None else 0.0)
        self._run = run
        self._random = random
        self._flights: dict[str, asyncio.Future[Answer | None]] = {}
        self.calls, self.hits = dict.fromkeys(self._lanes, 0), dict.fromkeys(self._lanes, 0)
        self.spent, self.recorded = dict.fromkeys(self._lanes, 0.0), dict.fromkeys(self._lanes, 0.0)
        self.cache_saved = 0.0  # USD that providers' prompt caches took off the calls of this client

    @property
    def new_cost(self) -> float:
        """USD this client has paid or may have paid."""
        return sum(self.spent.values())

    @property
    def budget(self) -> Budget:
        """The money of the run, for whoever else buys for it."""
        return self._budget

    async def ask(self, request: Request) -> Answer:
        """The answer that stands for a request: recorded, shared with an identical request in flight, or bought now.

        An answer with `error` is this row's final failure. Raises `Refused` for what stops the whole run,
        `BudgetExhausted` before a call that could exceed the budget, `LedgerError` when it cannot be recorded.
        """
        key = request_key(request)
        answer = self._ledger.get(key)
        while answer is None:
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key, request)
            answer = await asyncio.shield(flight)  # None: whoever flew it failed; ask anew
        self.hits[request.model] += 1
        self.recorded[request.model] += answer.cost
        return answer

    def trust(self) -> None:
        """These models have answered elsewhere: rows that fail do not stop the run because they come first."""
        for lane in self._lanes.values():
            lane.last_success = _now()

    def speeds(self) -> dict[str, Speed]:
        """How fast every model that answered anything was."""
        return {name: Speed.of(lane) for name, lane in self._lanes.items() if lane.answered}

    def silence(self, seconds: float) -> list[str]:
        """What to say of models that have answered nothing for so long although there is something to answer. To be
        asked now and then: a model that had nothing to do when it was last asked counts from then on."""
        now = _now()
        return [
            f"{lane.model.name} has answered nothing for {silent:.0f} s: {_held_up(lane.pace, now, self._timeout)}"
            for lane in self._lanes.values()
            if (silent := lane.silent_for(now)) >= seconds
        ]

    def dismiss(self, reason: Exception) -> None:
        """Raise `reason` for every request that waits for its turn; calls that are out go on."""
        for lane in self._lanes.values():
            lane.pace.dismiss(reason)

    async def close(self) -> None:
        """Close the providers. The ledger is the caller's."""
        for provider in {id(lane.provider): lane.provider for lane in self._lanes.values()}.values():
            await provider.close()

    def _told(self, model: str, headers: Mapping[str, str]) -> None:
        """A provider passes on the headers of a reply to the call that is awaited here."""
        limits = limits_from(headers, time.time())
        lane, turn = _turn.get((None, None))
        if limits is not None and lane is not None and turn is not None:
            lane.limits = limits
            lane.pace.told(turn, limits)

    async def _fly(self, key: str, request: Request) -> Answer:
        """Buy, while identical requests wait for the same call."""
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        answer = None
        try:
            answer = await self._buy(self._lanes[request.model], key, request)
            return answer
        finally:
            del self._flights[key]
            if not flight.done():
                flight.set_result(answer)

    async def _buy(self, lane: Lane, key: str, request: Request) -> Answer:
        """Attempts until one brings an answer, or until trying again will not help."""
        failures, throttled_since = 0, 0.0
        while True:
            try:
                return await self._attempt(lane, key, request)
            except Retryable as error:
                if error.throttled:
                    throttled_since = throttled_since or _now()
                    if _now() - throttled_since > self._patience:
                        return await self._tired(lane, key, throttled_since, error)
                    continue  # the pace makes it wait
                failures += 1
                if failures >= self._tries:
                    return await self._given_up(lane, key, error)
                delay = self._delay(failures, error.retry_after)
            except Refused as error:
                if not error.row_only:
                    raise
                return await self._failed(lane, key, str(error))
            await asyncio.sleep(delay)

    async def _attempt(self, lane: Lane, key: str, request: Request) -> Answer:
        """One call in its turn and within the budget; the answer is durable when this returns."""
        bound = lane.bound(request, self._timeout)
        turn = await lane.pace.enter(_guessed_tokens(request))
        _turn.set((lane, turn))
        try:
            self._check()  # a stop that came while this call waited for its turn
            await self._budget.reserve(bound)
            answer, number = await self._call(lane, key, request, bound)
        except Retryable as error:
            if error.throttled:
                lane.pace.throttled(turn, error.retry_after)
            raise
        finally:
            lane.pace.leave()
        lane.succeeded(turn)
        if answer.error is not None:
            self._record(key, request.model, "error", answer.cost, number)
            return answer
        return await self._ledger.put(key, request, answer, run=self._run, attempt=number)

    async def _call(self, lane: Lane, key: str, request: Request, bound: float) -> tuple[Answer, int | None]:
        """The provider, under a time limit; settles what was set aside at what the call cost or may have cost."""
        name, number, cost = request.model, None, 0.0
        try:
            if self._budget.limit is not None:
                number = await self._ledger.send(key, name, bound, run=self._run)
            cost = bound  # from here on it may be paid
            self.calls[name] += 1
            async with asyncio.timeout(self._timeout):
                answer = lane.priced(request, await lane.provider.complete(request))
            self.cache_saved += lane.model.rate.saved(answer.usage)
            cost = answer.cost
            return answer, number
        except (Retryable, Refused) as error:
            cost = bound if isinstance(error, Retryable) and error.paid else 0.0
            self._record(key, name, "refused" if isinstance(error, Refused) else "failed", cost, number)
            raise
        except TimeoutError:
            self._record(key, name, "timed out", cost, number)
            raise Retryable(f"{name} did not answer within {self._timeout:g} s.", paid=True) from None
        except BaseException:  # cancelled, or a fault of our own
            self._record(key, name, "unknown", cost, number)
            raise
        finally:
            self._budget.settle(bound, cost)
            self.spent[name] += cost

    def _record(self, key: str, model: str, outcome: str, cost: float, number: int | None) -> None:
        """Queue an attempt without an answer, if it cost money or was announced; durable before any later answer."""
        if cost or number is not None:
            self._ledger.attempt(key, model, outcome, cost, run=self._run, settles=number)

    def _delay(self, failures: int, retry_after: float | None) -> float:
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (failures - 1))
        return max(retry_after or 0.0, longest * (0.5 + 0.5 * self._random.random()))

    async def _tired(self, lane: Lane, key: str, since: float, error: Retryable) -> Answer:
        """Rate-limited for too long: this row alone, or all of them?"""
        if lane.last_success < since:
            raise Refused(
                f"{lane.model.name} has answered nothing but rate limits for {self._patience:g} s: {error} "
                "Everything bought is kept; run again later to go on."
            )
        return await self._failed(lane, key, f"rate-limited for {self._patience:g} s: {error}")

    async def _given_up(self, lane: Lane, key: str, error: Retryable) -> Answer:
        lane.failed_rows += 1
        if not lane.last_success and lane.failed_rows >= HOPELESS:
            raise Refused(f"{lane.model.name}: the first {lane.failed_rows} rows all failed. The last: {error}")
        return await self._failed(lane, key, f"{error} ({self._tries} tries)")

    async def _failed(self, lane: Lane, key: str, message: str) -> Answer:
        """The row's error, once everything its attempts may have cost is durable."""
        await self._ledger.attempt(key, lane.model.name, "gave up", 0.0, run=self._run)
        return Answer(None, error=message)


def ceiling(model: Model, concurrency: int) -> int:
    """Calls to a model that may be in flight: of one that runs on this machine, the cores."""
    return (os.cpu_count() or 1) if model.provider == "local" else concurrency


def _held_up(pace: Gate, now: float, timeout: float) -> str:
    """Why nothing comes, as far as is known here."""
    if not pace.in_flight:
        return f"it asked to wait, for another {max(0.0, pace.resume_at - now):.0f} s."
    return f"{pace.in_flight} calls are out, each is given up after {timeout:g} s and tried again."


def _now() -> float:
    return asyncio.get_running_loop().time()
