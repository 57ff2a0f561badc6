"""The client: what stands between the engine and the models. An onion, each layer one concern:

    ask ── the ledger has it? an identical request in flight? else buy it
      buy ── try, and try again while that may help; then the answer is durable in the ledger, or the row has an error
        attempt ── a turn (pace), money set aside (budget), a time limit, the provider; whatever may have been paid is
                   recorded before anything else happens (`calls`)

A rate limit never uses up the tries; it holds back its own row, and is bounded in time. Nor does a model that answers
nobody (`health`): it is waited for. An error of one row is an `Answer` with `error`, whose cost is what its calls may
have cost; an error of the provider as a whole is raised and stops the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

from smart_llm.client.books import Books
from smart_llm.client.budget import Budget
from smart_llm.client.calls import Calls
from smart_llm.client.health import Trials
from smart_llm.client.journal import Journal
from smart_llm.client.lane import Lane, Speed, ceiling
from smart_llm.client.pace import Gate, Pace, held_back
from smart_llm.client.resting import resting
from smart_llm.defaults import CONCURRENCY, PATIENCE, TIMEOUT
from smart_llm.errors import Refused, Retryable
from smart_llm.ledger import request_key
from smart_llm.providers.base import Provider, Telling, capped
from smart_llm.types import Answer, Model, Request

FIRST_DELAY, LONGEST_DELAY, LATER_DELAY = 0.2, 20.0, 5.0
"""Seconds between tries: doubles from the first to the longest, half of it at random; the same from the ninth on."""
TURNED_DOWN = "turned down"
"""How the answer of a request has finished that is an error because the model refused what it was asked: it does answer
others."""
OUTSIZED_SHARE = 0.1
"""The share of the patience that a rate-limited request gets which is far larger than all that were answered."""


class Client:
    """Asks models, once per request, within the budget, at the pace they bear."""

    def __init__(
        self,
        ledger: Journal,
        models: Sequence[Model],
        providers: Mapping[str, Provider],
        *,
        concurrency: int = CONCURRENCY,
        tries: int = 8,
        budget: float | None = None,
        timeout: float = TIMEOUT,
        patience: float = PATIENCE,
        run: str = "",
        seed: int = 0,
        check: Callable[[], None] = lambda: None,
        gate: Callable[[Model], Gate] | None = None,
        purse: Budget | None = None,
    ) -> None:
        """concurrency: calls in flight per model, at most (of a local model: the cores). timeout: seconds per
        attempt. patience: seconds that a model which answers nobody is waited for, or a row that is rate-limited.
        budget: USD for `run` as a whole, earlier sessions included. check: called before a call leaves; raises what
        should keep it from leaving. gate, purse: who else lets calls through (by model), and whose money it is, where
        this client is one of many.
        """
        random = Random(seed)
        self._ledger = ledger
        gate = gate or (lambda model: Pace(ceiling(model, concurrency), random))
        self._lanes = {m.name: Lane(m, providers[m.name], gate(m), patience=patience) for m in models}
        self._tries, self._timeout, self._patience = tries, timeout, patience
        self._budget = purse or Budget(budget, ledger.spent(run) if budget is not None else 0.0)
        self._books, self._run = Books(ledger, run, self._budget), run
        self._calls = Calls(self._books, self._budget, timeout=timeout, check=check)
        for provider in providers.values():
            if isinstance(provider, Telling):
                provider.told = self._calls.told
        self._random = random
        self._flights: dict[str, asyncio.Future[Answer | None]] = {}

    @property
    def cache_saved(self) -> float:
        """USD that providers' prompt caches took off the calls of this client."""
        return self._calls.cache_saved

    @property
    def budget(self) -> Budget:
        """The money of the run, for whoever else buys for it."""
        return self._budget

    async def ask(self, request: Request) -> Answer:
        """The answer that stands for a request: recorded, shared with an identical request in flight, or bought now.

        An answer with `error` is this row's final failure. Raises `Refused` for what stops the whole run,
        `BudgetExhausted` before a call that could exceed the budget, `LedgerError` when it cannot be recorded.
        """
        return await self.ask_by(request_key(request), request)

    async def ask_by(self, key: str, request: Request) -> Answer:
        """The same for whoever knows the request's key already."""
        answer = self._ledger.get(key)
        while answer is None:
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key, request)
            answer = await asyncio.shield(flight)  # None: whoever flew it failed; ask anew
        if answer.error is None:
            self.knows(request)
        return answer

    async def held(self, request: Request) -> int | None:
        """The number of the recorded answer in the ledger's order, if there is one; nothing is bought."""
        return self._ledger.number(request_key(request))

    def knows(self, request: Request) -> None:
        """This request was answered before: whether its model answers at all can be tried with it."""
        health = self._lanes[request.model].health
        health.good = health.good or request

    @property
    def known(self) -> dict[str, Request]:
        """A request that was answered, by model."""
        return {name: lane.health.good for name, lane in self._lanes.items() if lane.health.good is not None}

    def alive(self, model: str) -> bool:
        """Whether this model has reacted to anything yet."""
        return self._lanes[model].health.alive

    def bound(self, request: Request) -> float:
        """USD that one call for this request can cost at most."""
        return self._lanes[request.model].bound(request, self._timeout)

    def renew(self, model: str) -> None:
        """A model that was given up may be back: nothing is held against it any longer."""
        old = self._lanes[model]
        self._lanes[model] = lane = Lane(old.model, old.provider, old.pace, patience=self._patience)
        lane.announced = old.announced

    def expect(self, snapshots: Mapping[str, frozenset[str]]) -> None:
        """From now on only these snapshots may answer, by model: another one stops the run."""
        for name, lane in self._lanes.items():
            lane.expected = snapshots.get(name)

    async def settle(self) -> None:
        """Nothing is in flight any more: what was announced is taken back."""
        await self._books.settle(self._lanes.values())

    def speeds(self) -> dict[str, Speed]:
        """How fast every model that answered anything was."""
        return {name: Speed.of(lane) for name, lane in self._lanes.items() if lane.answered}

    def silence(self, seconds: float) -> list[str]:
        """What to say of models that have answered nothing for so long although there is something to answer. To be
        asked now and then: a model that had nothing to do when it was last asked counts from then on."""
        said = [lane.silence(_now(), seconds, self._timeout) for lane in self._lanes.values()]
        return [each for each in said if each is not None]

    def latest(self) -> dict[str, float]:
        """When each model has last brought an answer; 0 for one that never has."""
        return {name: lane.last_success for name, lane in self._lanes.items()}

    def dismiss(self, reason: Exception) -> None:
        """Raise `reason` for every request that waits for its turn; calls that are out go on."""
        for lane in self._lanes.values():
            lane.dismiss(reason)

    async def close(self) -> None:
        """Close the providers. The ledger is the caller's."""
        for provider in {id(lane.provider): lane.provider for lane in self._lanes.values()}.values():
            await provider.close()

    async def _fly(self, key: str, request: Request) -> Answer:
        """Buy, while identical requests wait for the same call."""
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        lane, answer = self._lanes[request.model], None
        lane.asked()
        try:
            answer = await self._buy(lane, key, request)
            return answer
        finally:
            lane.asking -= 1
            del self._flights[key]
            if not flight.done():
                flight.set_result(answer)

    async def _buy(self, lane: Lane, key: str, request: Request) -> Answer:
        """Attempts until one brings an answer, or until trying again will not help."""
        trials, throttled_since = Trials(), 0.0
        while True:
            try:
                return await self._attempt(lane, key, request, trials)
            except Retryable as error:
                if error.throttled:
                    throttled_since = throttled_since or _now()
                    patience = self._patience * (OUTSIZED_SHARE if lane.outsized(request) else 1.0)
                    if _now() - throttled_since > patience and await self._tired(lane, request, throttled_since, error):
                        return await self._failed(lane, key, f"rate-limited for {patience:g} s: {error}", trials)
                    trials.throttled, lane.named = trials.throttled + 1, error.retry_after
                    left = max(0.0, throttled_since + patience - _now())
                    delay = min(left, held_back(error.retry_after, trials.throttled, self._random))
                    if not lane.pace.waiting:  # there is room for another row
                        with resting():
                            await lane.health.rest(delay)
                        continue
                elif trials.own(lane.health, self._tries):
                    if lane.health.doubted:  # else others would wait for the next probe, and each of them twice as long
                        await self._find_out(lane, trials)
                    return await self._given_up(lane, key, error, trials)
                else:
                    await self._find_out(lane, trials)
                    delay = self._delay(trials.all, error.retry_after)
            except Refused as error:
                lane.trust.refused(error, others=lane.health.good is not None)  # raises what stops the run
                failed = await self._failed(lane, key, str(error), trials)
                return replace(failed, finish=TURNED_DOWN) if error.row_only or error.maybe_row else failed
            await lane.health.rest(delay)

    async def _attempt(self, lane: Lane, key: str, request: Request, trials: Trials) -> Answer:
        """One call in its turn and within the budget; the answer is durable when this returns."""
        bound = lane.bound(request, trials.time(self._timeout))
        async with lane.trust.led(self._budget.limit is not None):
            probe, turn = await self._calls.turn_of(lane, request, bound)
            try:
                answer, number = await self._calls.called(lane, key, request, turn, bound, trials)
            finally:
                lane.health.leave(probe)
        if answer.error is not None:
            self._books.record(key, request.model, "error", answer.cost, number)
            return answer
        lane.health.reacted(turn.at, request)
        if lane.unexpected(answer):
            self._books.record(key, request.model, "another snapshot", answer.cost, number)
            raise Refused(lane.changed(answer))
        stands = await self._ledger.put(key, request, answer, run=self._run, attempt=number)
        lane.trust.check()
        return stands

    # ------------------------------------------------------------------ rows that fail

    async def _find_out(self, lane: Lane, trials: Trials) -> None:
        """Where a row failed alone, or the model seems down: does it answer others? If not, patience may be over."""
        health = lane.health
        if not (trials.alone >= self._tries or health.doubted or health.late):
            return
        async with lane.witness:
            if health.over:
                return
            if trials.alone >= self._tries and health.proof > (trials.since or 0.0):
                trials.judged(vouched=True)  # somebody was answered meanwhile
            elif health.good is not None and (trials.alone >= self._tries or health.doubted or health.late):
                health.doubted = False
                answered = await self._calls.answers(lane, health.good)
                if trials.alone >= self._tries:
                    trials.judged(vouched=answered)
            if health.late:
                health.dismiss(health.gone())

    def _delay(self, failures: int, retry_after: float | None) -> float:
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (failures - 1)) if failures <= 8 else LATER_DELAY
        return min(self._patience, max(capped(retry_after) or 0.0, longest * (0.5 + 0.5 * self._random.random())))

    async def _tired(self, lane: Lane, request: Request, since: float, error: Retryable) -> bool:
        """Rate-limited for too long: whether it is this row alone. Raises what stops the run where nobody is
        answered."""
        if lane.last_success >= since:
            return True
        if (
            lane.outsized(request)
            and lane.health.good is not None
            and await self._calls.answers(lane, lane.health.good)
        ):
            return True
        if _now() - since > self._patience:
            raise lane.limited_for(self._patience, error)
        return False

    async def _given_up(self, lane: Lane, key: str, error: Retryable, trials: Trials) -> Answer:
        lane.gave_up(error)  # raises what stops the run
        return await self._failed(lane, key, f"{error} ({trials.all} tries)", trials)

    async def _failed(self, lane: Lane, key: str, message: str, trials: Trials) -> Answer:
        """The row's error, once everything its attempts may have cost is durable."""
        await self._books.gave_up(key, lane.model.name)
        return Answer(None, cost=trials.cost, error=message)


def _now() -> float:
    return asyncio.get_running_loop().time()
