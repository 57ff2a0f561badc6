"""`Stream`: request → decision → coin → outcome, with no I/O, no clock and no randomness of its own.

Order is in the types: only `decide` makes an `Accepted`, only an `Accepted` can be tossed, and the coin is an argument
of `toss`; it must be drawn, from the operating system's randomness, when the `Accepted` has been written.
Every method that changes anything makes an event, applies it, and keeps it for `take`: the state is what `replay` makes
of the events, so a stream that is resumed from its whole record is the same stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from smart_llm.procedures.stream.acceptance import Acceptance, Another
from smart_llm.procedures.stream.events import (
    Accepted,
    Deferred,
    Event,
    Opened,
    Restarted,
    Settled,
    Taught,
    Tossed,
    Tried,
)
from smart_llm.procedures.stream.promise import COINS, StreamPromise
from smart_llm.procedures.stream.thrift import Thrift
from smart_llm.procedures.stream.window import Replay, State, Window


class Stream:
    """One series of windows of a route. Not for several threads.

    prices: of the ways of answering, numbered from 0, in calls of the reference, as far as they are known beforehand.
    """

    fold: type[Replay] = Replay
    """What makes the state of the events."""

    def __init__(
        self, promise: StreamPromise, prices: Sequence[float], *, acceptance: Acceptance | None = None
    ) -> None:
        self.promise = promise
        self.prices = tuple(prices)
        self.acceptance: Acceptance = acceptance if acceptance is not None else Thrift(promise, prices)
        self._told = self.fold()
        self._fresh: list[Event] = []

    @classmethod
    def resume(
        cls,
        promise: StreamPromise,
        prices: Sequence[float],
        events: Iterable[Event],
        *,
        lost: int = 0,
        acceptance: Acceptance | None = None,
        states: Sequence[State] = (),
        learned: Iterable[Event] = (),
    ) -> Stream:
        """The stream that has written these events and was stopped, in whatever way. What was under way counts as a
        miss; the `Restarted` that says so is the first event to `take`. lost: see `Restarted`.

        states: all it has told of itself before these events, which may then be missing: counts are the same, beliefs
        rest on `learned`, which are the last events before these.
        """
        stream = cls(promise, prices, acceptance=acceptance)
        if states:
            stream._told = cls.fold.restored(states)
            stream._recall(learned)
        for event in events:
            stream._apply(event)
        if stream._told.current is not None:
            stream._tell(Restarted(stream._told.current.number, lost))
        return stream

    # ------------------------------------------------------------------ deciding

    def first(self, draw: float) -> int | None:
        """The way to ask first about a request that has come; None: none, the reference is asked at once, after
        `decide` with nothing tried. draw: a number in [0, 1) from any generator, the same for all calls about this
        request; it serves where a share of the requests is to be accepted, and is no coin."""
        window = self._window()
        return self.acceptance.first(window, draw)

    def decide(self, tried: Sequence[Tried], draw: float) -> Accepted | Deferred | Another:
        """What to do about a request, given what the ways asked so far have tried (all of them, in the order asked).

        `Another`: ask one way more and call again. `Deferred`: ask the reference, deliver its answer, `settle`.
        `Accepted`: write it (`take`), then draw the coin and `toss`.
        """
        window = self._window()
        if tried:
            choice = self.acceptance.next(window, tried, draw)
            if isinstance(choice, Another):
                return choice
            if choice and tried[-1].usable and window.may_accept:
                return self._decided(Accepted(window.number, self._told.last + 1, tuple(tried)))
        return self._decided(Deferred(window.number, self._told.last + 1, tuple(tried)))

    def teach(self, tried: Tried, agreed: bool, beside: float = 0.0) -> None:
        """What is known from elsewhere; see `Taught`. Most useful before the first request."""
        self._tell(Taught(tried, agreed, beside))

    def known(self) -> Deferred:
        """A request that the ledger can answer with the reference's own answer: nothing to toss, nothing to settle."""
        event = Deferred(self._window().number, self._told.last + 1, known=True)
        self._tell(event)
        return event

    def toss(self, accepted: Accepted, coin: int) -> Tossed:
        """The coin of an accepted request: a whole number below `COINS` that was drawn after it was accepted."""
        if not 0 <= coin < COINS:
            raise ValueError(f"a coin is a whole number from 0 to {COINS - 1}, not {coin}.")
        terms = self._told.windows[accepted.window].terms
        event = Tossed(accepted.window, accepted.request, coin < terms.audits)
        self._tell(event)
        return event

    def settle(
        self, request: int, *, answered: bool, agreed: Mapping[int, bool] | None = None, cost: float = 0.0
    ) -> Settled:
        """What the reference said to a deferral or an audit. answered: an answer that keeps to the output contract.
        agreed: by way tried, whether its answer is equivalent; needed for the way that is audited, and free teaching
        for every other. cost: USD."""
        decided = self._told.open.get(request)
        if decided is None:
            raise ValueError(f"request {request} is not under way.")
        event = Settled(decided.window, request, answered, tuple(sorted((agreed or {}).items())), cost)
        self._tell(event)
        return event

    # ------------------------------------------------------------------ looking

    @property
    def window(self) -> Window | None:
        """The newest window; None before the first request."""
        return self._told.current

    @property
    def windows(self) -> Mapping[int, Window]:
        """All of them by number."""
        return self._told.windows

    @property
    def outstanding(self) -> tuple[Accepted, ...]:
        """Audits that are not back, e.g. to be asked for again after a restart."""
        return tuple(
            each for r, each in self._told.open.items() if r in self._told.tossed and isinstance(each, Accepted)
        )

    @property
    def last(self) -> int:
        """The number of the last request."""
        return self._told.last

    def state(self) -> State:
        """How it stands after all events so far, for `resume`."""
        return self._told.state()

    def take(self) -> list[Event]:
        """The events since the last call, to be written, in this order, before anything goes out."""
        fresh, self._fresh = self._fresh, []
        return fresh

    # ------------------------------------------------------------------ within

    def _window(self) -> Window:
        """The window that the next request belongs to, opened if need be. Until something is accepted in it, its terms
        may be set anew."""
        current = self._told.current
        if current is None or current.full:
            self._tell(Opened(len(self._told.windows) + 1, self.acceptance.terms(None)))
        elif current.counts.accepted == 0:
            terms = self.acceptance.terms(current)
            if terms != current.terms:
                self._tell(Opened(current.number, terms))
        current = self._told.current
        assert current is not None
        return current

    def _recall(self, events: Iterable[Event]) -> None:
        """Teach beliefs what happened before."""
        for window in self._told.windows.values():
            self.acceptance.learn(Opened(window.number, window.terms), None)
        decided: dict[int, Accepted | Deferred] = {}
        for event in events:
            if isinstance(event, Accepted | Deferred):
                decided[event.request] = event
            self.acceptance.learn(event, decided.get(event.request) if isinstance(event, Tossed | Settled) else None)

    def _decided(self, event: Accepted | Deferred) -> Accepted | Deferred:
        self._tell(event)
        return event

    def _tell(self, event: Event) -> None:
        self._apply(event)
        self._fresh.append(event)

    def _apply(self, event: Event) -> None:
        decided = self._told.open.get(event.request) if isinstance(event, Tossed | Settled) else None
        self._told.apply(event)
        self.acceptance.learn(event, decided)
