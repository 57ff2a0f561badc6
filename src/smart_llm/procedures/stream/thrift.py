"""The shipped way of accepting: by risk, as boldly as what is left of the window allows.

The first requests are a pilot: all ways are asked, the reference answers. Then the terms of the window are chosen, in
money: for each way and each credit the pacing table says what a window is expected to save, at the risks believed and
at such as could be. From then on an answer is accepted if its risk is at most the table's limit for what is left of the
window, with beliefs renewed every so often. Some requests go on trying all ways, so that it is noticed when another
one becomes better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, exp, hypot, sqrt

from smart_llm.procedures.stream.acceptance import Another
from smart_llm.procedures.stream.beliefs import SHADE, Belief, Mean, Memory
from smart_llm.procedures.stream.events import Accepted, Deferred, Event, Opened, Settled, Taught, Tossed, Tried
from smart_llm.procedures.stream.pacing import Outlook, Pacing, induction, least_limit, pace
from smart_llm.procedures.stream.promise import COINS, StreamPromise, WindowTerms
from smart_llm.procedures.stream.window import Window
from smart_llm.stats.audits import share_needed

PILOT = 4.0
"""× N^⅓: requests of the pilot; at most a tenth of a window."""
LASTING = 10_000
"""Requests, or a window if that is longer: how long traffic is believed to stay much the same."""
RENEWED, LEAST_APART = 50, 64
"""Times a window beliefs are renewed, and requests between two times at least."""
TRIALS = 0.003
"""× N: what trying ways that are not in use may cost."""
CHEAP = 0.01
"""Reference calls: a cheaper trial is not made more often."""
MOST_AUDITS = 0.7
"""A larger share of audits saves nothing worth the trouble."""
SPREAD = 0.1
"""Standard deviation of the logarithm of what the level of risk changes by from a window to the next."""
DOUBTS = 2.0
"""Standard deviations above its believed risk at which a way has still to be the best."""
COARSE = 60
"""Steps of the table while terms are compared."""
LARGE = 40
"""With a larger credit, risks are compared by a quarter as many parts, or opening a window would take seconds."""
AS_EXPENSIVE = 0.95
"""Reference calls: a way at this price saves nothing worth the trouble."""
PLACES, WEIGHTS = (-sqrt(3), 0.0, sqrt(3)), (1 / 6, 2 / 3, 1 / 6)
"""Three points that stand for a normal distribution."""
CREDITS = tuple(sorted({round(1.15**i) for i in range(42)} | {0}))
"""Credits that are compared: 0 to about 300, a seventh apart; there, nine tenths of the allowance can be used."""
FAILING, SEEN = 0.5, 1000.0
"""Before anything is known, half a request in a thousand is taken to end without an answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How answers are accepted now. mean: the belief's mean risk."""

    way: int
    belief: Belief
    mean: float
    price: float
    pacing: Pacing
    least: float
    """Asking pays from this limit on."""


