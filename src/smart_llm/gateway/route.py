"""A route at work: who answers a request, in an order that a killed process cannot turn into a broken promise.

    decide → written → coin → written → answer          an accepted answer; its audit behind it, or before it goes out
    decide → written → reference → settled → written → answer     a deferred one

What was bought is written before the decision made on it. A client that
goes away changes nothing. A request that is refused before it is decided was never in the stream.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from smart_llm.errors import LedgerError
from smart_llm.gateway.asker import Asker, Failed
from smart_llm.gateway.book import Book, series_of
from smart_llm.gateway.config import RouteConfig
from smart_llm.gateway.purse import Purse
from smart_llm.gateway.questions import Questions
from smart_llm.gateway.resuming import EVERY, Past, Summary
from smart_llm.gateway.spoken import Asked, Denied, Given
from smart_llm.gateway.tally import Tally
from smart_llm.gateway.warm import teach
from smart_llm.procedures.stream import Accepted, Another, Deferred, Replay, Stream, StreamPromise, Tried
from smart_llm.types import Answer, Request
from smart_llm.types.share import decimal

CANDIDATES = 1 / 4
"""Of the time there is for a request, what a candidate may take."""
AUDIT_PAUSES = (2.0, 15.0, 60.0)
"""Seconds until an audit whose reference fails is asked for again."""

NO_ANSWER = {
    "budget": (429, "rate_limit_error", "The budget of this day is used up; it begins anew at midnight UTC."),
    "limited": (429, "rate_limit_error", "The reference, {name}, is at its rate limit."),
    "late": (503, "api_error", "The reference, {name}, did not answer in time."),
    "refused": (400, "invalid_request_error", "The reference, {name}, turns this request down."),
    "resting": (503, "api_error", "The reference, {name}, has failed repeatedly and is tried again soon."),
    "failed": (502, "api_error", "The reference, {name}, gave no answer."),
}
"""What a client is told, by why there is no answer."""
EARLY = "smart/%s: windows %d and %d stopped early, or could hardly use the candidates; the reference answers."
"""What the log says of two windows in a row."""
UNREADABLE = "smart/%s: no answer that the task allows in %d of the reference's replies so far; each counts as a miss."
"""What it says of replies that a client may get all the same."""
_log = logging.getLogger("smart_llm.gateway")


@dataclass(slots=True)
class Turn:
    """A request on its way. key: of the reference's call. answers, values: by way tried, what it said and how that was
    read. end: when its time is over."""

    asked: Asked
    reference: Request
    key: str
    end: float
    draw: float
    tried: list[Tried] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    values: dict[int, Any] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def record(self, number: int) -> dict[str, Any]:
        """What is recorded of it besides the decision."""
        return {"request": number, "reference": self.key, "keys": self.keys}

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - asyncio.get_running_loop().time()


class Route:
    """One route. askers: of its models, the reference first. lost: accepted answers that may be missing in the ledger.
    seconds: within which a request is answered."""

    def __init__(
        self, config: RouteConfig, book: Book, askers: list[Asker], purse: Purse, *, lost: int, seconds: float
    ) -> None:
        self.config, self.purse, self.tally = config, purse, Tally()
        self.questions, self._task = Questions(config), config.task
        self._book, self._reference, self._candidates = book, askers[0], askers[1:]
        self.askers, self._seconds = askers, seconds
        self.series = series_of(config.described)
        agreement, confidence = decimal("agreement", config.agreement), decimal("confidence", config.confidence)
        promise = StreamPromise(agreement, confidence, config.window, config.audit)  # type: ignore[arg-type]
        past = Past.of(book, self.series)
        self.tally.remember(past.stops, Replay.restored(past.states), past.events)
        self._begun = bool(past.states or past.events)
        self.stream = Stream.resume(
            promise, self.questions.prices, past.events, lost=lost, states=past.states, learned=past.learned
        )
        self._summarised = past.states[-1].last if past.states else 0
        self._random = Random(secrets.randbits(64))
        self._audits: set[asyncio.Task[None]] = set()
        self._warned: tuple[int, int] | None = None
        self.broken: LedgerError | None = None
        self.on_broken: Callable[[], None] = lambda: None

    async def answer(self, asked: Asked) -> Given:
        """The answer to a request, and how it came about. `Denied`."""
        try:
            return await self._answer(asked)
        except LedgerError as error:
            self.break_(error)
            raise Denied(503, "The ledger cannot be written; nothing is answered.", kind="api_error") from None

    async def _answer(self, asked: Asked) -> Given:
        if self.broken is not None:
            raise self.broken
        self.questions.check(asked)
        reference = self.questions.request(0, asked)
        end = asyncio.get_running_loop().time() + self._seconds
        turn = Turn(asked, reference, self.questions.key(reference), end, self._random.random())
        known = self._book.get(turn.key)
        if known is not None and self._task.read(known) is not None:
            return await self._known(turn, known)
        self._admit(turn)
        decision = await self._decided(turn)
        if isinstance(decision, Deferred):
            return await self._by_reference(turn, decision)
        return await self._accepted(turn, decision)

    async def drain(self, seconds: float) -> None:
        """Wait for audits behind answers; those that are not back are asked for again when the gateway next begins."""
        if self._audits:
            await asyncio.wait(set(self._audits), timeout=seconds)
        self.hurry()
        await asyncio.gather(*self._audits, return_exceptions=True)

    def hurry(self) -> None:
        """Wait for no audit."""
        for each in self._audits:
            each.cancel()

    async def resume(self, requests: Mapping[int, tuple[Request, dict[int, Any]]]) -> None:
        """Ask again for the audits that were not back. requests: by number, what the reference is asked, and what the
        candidates had said; one whose text was not stored counts as a miss."""
        if self.stream.window is None and self.config.learn_from is not None and not self._begun:
            teach(self.stream, self.questions, self._task, self.config.models, self.config.learn_from)
        self._write()
        for accepted in self.stream.outstanding:
            known = requests.get(accepted.request)
            if known is None:
                self.stream.settle(accepted.request, answered=False)
                self._write()
            else:
                self._behind(self._audit(accepted, *known))

    # ------------------------------------------------------------------ who answers

    async def _accepted(self, turn: Turn, decision: Accepted) -> Given:
        """The coin is drawn when the acceptance is written, and written before the answer leaves. Nobody else is
        decided between the two: an accepted answer without its coin counts as a miss that was found."""
        self._write(turn.record(decision.request))
        tossed = self.stream.toss(decision, secrets.randbits(32))
        self._write()
        answer = turn.answers[decision.way]
        self.tally.audits += tossed.audit
        if tossed.audit and self.config.audit == "before":
            return await self._by_reference(turn, decision, audited=True)
        if tossed.audit:
            self._behind(self._audit(decision, turn.reference, turn.values))
        else:
            self.tally.spared(self._guess(answer))
            self._watch(decision)
        await self._book.settled_down()
        return self._given(turn, decision, answer, 1 + decision.way, audited=tossed.audit)

    def _admit(self, turn: Turn) -> None:
        """`Denied` where it is known that no answer can be had: then the request is no part of the stream."""
        if self._reference.breaker.rests:
            raise self._no_answer(Failed("resting", "The reference does not answer.", self._reference.breaker.left))
        if self.purse.a_day is not None and not self.purse.fits(self._reference.bound(turn.reference)):
            raise self._no_answer(Failed("budget", "The budget of this day is used up.", self.purse.left))

    async def _decided(self, turn: Turn) -> Accepted | Deferred:
        """Ask candidates as the stream says, until it decides."""
        way = self.stream.first(turn.draw)
        decision: Accepted | Deferred | Another | None = None
        while way is not None:
            turn.tried.append(await self._tried(turn, way))
            decision = self.stream.decide(turn.tried, turn.draw)
            way = decision.way if isinstance(decision, Another) else None
        if decision is None or isinstance(decision, Another):
            decision = self.stream.decide([], turn.draw)
        assert not isinstance(decision, Another)
        return decision

    async def _tried(self, turn: Turn, way: int) -> Tried:
        """One candidate's answer; a candidate that fails has none."""
        request = self.questions.request(1 + way, turn.asked)
        answer = value = None
        key = self.questions.key(request)
        try:
            answer = await self._candidates[way].ask(key, request, min(self._seconds * CANDIDATES, turn.left / 2))
            value = self._task.read(answer)
        except Failed:
            pass
        tried = self.questions.tried(way, turn.asked, answer, value)
        if tried.usable and answer is not None:
            turn.answers[way], turn.values[way] = answer, value
            turn.keys[str(way)] = key
        return tried

    async def _known(self, turn: Turn, answer: Answer) -> Given:
        """The ledger has the reference's own answer."""
        decision = self.stream.known()
        self._write(turn.record(decision.request))
        self.tally.known += 1
        self._watch(decision)
        return self._given(turn, decision, answer, 0)

    async def _by_reference(self, turn: Turn, decision: Accepted | Deferred, *, audited: bool = False) -> Given:
        """The reference answers, and what it says is settled before that leaves."""
        if not audited:
            self._write(turn.record(decision.request))
        try:
            answer = await self._reference.ask(turn.key, turn.reference, turn.left)
        except Failed as failed:
            self._settle(decision, None, turn.values)
            raise self._no_answer(failed) from None
        except BaseException:  # this process is stopping, or has a fault: there is no answer
            self._settle(decision, None, turn.values)
            raise
        self._settle(decision, answer, turn.values)
        self.tally.alone += answer.cost
        if turn.answers:
            self.tally.both(self._guess(next(iter(turn.answers.values()))), answer.cost)
        return self._given(turn, decision, answer, 0, audited=audited)

    async def _audit(self, accepted: Accepted, reference: Request, values: Mapping[int, Any]) -> None:
        """Ask the reference behind an answer that went out, more than once if need be: nobody waits for it."""
        answer, key = None, self.questions.key(reference)
        for pause in (0.0, *AUDIT_PAUSES):
            await asyncio.sleep(pause)
            try:
                answer = await self._reference.ask(key, reference, self._seconds)
                break
            except Failed as failed:
                if failed.why in ("budget", "refused"):
                    break
        self._settle(accepted, answer, values)
        if answer is not None:
            self.tally.alone += answer.cost

    def _settle(self, decision: Accepted | Deferred, answer: Answer | None, values: Mapping[int, Any]) -> None:
        """What the reference said, or that it said nothing that can be used."""
        value = self._task.read(answer)
        same = {way: self._task.equivalent(said, value) for way, said in values.items()} if value is not None else {}
        if answer is not None and value is None and self.tally.unreadable():
            _log.warning(UNREADABLE, self.config.name, self.tally.unread)
        self.stream.settle(decision.request, answered=value is not None, agreed=same, cost=answer.cost if answer else 0)
        self._write()
        self._watch(decision)

    def _watch(self, decision: Accepted | Deferred) -> None:
        """Note whether its window has stopped early; say so once where two in a row have."""
        window = self.stream.windows[decision.window]
        if not (self.tally.watch(window) or window.full):
            return
        twice = self.tally.warns(self.stream.windows)
        if twice is not None and twice != self._warned and (self._warned is None or twice[0] > self._warned[1]):
            _log.warning(EARLY, self.config.name, *twice)
            self._warned = twice

    # ------------------------------------------------------------------ small things

    def _write(self, asked: Any = None) -> None:
        """Record what the stream has decided since, and what was asked for it; written when this returns."""
        try:
            if events := self.stream.take():
                self._book.write(self.series, events, asked, self._summary())
        except LedgerError:
            raise
        except Exception as error:  # whatever it is: the record has a gap now
            self.break_(LedgerError(f"An event could not be recorded ({type(error).__name__})."))
            raise

    def _summary(self) -> Summary | None:
        """How the stream stands, now and then."""
        if self.stream.last < self._summarised + min(EVERY, self.config.window):
            return None
        self._summarised, state = self.stream.last, self.stream.state()
        first = state.windows[0].number
        return Summary(state, tuple((number, at) for number, at in self.tally.stops.items() if number >= first))

    def _behind(self, audit: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(audit)
        self._audits.add(task)
        task.add_done_callback(self._back)

    def _back(self, task: asyncio.Task[None]) -> None:
        self._audits.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LedgerError):
            self.break_(error)
        elif error is not None:  # it stays one that is awaited, and so one that was caught
            _log.error("A fault of the gateway's own in an audit: %s", type(error).__name__)

    def break_(self, error: LedgerError) -> None:
        """Nothing is answered any more: what would be decided now could not be recorded."""
        self.broken = self.broken or error
        self.on_broken()

    def _guess(self, answer: Answer) -> float:
        """USD that the reference would have cost, by a candidate's tokens."""
        return self.config.models[0].rate.cost(answer.usage)

    def _no_answer(self, failed: Failed) -> Denied:
        """What a client is told that gets none. No text of a provider: it may quote the prompt."""
        status, kind, said = NO_ANSWER[failed.why]
        wait = self.purse.left if failed.why == "budget" else failed.retry_after
        told = said.format(name=self.config.models[0].name)
        return Denied(status, told, kind=kind, code=failed.why, retry_after=wait)

    def _given(
        self, turn: Turn, decision: Accepted | Deferred, answer: Answer, model: int, *, audited: bool = False
    ) -> Given:
        name = self.config.models[model].name
        self.tally.answered[name] += 1
        return Given(self.config.name, answer, name, decision.window, decision.request, audited)
