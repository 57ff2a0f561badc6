"""What is recorded of a stream is all of it: counts, verdicts and the state after a kill follow from the events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm.errors import InputError, LedgerError
from smart_llm.procedures.stream import (
    COINS,
    Accepted,
    Another,
    Deferred,
    Event,
    Replay,
    Restarted,
    Settled,
    State,
    Stream,
    StreamPromise,
    Tossed,
    Tried,
    Window,
    read_event,
    replay,
    write_event,
)

PROMISE = {mode: StreamPromise("0.8", "0.9", 100, mode) for mode in ("before", "behind")}


def play(
    mode: str, steps: list[tuple[int, int, int]], kill: set[int], notes: list[tuple[int, State]] | None = None
) -> tuple[Stream, list[Event]]:
    """A stream that meets these steps (what to do, a coin, a score), killed at some of them. notes: how it stood every
    few steps, after how many events, is added to these, and it goes on from them after a kill."""
    stream, record = Stream(PROMISE[mode], [0.1, 0.3]), list[Event]()
    under_way, held = list[Accepted | Deferred](), list[Accepted]()
    for place, (what, coin, score) in enumerate(steps):
        if place in kill:
            record += stream.take()
            stream = resumed(mode, [read_event(write_event(event)) for event in record], notes or [])
            under_way, held = list(stream.outstanding), []
        if what == 0 and held:
            accepted = held.pop(0)
            if stream.toss(accepted, coin).audit:
                under_way.append(accepted)
        elif what == 1 and under_way:
            decided = under_way.pop(coin % len(under_way))
            agreed = {each.way: score > 40 for each in decided.tried}
            stream.settle(decided.request, answered=coin % 5 > 0, agreed=agreed, cost=0.01)
        elif what == 2:
            stream.known()
        else:
            decided = ask(stream, coin, score)
            (held if isinstance(decided, Accepted) else under_way).append(decided)
        if notes is not None and place % 17 == 16:
            record += stream.take()
            notes.append((len(record), msgspec.json.decode(msgspec.json.encode(stream.state()), type=State)))
    return stream, record + stream.take()


def resumed(mode: str, record: list[Event], notes: list[tuple[int, State]]) -> Stream:
    """From notes, the few events before the last one, and the events since."""
    last = notes[-1][0] if notes else 0
    states, learned = [state for _, state in notes], record[max(0, last - 20) : last]
    return Stream.resume(PROMISE[mode], [0.1, 0.3], record[last:], states=states, learned=learned)


def ask(stream: Stream, coin: int, score: int) -> Any:
    """One request until it is decided."""
    way, tried = stream.first(coin / COINS), list[Tried]()
    while way is not None:
        tried.append(Tried(way, score % 7 > 0, score / 10, 0.001, 1 + score % 3))
        decision = stream.decide(tried, coin / COINS)
        if not isinstance(decision, Another):
            return decision
        way = decision.way
    return stream.decide([], coin / COINS)


STEPS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, COINS - 1), st.integers(0, 99)), max_size=220)


@settings(max_examples=60, deadline=None)
@given(mode=st.sampled_from(["before", "behind"]), steps=STEPS, kill=st.sets(st.integers(0, 219), max_size=4))
def test_the_record_makes_the_state(mode: str, steps: list[tuple[int, int, int]], kill: set[int]) -> None:
    """Whatever happens and whenever the gateway is killed, the events give the windows, and a stream that goes on."""
    stream, record = play(mode, steps, kill)
    assert replay(map(read_event, map(write_event, record))) == dict(stream.windows)
    again = Stream.resume(PROMISE[mode], [0.1, 0.3], record)
    assert [type(event) for event in again.take()] == ([Restarted] if stream.windows else [])
    for number, window in stream.windows.items():
        assert again.windows[number].unanswered >= window.counts.unanswered
        assert again.windows[number].counts.caught >= window.counts.caught
        assert window.counts.accepted == 0 or window.terms.credit >= 0


@settings(max_examples=60, deadline=None)
@given(mode=st.sampled_from(["before", "behind"]), steps=STEPS, kill=st.sets(st.integers(0, 219), max_size=4))
def test_notes_make_the_same_state(mode: str, steps: list[tuple[int, int, int]], kill: set[int]) -> None:
    """A stream that goes on from notes of how it stood, and from the events since, stands as all its events say: the
    same windows, the same audits out, and the same notes."""
    notes = list[tuple[int, State]]()
    _, record = play(mode, steps, kill, notes)
    whole, short = Stream.resume(PROMISE[mode], [0.1, 0.3], record), resumed(mode, record, notes)
    assert dict(short.windows) == dict(whole.windows)
    assert short.outstanding == whole.outstanding
    assert short.last == whole.last
    told, place = Replay(), 0
    for until, state in notes:
        for event in record[place:until]:
            told.apply(event)
        assert told.state() == state
        place = until


def begun(mode: str = "behind", audits: int = COINS // 2) -> tuple[Stream, list[Event]]:
    """A stream whose first window has begun, under terms that accept."""

    class Eager:
        """Accepts all it may."""

        def terms(self, window: Window | None) -> Any:
            return PROMISE[mode].terms(audits, 2)

        def first(self, window: Window, draw: float) -> int:
            return 0

        def next(self, window: Window, tried: Any, draw: float) -> bool:
            return True

        def learn(self, event: Event, decided: Any) -> None:
            return None

    stream = Stream(PROMISE[mode], [0.1], acceptance=Eager())
    return stream, list[Event]()


def test_a_coin_needs_an_accepted_request_and_is_tossed_once() -> None:
    """What was deferred, or tossed before, cannot be tossed; nor can a coin that is none."""
    stream, _ = begun()
    accepted = stream.decide([Tried(0)], 0.5)
    assert isinstance(accepted, Accepted)
    with pytest.raises(ValueError):
        stream.toss(accepted, COINS)
    with pytest.raises(ValueError):
        stream.settle(99, answered=True)
    with pytest.raises(LedgerError):
        stream.settle(accepted.request, answered=True, agreed={0: True})
    stream.toss(accepted, 0)
    with pytest.raises(LedgerError):
        stream.toss(accepted, 0)


def test_a_broken_contract_is_never_accepted() -> None:
    """An answer that is not usable is deferred, whatever the rule says."""
    stream, _ = begun()
    assert isinstance(stream.decide([Tried(0, usable=False)], 0.5), Deferred)


def test_nothing_is_accepted_beyond_the_credit() -> None:
    """After the (c + 1)-th audited miss all are deferred until the window ends; then acceptance begins again."""
    stream, _ = begun()
    accepted = 0
    while isinstance(decision := stream.decide([Tried(0)], 0.5), Accepted):
        assert stream.toss(decision, 0).audit
        stream.settle(decision.request, answered=True, agreed={0: False})
        accepted += 1
    window = stream.window
    assert window is not None
    assert window.stopped
    assert accepted == window.terms.credit + 1
    while stream.window == window or (
        stream.window is not None and stream.window.number == 1 and not stream.window.full
    ):
        assert isinstance(stream.decide([Tried(0)], 0.5), Deferred)
        assert stream.window is not None
        if stream.window.full:
            break
    assert isinstance(stream.decide([Tried(0)], 0.5), Accepted)
    assert stream.window.number == 2


@pytest.mark.parametrize("mode", ["before", "behind"])
def test_what_is_uncertain_after_a_kill_is_a_miss(mode: str) -> None:
    """A coin that may be lost, a deferral under way, an audit before delivery: caught, and without an answer."""
    stream, _ = begun(mode)
    lost = stream.decide([Tried(0)], 0.5)
    audited = stream.decide([Tried(0)], 0.5)
    deferred = stream.decide([Tried(0, usable=False)], 0.5)
    assert isinstance(lost, Accepted)
    assert isinstance(audited, Accepted)
    stream.toss(audited, 0)
    again = Stream.resume(PROMISE[mode], [0.1], stream.take())
    window = again.window
    assert window is not None
    assert window.counts.caught == 2
    assert window.unanswered == (3 if mode == "before" else 2)
    assert again.outstanding == (() if mode == "before" else (audited,))
    for request in (lost.request, deferred.request):
        with pytest.raises(ValueError):
            again.settle(request, answered=True, agreed={0: True})
    if mode == "behind":
        again.settle(audited.request, answered=True, agreed={0: True})
        assert again.window is not None
        assert again.window.counts.caught == 1


def test_more_requests_without_an_answer_than_the_reserve_are_said() -> None:
    """The window then promises more misses, and says that it fell short."""
    stream, _ = begun()
    for _ in range(3):
        deferred = stream.decide([Tried(0, usable=False)], 0.5)
        assert isinstance(deferred, Deferred)
        stream.settle(deferred.request, answered=False)
    window = stream.window
    assert window is not None
    assert window.verdict == "short"
    assert window.misses_at_most == window.terms.allowance + 1


@pytest.mark.parametrize(
    "forged",
    [
        Accepted(1, 1, (Tried(0),)),
        Tossed(1, 1, True),
        Settled(1, 1, True),
        Restarted(1),
    ],
)
def test_events_that_cannot_have_happened_are_refused(forged: Event) -> None:
    """A record in which something happens before a window is open does not hold together."""
    with pytest.raises(LedgerError):
        replay([forged])


@pytest.mark.parametrize(
    "wrong", [("1.2", "0.9", 10), ("0.9", "x", 10), ("0.9", "0.95", 0), ("0", "0.95", 10), ("0.9", "1", 10)]
)
def test_a_promise_that_makes_no_sense_is_refused(wrong: tuple[str, str, int]) -> None:
    """With an error for the user."""
    with pytest.raises(InputError):
        StreamPromise(*wrong)