class Thrift:
    """See the top."""

    def __init__(self, promise: StreamPromise, prices: Sequence[float]) -> None:
        self.promise = promise
        self.memories = [Memory(price) for price in prices]
        self.reference = Mean()
        self.lasting = max(LASTING, promise.window)
        self.pilot = min(promise.window // 10, ceil(PILOT * promise.window ** (1 / 3)))
        self.apart = max(LEAST_APART, promise.window / RENEWED)
        self.now, self.unanswered, self.renewed = 0, 0, 0
        self.taught = 0
        self.credits: dict[int, int] = {}
        self.way: int | None = None
        self.shares: dict[int, float] = {}
        self.plan: Plan | None = None
        self.window = 0
        self.places: dict[int, list[tuple[int, int]]] = {}

    # ------------------------------------------------------------------ terms

    def terms(self, window: Window | None) -> WindowTerms:
        """A pilot first; then the best terms. While no way pays, that is looked at again now and then."""
        none = self.promise.terms(0, self._reserve()) if window is None else window.terms
        if self.now + self.taught < self.pilot or none.credit >= 0:
            return none
        if window is not None and self.renewed and self.now < self.renewed + self.apart:
            return none
        self.renewed = self.now
        best = max(self._choices(none.reserve), key=lambda each: each[0], default=None)
        self.way = None if best is None else best[1]
        return none if best is None else best[2]

    def _due(self, window: Window) -> bool:
        """Whether beliefs are to be renewed."""
        return self.window != window.number or self.now >= self.renewed + self.apart

    def _reserve(self) -> int:
        """What ends without an answer in a window, with two standard deviations."""
        expected = self.promise.window * (self.unanswered + FAILING) / (self.now + SEEN)
        return min(self.promise.allowance // 2, ceil(expected + 2 * sqrt(expected)))

    def _beliefs(self, only: int | None = None) -> Iterator[tuple[int, Belief, float]]:
        """(way, what is believed of it, its price), for the ways that may save something. only: of this way."""
        for way, memory in enumerate(self.memories):
            price = self._price(way)
            if price < AS_EXPENSIVE and memory.size and only in (None, way):
                yield way, memory.believe(self.now, self.lasting), price

    def _choices(self, reserve: int) -> Iterator[tuple[float, int, WindowTerms]]:
        """(what the window is likely to save, way, terms): the best terms of each way. Of a way that is not in use
        that is what it saves if its risk is `DOUBTS` standard deviations above what is believed, or one that is hardly
        known would look best by chance."""
        for way, belief, price in self._beliefs():
            outlook, spread = belief.outlook(price), hypot(SPREAD, belief.doubt)
            levels = (*(exp(place * spread) for place in PLACES), exp(DOUBTS * belief.doubt))
            place = self.credits.get(way, 0)
            best = self._saved(outlook, levels, CREDITS[place], reserve)
            for turn in (1, -1):  # uphill from the credit of last time
                while 0 <= place + turn < len(CREDITS):
                    other = self._saved(outlook, levels, CREDITS[place + turn], reserve)
                    if other[0] <= best[0] and best[0] > 0:
                        break
                    place, best = place + turn, max(best, other, key=lambda each: each[0])
            self.credits[way] = place
            if best[0] > 0:
                yield best[0] if way == self.way else best[1], way, best[2]

    def _saved(
        self, outlook: Outlook, levels: Sequence[float], credit: int, reserve: int
    ) -> tuple[float, float, WindowTerms]:
        """What a window with this credit is expected to save over the first levels of risk, and at the last; and its
        terms."""
        allowance, behind = self.promise.allowance - reserve, self.promise.mode == "behind"
        share = share_needed(allowance, credit, self.promise.alpha, delivered=behind)
        terms = self.promise.terms(min(COINS, ceil(share * COINS)) if share < MOST_AUDITS else 0, reserve)
        if terms.credit < 0:
            return 0.0, 0.0, terms
        seen = outlook.coarser(4) if terms.credit > LARGE else outlook
        worth, _ = induction(seen, terms.requests, terms.credit, terms.audit_share, COARSE, levels)
        whole = worth[-1, :, -1]
        return float(whole[:-1] @ WEIGHTS), float(whole[-1]), terms

    def _price(self, way: int) -> float:
        """Of a call, in calls of the reference."""
        cost, guess = self.memories[way].cost, self.memories[way].price
        if cost.calls == 0 or self.reference.calls == 0 or self.reference.total <= 0:
            return guess
        return (cost.total / cost.calls) / (self.reference.total / self.reference.calls)

    def _renew(self, window: Window) -> Plan | None:
        """Beliefs, and the table that follows from them for the way in use; as a rule, what was found last time.
        After a restart, the way is the one that saves most under the terms of the window."""
        if window.terms.credit < 0 or not self._due(window):
            return self.plan if window.terms.credit >= 0 else None
        only = self.way
        self.renewed, self.window = self.now, window.number
        terms = window.terms
        share, plans = terms.audit_share, list[Plan]()
        for way, belief, price in self._beliefs(only):
            outlook = belief.outlook(price)
            pacing = pace(outlook, terms.requests, terms.credit, share)
            plans.append(Plan(way, belief, belief.mean, price, pacing, least_limit(outlook, share)))
        self.plan = max(plans, key=lambda each: each.pacing.value, default=None)
        self.way = None if self.plan is None else self.plan.way
        return self.plan

    # ------------------------------------------------------------------ requests

    def first(self, window: Window, draw: float) -> int | None:
        """The cheapest way where all are tried, else the one in use if asking it pays."""
        plan = self._renew(window)
        if self._trial(window, draw):
            return self._another(())
        if plan is None or not window.may_accept:
            return None
        limit = self.limit(window, plan)
        if plan.belief.blind:
            limit *= 1 - plan.price / (1 - window.terms.audit_share)
            return plan.way if shaded(plan.belief.level, draw) <= limit else None
        return plan.way if limit >= plan.least else None

    def next(self, window: Window, tried: Sequence[Tried], draw: float) -> Another | bool:
        """By risk."""
        if self._trial(window, draw):
            way = self._another(tried)
            return False if way is None else Another(way)
        last = tried[-1]
        if self.plan is None or not window.may_accept or last.way != self.plan.way or not last.usable:
            return False
        risk = self.plan.belief.risk(last, tried[-2] if len(tried) > 1 else None)
        return bool(shaded(risk, draw) <= self.limit(window, self.plan))

    def _trial(self, window: Window, draw: float) -> bool:
        """Whether this request tries all ways, and is then deferred."""
        if self.now + self.taught < self.pilot:
            return True
        idle = self.plan is None or not window.may_accept
        if len(self.memories) == 1 and not idle:
            return False
        price = sum(min(1.0, memory.price) for memory in self.memories) + (not idle)
        return draw >= 1 - TRIALS / max(price, CHEAP)

    def _another(self, tried: Sequence[Tried]) -> int | None:
        """The cheapest way not tried yet that may save something."""
        asked = {each.way for each in tried}
        prices = {way: self._price(way) for way in range(len(self.memories)) if way not in asked}
        way = min(prices, key=prices.__getitem__, default=None)
        return way if way is not None and prices[way] < AS_EXPENSIVE else None

    def limit(self, window: Window, plan: Plan) -> float:
        """The largest risk to accept. Audits that are not back are misses as often as answers are."""
        counts, terms = window.counts, window.terms
        sure = counts.missed + counts.failed + counts.lost
        under_way = (counts.waiting + terms.audit_share * counts.untossed) * plan.mean
        return plan.pacing.limit(terms.requests - counts.decided, terms.credit + 1 - sure - under_way)

    # ------------------------------------------------------------------ learning

    def learn(self, event: Event, decided: Accepted | Deferred | None) -> None:
        """What was tried, and what the reference said to it."""
        if isinstance(event, Accepted | Deferred):
            self._decided(event)
        elif isinstance(event, Tossed) and not event.audit:
            self.places.pop(event.request, None)
        elif isinstance(event, Settled):
            self._settled(event, decided)
        elif isinstance(event, Opened):
            self.shares[event.window] = event.terms.audit_share
        elif isinstance(event, Taught):
            memory = self.memories[event.tried.way]
            memory.label(memory.add(event.tried, None, self.now), event.agreed)
            self.reference.add(event.beside)
            self.taught += 1

    def _decided(self, event: Accepted | Deferred) -> None:
        self.now += 1
        places, before = [], None
        for tried in event.tried:
            places.append((tried.way, self.memories[tried.way].add(tried, before, self.now)))
            before = tried
        if places:
            self.places[event.request] = places

    def _settled(self, event: Settled, decided: Accepted | Deferred | None) -> None:
        agreed = dict(event.agreed)
        share = self.shares[event.window] if isinstance(decided, Accepted) else 1.0
        for way, place in self.places.pop(event.request, ()):
            if event.answered and way in agreed:
                self.memories[way].label(place, agreed[way], share)
        if event.answered:
            self.reference.add(event.cost)
        elif isinstance(decided, Deferred) or self.promise.mode == "before":
            self.unanswered += 1


def shaded(risk: float, draw: float) -> float:
    """A risk, a little more or less by the draw, so that of answers alike a share is accepted."""
    return risk * (1 - SHADE + 2 * SHADE * draw)
