"""Whether a model answers at all. While it answers nobody, calls to it wait, and a few of them probe.

A call that fails says one of two things: something is wrong with this request, or with the model. Only other calls can
tell which. So a failure counts against its row only where the model has reacted to another call since the row began to
fail, and has not failed on everybody since (`Trials`). The row is given up once it has used up its tries and once that
many failures would hardly happen by chance to a request like the others: the more of all requests fail at their first
try, the longer it is tried. Where nobody else is there to compare with, a witness is called: a request that the model
has answered before is sent once more.

A model that has failed many times in a row is taken to be down. Calls to it are held back; every few seconds one of
them leaves as a probe, and the first one that is answered lets all others go. A model that is down for longer than the
user's patience stops the run. What was bought is kept, and no row has been given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from math import log, log1p, sqrt

from smart_llm.errors import Refused
from smart_llm.types import Request

HOLD, MOST_HOLD, CHANCE = 16, 128, 1e-6
"""Failures in a row, with no reaction in between, after which a model is taken to be down: so many at least, so many at
most, in between as many as are that improbable by the share of requests that failed of late."""
PROBES = 4
"""Calls to a model that is down that may be out at once; each may take as long as the timeout."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 20.0
"""Seconds between two probes: doubles from the first to the longest."""
IDLE = 3 * LONGEST_PAUSE
"""Seconds without a call after which failures are too long ago to be added to."""
NEVER = 30.0
"""Seconds that a model is waited for which has not reacted to anything yet: it may not be there at all."""


MEMORY, FINE, LEAST, CAUTION, LUCK = 64, 0.999, 1 / 4, 2.0, 1e-4
"""So many requests back it is remembered how many are answered at their first try; what stands for all of them; what
share of them is taken to be answered at least; how many standard errors below the observed share is believed; and how
improbable a row's failures must be, if it were like the others, to be its own."""
MOST_QUEUED, LONGER = 16, 4
"""Calls of a row that may be late in a server's queue without being counted; and how many times as long as others the
later ones may take."""


@dataclass(slots=True)
class Trials:
    """The failures of one row. all: how many; counted: those that are its own; luck: the logarithm of the chance that
    a request like the others fails so often; alone: those since then that nobody can judge; first: when the call left
    that failed first; since: the same of those that nobody can judge; vouched: whether the model was seen to answer
    others after as many of them as there are tries; cost: USD that its calls may have cost; throttled, queued: how
    often it met a rate limit, and was late in a server's queue: no failures."""

    all: int = 0
    counted: int = 0
    luck: float = 0.0
    alone: int = 0
    first: float | None = None
    since: float | None = None
    vouched: bool = False
    cost: float = 0.0
    throttled: int = 0
    queued: int = 0

    @property
    def may_queue(self) -> bool:
        """Whether another call that is late in a server's queue is still not counted."""
        return self.queued < MOST_QUEUED

    def time(self, timeout: float) -> float:
        """Seconds until a call is given up: more for a row that has waited in a server's queue in vain."""
        return timeout * min(LONGER, 1 + self.queued)

    def failed(self, left: float, health: Health) -> None:
        """A call of this row that left then has failed, as its model knows by now."""
        if self.first is None:
            self.first = left
            health.began(answered=False)
        self.all += 1
        if self.vouched or (health.proof > self.first and not health.down):
            self.counted += 1
            self.luck += log1p(-health.believed)
        else:
            self.since = self.since if self.alone else left
            self.alone += 1

    def own(self, health: Health, tries: int) -> bool:
        """Whether these failures are the row's own: the model answered others, or a witness, or never anything at
        all."""
        if not health.alive:
            return self.all >= tries
        return (self.counted >= tries or self.vouched) and self.luck <= log(LUCK)

    def judged(self, vouched: bool) -> None:
        """Whether the model answers others is known now."""
        self.vouched = vouched and self.alone > 0
        self.alone = 0


