"""Whether the calls that are refused with a 429 met a limit, or are refused at random.

A limit that is met refuses most calls until it has room again, and refuses nobody below its rate. Refusals at random (a
busy gateway, one bad node of many) go on at the same share however slowly calls leave. So many refusals among the
latest calls are taken for a limit, whose rate is found out (`pace.py`) and kept to; that is an experiment. If as many
are refused below that rate, and again below a lower one, there is no such limit: from then on that share is usual.
"""

from __future__ import annotations

LATEST, ENOUGH = 32, 32
"""Calls back that the share of the latest refusals remembers, and calls by which a found-out rate is judged."""
MANY, MOST = 0.3, 0.5
"""Shares of the latest calls refused, beyond what is usual: from which on the rate of a limit is looked for, and from
which on all calls should wait."""
AT_LEAST = 6
"""Refusals among the latest calls that such a share is judged by: fewer happen by chance. Before any answer came, one
is enough."""
AT_ALL = 0.1
"""The share of refusals below a rate, beyond what is usual, that says that this rate is not the limit."""
STRIKES = 3
"""Rates that are found out and prove wrong, one after the other, until there is no limit."""
OFTEN = 1 / 3
"""The largest share that may pass for usual: more is a limit, whatever it looks like."""
UNKNOWN = 0.5
"""The share before there was any call: if the very first one is refused, all wait."""


class Refusals:
    """How many calls to one model are refused. latest: the share of the latest calls; usual: the share that is refused
    without any limit being met."""

    def __init__(self) -> None:
        self.latest, self.usual = UNKNOWN, 0.0
        self._seen, self._strikes, self._answered = 1, 0, 0
        self._beyond, self._refused_beyond = 0, 0
        self._below, self._refused_below = 0, 0

    @property
    def many(self) -> bool:
        """Whether fewer calls should be in flight, and the rate of a limit be looked for."""
        return self._above(MANY)

    @property
    def most(self) -> bool:
        """Whether all calls should wait."""
        return self._above(MOST)

    @property
    def untried(self) -> bool:
        """Whether no call was answered yet."""
        return not self._answered

    @property
    def telling(self) -> bool:
        """Whether more calls were refused above the rate that was found out than are refused below it."""
        return self._refused_beyond >= 2 + 2 * self.usual * self._beyond

    @property
    def wrong(self) -> bool:
        """Whether there is no limit after all."""
        return self._strikes >= STRIKES

    def ended(self, *, refused: bool) -> None:
        """A call was answered or refused."""
        self._seen = min(LATEST, self._seen + 1)
        self.latest += (refused - self.latest) / self._seen
        self._answered += not refused

    def above(self, *, refused: bool) -> None:
        """The call had left above the rate that was found out."""
        self._beyond, self._refused_beyond = self._beyond + 1, self._refused_beyond + refused

    def below(self, *, refused: bool) -> bool:
        """The call had left below that rate. Returns whether this rate proves wrong by it."""
        self._below, self._refused_below = self._below + 1, self._refused_below + refused
        if self._below < ENOUGH:
            return False
        share, self._below, self._refused_below = self._refused_below / self._below, 0, 0
        calm = share <= self.usual + AT_ALL
        if calm:
            self._strikes, self.usual = 0, min(self.usual, (self.usual + share) / 2)
        return not calm

    def found_out(self, *, anew: bool, contradicted: bool) -> None:
        """A rate was found out. anew: it is far from the last one, and what was below that says nothing of it.
        contradicted: the last one cannot have been the limit."""
        self._beyond = self._refused_beyond = 0
        if anew:
            self._below = self._refused_below = 0
        self._strikes += contradicted

    def forget(self) -> None:
        """The rate that was found out is none."""
        self._strikes, self.usual = 0, min(OFTEN, self.latest)
        self._beyond = self._refused_beyond = self._below = self._refused_below = 0

    def _above(self, share: float) -> bool:
        enough = self._seen * self.latest >= AT_LEAST + UNKNOWN or not self._answered
        return enough and self.latest > self.usual + share
