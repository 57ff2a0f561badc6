"""When a call to one model may leave: as many at once as it bears, and as many a minute as it allows.

Three limits, all learnt:

* *In flight*, always: few at first and one more with every answer until the ceiling or the first rate limit; then
  additive increase, multiplicative decrease. A round of successes adds a sixteenth of the ceiling, many rate limits
  take a seventh, once for all calls that were in flight when they came; after a pause for all, one leaves at first,
  and one more with every answer. Calls whose time was over in the server's own
  queue take half (`Lane.queues`). No call is added while answers take so long that the next ones would be late.
* *Told*, requests and tokens a minute where replies have headers (`headers.py`): a copy of the server's bucket is kept,
  set right by every reply for what was sent since. How many tokens the server counts for a call is learnt from how far
  its bucket fell. However long a server says that nothing more may come, a call a minute asks it.
* *Found out*, requests a second where 429s come without such headers and ask for no wait or a long one: between two of
  them, both met with the server's bucket empty, the successes are what it let through, so that is its limit. Calls
  leave at a little less, then slowly at more.

A 429 holds back its own call (the client does that). Only where a limit was met (`refusals.py`) does it stop all calls
to the model, for as long as it says (Retry-After); where it says nothing, for a pause that doubles from half a second
to a minute.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Protocol

from smart_llm.client.limits import Allowance, Limits
from smart_llm.client.refusals import Refusals
from smart_llm.providers.base import LONGEST_WAIT, capped

DECREASE, HALF = 6 / 7, 1 / 2
INCREASE = 1 / 16
FIRST_PAUSE, LONGEST_PAUSE = 0.5, LONGEST_WAIT
"""Seconds; nobody waits for longer at a time, whatever a server says."""
MARGIN = 0.02
"""Seconds a call waits longer than it should have to: the server's clock and the way there are not ours."""
FIRST_CALLS = 4
"""Calls in flight until the first answer."""
UNDER = 0.98
"""A found-out limit is used to this share at first …"""
GROWTH, GROWING = 0.015, 30.0
"""… and that grows by this much a second, twice as fast after this many seconds, and so on."""
BEYOND = 1.05
"""From this many times the found-out limit on, refusals are expected."""
SHORT = 0.85
"""Where fewer calls than this share of a found-out limit succeeded although more left, that was not the limit."""
STRETCH, SHORTEST = 3.0, 0.2
"""Seconds between two 429s that tell a rate; from the second on, if it is far below the one believed in."""
FEW, ENOUGH = 5, 8
"""Answers in such a stretch, in a short one and in a long one, that tell a rate."""


@dataclass(slots=True)
class Turn:
    """A call that was let through. requests, tokens: all that were let through up to it; own: its own tokens; at: when;
    left: tokens the server said were left after it; used_up: whether it said that no request was left."""

    epoch: int = 0
    requests: int = 0
    tokens: float = 0.0
    own: float = 0.0
    at: float = 0.0
    left: float | None = None
    used_up: bool = False


def held_back(retry_after: float | None, times: int, random: Random) -> float:
    """Seconds a rate-limited row waits before it asks for a turn again. times: rate limits it has met in a row."""
    if (named := capped(retry_after)) is not None:
        return named
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times - 1, 16)) * (0.5 + 0.5 * random.random())


class Gate(Protocol):
    """What a client needs of whoever lets its calls through: a `Pace` of its own, or a lease on one that many share."""

    @property
    def in_flight(self) -> int:
        """Calls that are out."""
        ...

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        ...

    @property
    def resume_at(self) -> float:
        """Until when, in the event loop's time, everybody waits."""
        ...

    async def enter(self, tokens: float = 0.0) -> Turn:
        """Wait for a turn."""
        ...

    def leave(self) -> None:
        """A call is over."""
        ...

    def succeeded(self, turn: Turn, *, slow: bool = False) -> None:
        """A call brought an answer. slow: it took so long that there must be a queue."""
        ...

    def told(self, turn: Turn, limits: Limits) -> None:
        """A reply said how its limits stand."""
        ...

    def throttled(self, turn: Turn, retry_after: float | None) -> None:
        """A call met a rate limit."""
        ...

    def queued(self, turn: Turn) -> None:
        """A call waited in the server's queue until its time was over."""
        ...

    def dismiss(self, reason: Exception) -> None:
        """Nobody gets a turn any more."""
        ...


class Bucket:
    """A limit per second: `rate` units flow in, up to `size`; none is known while the rate is 0."""

    def __init__(self, margin: float = 0.0) -> None:
        self.rate, self.size, self.level, self.at, self.margin = 0.0, 0.0, 0.0, 0.0, margin

    def wait(self, amount: float, now: float) -> float:
        """Seconds until this much may leave; what is larger than the bucket waits until it is full."""
        if not self.rate:
            return 0.0
        self.level, self.at = min(self.size, self.level + (now - self.at) * self.rate), now
        missing = min(amount, self.size) - self.level
        return missing / self.rate + self.margin if missing > 0 else 0.0

    def told(self, allowance: Allowance, used: float, age: float, now: float) -> None:
        """What the server said of its own. used: units that left after the call it answered, `age` seconds ago."""
        rate = allowance.limit / 60
        if allowance.reset and allowance.limit > allowance.remaining:
            rate = min(rate, (allowance.limit - allowance.remaining) / allowance.reset)  # a limit per hour or day
        size = allowance.limit if allowance.reset is None else allowance.remaining + rate * allowance.reset
        self.rate, self.size = rate, max(1.0, min(allowance.limit, size))
        self.level, self.at = min(self.size, allowance.remaining - used + rate * age), now


