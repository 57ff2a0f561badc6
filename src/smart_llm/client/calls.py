"""One call of a model: in its turn (pace), with money set aside (budget), under a time limit.

Whatever may have been paid is recorded before anything else happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from smart_llm.client.books import Books
from smart_llm.client.budget import Budget
from smart_llm.client.health import Trials
from smart_llm.client.lane import Lane, guessed_tokens
from smart_llm.client.limits import limits_from
from smart_llm.client.pace import Turn
from smart_llm.errors import Refused, Retryable
from smart_llm.ledger import request_key
from smart_llm.providers.base import answered, within
from smart_llm.types import Answer, Request

_turn: ContextVar[tuple[Lane, Turn]] = ContextVar("turn")
"""The lane and turn of the call that is being made: headers come while it is awaited, to whichever client the provider
was given last."""


class Calls:
    """Makes the calls of a client. timeout: seconds per call. check: called before a call leaves; raises what should
    keep it from leaving. cache_saved: USD that providers' prompt caches took off these calls."""

    def __init__(self, books: Books, budget: Budget, *, timeout: float, check: Callable[[], None]) -> None:
        self._books, self._budget, self._timeout, self._check = books, budget, timeout, check
        self.cache_saved = 0.0

    async def turn_of(self, lane: Lane, request: Request, bound: float) -> tuple[bool, Turn]:
        """Wait until a call may leave; whether it leaves as a probe of a model that is down, and its turn."""
        while True:
            probe = lane.health.doubtful and await lane.health.enter()
            try:
                await self._books.make_room(lane, bound)
                turn = await lane.pace.enter(guessed_tokens(request))
            except BaseException:
                lane.health.leave(probe)
                raise
            if probe or not lane.health.down:
                return probe, turn
            lane.pace.leave()  # the model went down while this call waited for its turn

    async def called(
        self, lane: Lane, key: str, request: Request, turn: Turn, bound: float, trials: Trials
    ) -> tuple[Answer, int | None]:
        """One call whose turn has come; what becomes of it is told to its lane."""
        _turn.set((lane, turn))
        try:
            self._check()  # a stop that came while this call waited for its turn
            await self._budget.reserve(bound)
            answer, number = await self._call(lane, key, request, bound, trials)
        except Retryable as error:
            if error.throttled:
                lane.limited = str(error)
                lane.pace.throttled(turn, within(lane.patience, error.retry_after))
            elif error.late and trials.may_queue and lane.queues(turn, trials.time(self._timeout)):
                trials.queued += 1
                lane.pace.queued(turn)
            else:
                lane.health.failed(turn.at, str(error))
                trials.failed(turn.at, lane.health)
            raise
        except Refused as error:
            if error.row_only or ((error.maybe_row or error.doubtful) and lane.health.good is not None):
                lane.health.reacted(turn.at)
            if error.key:
                raise lane.locked_out(error) from None
            raise
        finally:
            lane.pace.leave()
        lane.succeeded(turn, self._timeout)
        if not trials.all:
            lane.health.began(answered=True)
        return answer, number

    async def answers(self, lane: Lane, request: Request) -> bool:
        """Whether the model answers this request, which it has answered before. Costs a call, and is no answer."""
        key, bound = request_key(request), lane.bound(request, self._timeout)
        turn = await lane.pace.enter(guessed_tokens(request))
        try:
            answer, number = await self.called(lane, key, request, turn, bound, Trials())
        except Retryable:
            return False
        except Refused as error:
            if error.row_only or error.maybe_row:  # so it did react
                return True
            raise
        self._books.record(key, request.model, "witness", answer.cost, number)
        lane.health.reacted(turn.at, request)
        return True

    def told(self, model: str, headers: Mapping[str, str]) -> None:
        """A provider passes on the headers of a reply to the call that is awaited here."""
        limits = limits_from(headers, time.time())
        lane, turn = _turn.get((None, None))
        if limits is not None and lane is not None and turn is not None:
            lane.limits = limits
            lane.pace.told(turn, limits)

    async def _call(
        self, lane: Lane, key: str, request: Request, bound: float, trials: Trials
    ) -> tuple[Answer, int | None]:
        """The provider, under a time limit; settles what was set aside at what the call cost or may have cost."""
        name, number, cost, lost = request.model, None, 0.0, True
        try:
            number = await self._books.announce(lane, key, bound)
            lane.trust.check()
            cost = bound  # from here on it may be paid
            with lane.trust.limited(patient := trials.time(self._timeout)):
                answer = lane.priced(request, await answered(lane.provider, request))
            self.cache_saved += lane.model.rate.saved(answer.usage)
            cost, lost = answer.cost, False
            if self._budget.limit is not None and (reason := lane.trust.broke(bound, answer)):
                self._budget.beyond = reason
                lane.dismiss(reason)
            return answer, number
        except (Retryable, Refused) as error:
            cost = bound if isinstance(error, Retryable) and error.paid else 0.0
            self._books.record(key, name, "refused" if isinstance(error, Refused) else "failed", cost, number)
            raise
        except TimeoutError:
            self._books.record(key, name, "timed out", cost, number)
            lane.trust.check()
            raise Retryable(f"{name} did not answer within {patient:g} s.", paid=True, late=True) from None
        except BaseException:  # cancelled, or a fault of our own
            self._books.record(key, name, "unknown", cost, number)
            raise
        finally:
            self._books.ended(lane, bound, cost)
            trials.cost += cost if lost else 0.0