class Health:
    """The health of one model. good: a request it has answered. proof: when the latest call that it reacted to had
    left. last: what its last failure said. share: of the requests of late, how many were answered at their first
    try. doubted: it is down, and no witness was called since it is."""

    def __init__(self, name: str, patience: float) -> None:
        self.name = name
        self.good: Request | None = None
        self.proof, self.last, self.share = float("-inf"), "", FINE
        self._patience = patience
        self._failures, self._since, self._latest = 0, 0.0, float("-inf")
        self.doubted, self._begun = False, 1
        self._out, self._pauses, self._next = 0, 0, 0.0
        self._held: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._reason: Exception | None = None

    @property
    def alive(self) -> bool:
        """Whether it has ever reacted to a request, in this session or by what the ledger holds."""
        return self.good is not None or self.proof > float("-inf")

    @property
    def believed(self) -> float:
        """The share of requests that are answered at their first try, as low as it may be by what was seen."""
        return max(LEAST, self.share - CAUTION * sqrt(self.share * (1 - self.share) / self._begun))

    @property
    def down(self) -> bool:
        """Whether it answers nobody."""
        return self._failures >= HOLD and self._failures >= min(MOST_HOLD, log(CHANCE) / log1p(-self.share))

    @property
    def doubtful(self) -> bool:
        """Whether a call may have to wait (`enter`)."""
        return self._failures >= HOLD or self._reason is not None

    @property
    def failing(self) -> bool:
        """Whether its last call brought nothing."""
        return self._failures > 0

    @property
    def over(self) -> bool:
        """Whether nobody is waited for any longer."""
        return self._reason is not None

    @property
    def patience(self) -> float:
        """How many seconds it is waited for."""
        return self._patience if self.alive else min(self._patience, NEVER)

    @property
    def late(self) -> bool:
        """Whether it has failed for longer than that."""
        return self._failures > 1 and _now() - self._since >= self.patience

    # ------------------------------------------------------------------ before a call

    async def enter(self) -> bool:
        """Wait until a call may leave. Returns whether it leaves as a probe. Raises what `dismiss` was told."""
        while self.down or self._reason is not None:
            if self._reason is not None:
                raise self._reason
            if self._out < PROBES and _now() >= self._next:
                self._probe()
                return True
            await self._wait()
        return False

    def leave(self, probe: bool) -> None:
        """A call is over."""
        if probe:
            self._out -= 1
            self._wake()

    async def rest(self, seconds: float) -> None:
        """Wait before a row is tried again; not when nobody is waited for any longer."""
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return

    def dismiss(self, reason: Exception) -> None:
        """Nobody waits any longer: `reason` is raised instead."""
        if self._reason is None:
            self._reason = reason
            self._over.set()
            self._let_go()

    # ------------------------------------------------------------------ after a call

    def reacted(self, left: float, answered: Request | None = None) -> None:
        """A call that left then was answered, or turned down for what it asked."""
        self.proof = max(self.proof, left)
        self.good = answered or self.good
        self._failures = self._pauses = 0
        self.doubted = False
        if self._held:
            self._let_go()

    def failed(self, left: float, said: str) -> None:
        """A call that left then has brought nothing."""
        if not self._failures or left > self._latest + IDLE:
            self._failures, self._since = 0, left
        was_down = self.down
        self._failures, self._latest, self.last = self._failures + 1, _now(), said
        self.doubted = self.doubted or (self.down and not was_down)

    def began(self, *, answered: bool) -> None:
        """How the first try of a request ended."""
        self._begun = min(MEMORY, self._begun + 1)
        self.share += (FINE * answered - self.share) / self._begun

    def gone(self) -> Refused:
        """Why the run stops."""
        never = "" if self.alive else "It has never answered anything here: is the address right? "
        return Refused(
            f"{self.name} has answered nothing for {_now() - self._since:.0f} s: {self.last} {never}"
            "What was bought is kept and no row was given up: run again to go on."
        )

    # ------------------------------------------------------------------ inside

    def _probe(self) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._pauses, 16))
        end = self._since + self.patience
        self._next = _now() + pause if _now() >= end else min(_now() + pause, end)
        self._out, self._pauses = self._out + 1, self._pauses + 1
        self._wake()

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append(turn)
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            self._wake()  # its turn may have come together with the cancellation
            raise

    def _wake(self) -> None:
        """See to it that somebody is woken when the next probe may leave."""
        if self._timer is None and self._held and self._out < PROBES:
            self._timer = asyncio.get_running_loop().call_at(max(self._next, _now()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        while self._held:
            turn = self._held.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _let_go(self) -> None:
        """Everybody who waits goes on, or is told why not."""
        held, self._held = self._held, deque()
        for turn in held:
            if not turn.done():
                turn.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