class Pace:
    """A turnstile for the calls to one model, first come, first served."""

    def __init__(self, ceiling: int, random: Random) -> None:
        self._ceiling = float(ceiling)
        self._limit = float(min(ceiling, FIRST_CALLS))
        self._regained = 0.0  # the limit before the last pause for all: below it, every answer adds one call
        self._step = max(1.0, ceiling * INCREASE)
        self._random = random
        self.in_flight = 0
        self._epoch = 0
        self._in_a_row = 0
        self.resume_at = 0.0
        self._resume: asyncio.TimerHandle | None = None
        self._queue: deque[tuple[float, asyncio.Future[Turn]]] = deque()
        self._requests, self._tokens, self._found = Bucket(MARGIN), Bucket(MARGIN), Bucket()
        self._base = 0.0  # the found-out limit as it was found out
        self._gated = False  # whether any limit but the one on calls in flight is known
        self._sent = Turn()
        self._told = Turn()
        self._weighed = Turn()
        self._refused: deque[Turn] = deque(maxlen=256)
        self._refusals = Refusals()
        self._factor = 1.0  # tokens the server counts for one of ours
        self._passed = 0.0  # when a call was let through last
        self._dismissed: Exception | None = None
        self._done = 0
        self._mark = (0.0, 0)  # when the successes between two rate limits were counted from, and from where on

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return len(self._queue)

    async def enter(self, tokens: float = 0.0) -> Turn:
        """Wait for a turn; returns what `throttled` and `told` want back. tokens: our estimate for this call."""
        return self.at_once(tokens) or await self._turn(tokens)

    def at_once(self, tokens: float = 0.0) -> Turn | None:
        """A turn, where nobody has to wait for one."""
        if self._dismissed is not None:
            raise self._dismissed
        if self._queue or self._resume is not None or self.in_flight >= self._limit or self._gated:
            return None
        return self._pass(tokens)

    def leave(self) -> None:
        """A call is over."""
        self.in_flight -= 1
        if self._queue:
            self._admit()

    def succeeded(self, turn: Turn, *, slow: bool = False) -> None:
        """A call brought an answer: room for a little more, unless it was slow to come."""
        self._in_a_row = 0
        self._done += 1
        if self._refusals.untried and self._resume is not None:
            self.resume_at = 0.0  # all wait because the first of all was refused: another of the first was not
            self._wake(asyncio.get_running_loop().time())
        self._ended(turn, refused=False)
        if self._limit < self._ceiling and not slow:
            more = self._step / self._limit if self._epoch and self._limit >= self._regained else 1.0
            self._limit = min(self._ceiling, self._limit + more)
        if turn.left is not None:
            self._weigh(turn)

    def told(self, turn: Turn, limits: Limits, age: float | None = None) -> None:
        """A reply said how its limits stand. age: seconds since its call left, where that was later than its turn."""
        if turn.requests <= self._told.requests:
            return  # an older call than what is known already
        now = asyncio.get_running_loop().time()
        age = now - turn.at if age is None else age
        if limits.requests is not None:
            turn.used_up = limits.requests.remaining < 1
            self._requests.told(limits.requests, self._sent.requests - turn.requests, age, now)
        if limits.tokens is not None:
            turn.left = limits.tokens.remaining
            self._tokens.told(limits.tokens, (self._sent.tokens - turn.tokens) * self._factor, age, now)
        self._told, self._gated = turn, True

    def throttled(self, turn: Turn, retry_after: float | None) -> None:
        """A call met a rate limit: fewer calls, and a pause for all where it is a limit on all."""
        loop = asyncio.get_running_loop()
        self._refused.append(turn)
        self._ended(turn, refused=True)
        if turn.left is not None and turn.left > turn.own * self._factor > 0:
            self._factor = min(20.0, 1.1 * turn.left / turn.own)  # it should have fitted: it counts for more
        limited, many = self._refusals.most or turn.used_up, self._refusals.many
        fresh = turn.epoch == self._epoch
        if fresh and many:
            self._epoch += 1
            self._in_a_row += 1
            self._regained *= DECREASE
            self._limit = max(1.0, self._limit * DECREASE)
        if fresh and not self._told.requests and (many or self._refusals.telling):
            self._find_out(loop.time(), soon=limited)
        wait = self._pause() if retry_after is None else retry_after
        if limited and loop.time() + wait > self.resume_at:
            self.resume_at = loop.time() + wait
            self._wake(self.resume_at)
            if wait:
                self._regained = max(self._regained, self._limit)
                self._limit = 1.0

    def queued(self, turn: Turn) -> None:
        """A call waited in the server's queue until its time was over: half as many in flight."""
        if turn.epoch == self._epoch:
            self._epoch += 1
            self._limit = max(1.0, min(self._limit, float(self.in_flight)) * HALF)

    def dismiss(self, reason: Exception) -> None:
        """Nobody gets a turn any more: `reason` is raised there."""
        self._dismissed = reason
        while self._queue:
            _, turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(reason)

    # ------------------------------------------------------------------ limits

    def _weigh(self, turn: Turn) -> None:
        """How many tokens the server counts for one of ours: by how far its bucket fell from answer to answer. A full
        bucket hides what flows in, and a call refused between the two was not counted. Quick to learn that it is more,
        slow to learn that it is less."""
        last, left = self._weighed, turn.left or 0.0
        refused = sum(each.own for each in self._refused if last.requests < each.requests <= turn.requests)
        ours = turn.tokens - last.tokens - refused
        theirs = (last.left or 0.0) + self._tokens.rate * (turn.at - last.at) - left
        if last.left is not None and ours > 0 and theirs > 0 and left < 0.9 * self._tokens.size:
            ratio = min(20.0, max(0.05, theirs / ours))
            self._factor += (0.3 if ratio > self._factor else 0.03) * (ratio - self._factor)
        if turn.requests > last.requests:
            self._weighed = turn

    def _ended(self, turn: Turn, *, refused: bool) -> None:
        """Count a call as answered or refused; what left before the rate that holds now was found out does not judge
        it."""
        self._refusals.ended(refused=refused)
        if not self._base or turn.at < self._mark[0]:
            return
        if self._grown(turn.at) > self._base * BEYOND:
            self._refusals.above(refused=refused)
        elif self._refusals.below(refused=refused):
            self._find_out(asyncio.get_running_loop().time(), contradicted=True)
        if self._refusals.wrong:
            self._base, self._found.rate, self._gated = 0.0, 0.0, self._told.requests > 0
            self._refusals.forget()

    def _find_out(self, now: float, *, soon: bool = False, contradicted: bool = False) -> None:
        """The rate that calls succeeded at since the last 429 is what the server allows, but for those that it refuses
        in any case. soon: after a short stretch too, if the rate is far below the one believed in; contradicted: it
        is known that the limit is another."""
        since, done = self._mark
        seconds, successes = now - since, self._done - done
        rate = successes / seconds / (1 - self._refusals.usual) if seconds else 0.0
        known = self._grown(now)
        far_off = soon and successes >= FEW and seconds >= SHORTEST and (not known or rate < known / 2)
        if far_off or (successes >= ENOUGH and seconds >= (SHORTEST if contradicted else STRETCH)):
            contradicted = contradicted or (not soon and rate < self._base * SHORT)
            self._refusals.found_out(anew=far_off, contradicted=contradicted)
            self._base = max(0.01, rate * UNDER)
            self._found.size, self._found.level, self._found.at = max(1.0, self._base / 4), 0.0, now
            self._mark, self._gated = (now, self._done), True

    def _grown(self, now: float) -> float:
        """The found-out rate by now."""
        t = now - self._mark[0]
        return self._base * math.exp(min(50.0, GROWTH * (t + t * t / (2 * GROWING))))

    def _pause(self) -> float:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** max(0, self._in_a_row - 1))
        return longest * (0.5 + 0.5 * self._random.random())

    # ------------------------------------------------------------------ turns

    def _pass(self, tokens: float) -> Turn:
        self._passed = now = asyncio.get_running_loop().time()
        self.in_flight += 1
        if not self._mark[0]:
            self._mark = (now, 0)
        sent = self._sent
        sent.requests += 1
        sent.tokens += tokens
        if self._gated:
            self._requests.level -= 1
            self._tokens.level -= tokens * self._factor
            self._found.level -= 1
        return Turn(self._epoch, sent.requests, sent.tokens, tokens, now)

    def _held(self, tokens: float) -> float:
        """Seconds the limits keep a call waiting."""
        if not self._gated:
            return 0.0
        now = asyncio.get_running_loop().time()
        self._found.rate = self._grown(now)
        return max(
            self._requests.wait(1.0, now), self._tokens.wait(tokens * self._factor, now), self._found.wait(1.0, now)
        )

    def _wake(self, at: float) -> None:
        if self._resume is not None:
            self._resume.cancel()
        self._resume = asyncio.get_running_loop().call_at(at, self._resumed)

    def _resumed(self) -> None:
        self._resume = None
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._resume is None and self.in_flight < int(self._limit):
            tokens, turn = self._queue[0]
            if turn.done():
                self._queue.popleft()
                continue
            if (held := self._held(tokens)) > 0:
                at = min(asyncio.get_running_loop().time() + held, self._passed + LONGEST_PAUSE)
                if at > asyncio.get_running_loop().time():
                    self._wake(at)
                    return
            self._queue.popleft()
            turn.set_result(self._pass(tokens))

    async def _turn(self, tokens: float) -> Turn:
        turn: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._queue.append((tokens, turn))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # the turn came together with the cancellation
            raise
