"""What the shipped way of accepting costs, in traffic whose risks are known."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from time import process_time

import numpy as np
import pytest

from smart_llm.procedures.stream import Stream, StreamPromise, Thrift, Tried
from smart_llm.procedures.stream.beliefs import Curve, falling
from smart_llm.procedures.stream.pacing import Outlook, least_limit, pace
from smart_llm.simulation.stream import Coming, Drive, Traffic, WindowOutcome

PROMISE = StreamPromise("0.9", "0.95", 1_000, "behind")


def traffic(*ways: tuple[float, float], scored: bool = True, usable: float = 1.0) -> Traffic:
    """Calm traffic. ways: (price, mean risk); one in three answers is seven times as risky, as its score says."""

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        answers, bad = [], []
        for way, (price, risk) in enumerate(ways):
            hard = bool(draw.random() < 1 / 3)
            wrong = bool(draw.random() < min(1.0, risk * (7 / 3 if hard else 1 / 3)))
            score = float(draw.normal() - 2 * hard) if scored else None
            answers.append(Tried(way, bool(draw.random() < usable), score, price))
            bad.append(wrong)
        return Coming(tuple(answers), tuple(bad))

    return next_one


def run(made: Traffic, prices: list[float], windows: int = 6, promise: StreamPromise = PROMISE) -> list[WindowOutcome]:
    """The windows of one stream."""
    drive = Drive(Stream(promise, prices), made, np.random.default_rng(6))
    return drive.run(promise.window * windows)


def mean(outcomes: list[WindowOutcome], of: Callable[[WindowOutcome], float], after: int = 2) -> float:
    """Over the windows after the first ones."""
    return float(np.mean([of(each) for each in outcomes[after:]]))


def test_a_good_way_saves_most_of_the_cost() -> None:
    """At a mean risk well below the allowance nearly everything is accepted."""
    told = run(traffic((0.05, 0.03)), [0.05])
    assert mean(told, lambda each: each.rate) < 0.2


def test_the_allowance_is_used_up_about_when_the_window_ends() -> None:
    """Where the allowance binds, acceptance goes on in the last fifth of most windows, and little is left over."""
    told = run(traffic((0.05, 0.2)), [0.05], windows=14)
    ended = [each.ended for each in told[2:] if each.ended is not None]
    left = [window.terms.credit + 1 - window.counts.caught for window in ended]
    assert np.mean(left) < 0.3 * np.mean([window.terms.credit + 1 for window in ended])
    assert mean(told, lambda each: each.accepted) > 400


def test_without_scores_a_share_is_accepted_and_only_that_is_asked() -> None:
    """Nothing tells answers apart: whoever is not accepted was not asked, after the pilot."""
    told = run(traffic((0.3, 0.2), scored=False), [0.3])
    assert mean(told, lambda each: each.accepted) > 200
    for each in told[2:]:
        assert each.ended is not None
        audits = each.ended.counts.audited
        assert each.cost == pytest.approx(1_000 - each.accepted + audits + 0.3 * each.accepted, abs=0.3 * 25)


@pytest.mark.parametrize(("price", "risk"), [(0.97, 0.02), (0.3, 0.9), (0.6, 0.42)])
def test_a_useless_way_costs_next_to_nothing(price: float, risk: float) -> None:
    """Too expensive, or mostly wrong: the reference alone, and at most a fiftieth more."""
    told = run(traffic((price, risk)), [price])
    assert np.mean([each.rate for each in told]) < 1.02


def test_the_better_of_two_ways_is_found() -> None:
    """Whichever comes first, and also where a price was not what was said."""
    for ways, prices in (
        ([(0.02, 0.4), (0.1, 0.03)], [0.02, 0.1]),
        ([(0.1, 0.03), (0.02, 0.4)], [0.1, 0.02]),
        ([(0.5, 0.05), (0.1, 0.05)], [0.1, 0.5]),
    ):
        told = run(traffic(*ways), prices)
        assert mean(told, lambda each: each.rate) < 0.35


def test_answers_that_break_the_contract_are_deferred() -> None:
    """A way that answers half of the time is worth half."""
    told = run(traffic((0.05, 0.02), usable=0.5), [0.05])
    assert 0.5 < mean(told, lambda each: each.rate) < 0.75


def test_a_warm_start_accepts_from_the_first_request() -> None:
    """What a table run has shown spares the pilot."""
    draw, made = np.random.default_rng(8), traffic((0.05, 0.03))
    stream = Stream(PROMISE, [0.05])
    for _ in range(300):
        coming = made(stream, draw)
        stream.teach(coming.answers[0], not coming.bad[0], coming.cost)
    assert stream.first(0.5) == 0
    assert stream.window is not None
    assert stream.window.terms.credit >= 0
    warm = Drive(stream, made, np.random.default_rng(6)).run(1_000)[0]
    cold = run(made, [0.05], windows=1)[0]
    assert warm.rate < cold.rate


def test_a_resumed_stream_believes_the_same() -> None:
    """Its memories are those of the stream that was stopped."""
    made, record = traffic((0.05, 0.1)), []

    class Kept(Stream):
        """Keeps its events."""

        def take(self):  # type: ignore[no-untyped-def]
            told = super().take()
            record.extend(told)
            return told

    stream = Kept(PROMISE, [0.05])
    Drive(stream, made, np.random.default_rng(6)).run(2_500)
    again = Stream.resume(PROMISE, [0.05], record)
    before, after = stream.acceptance, again.acceptance
    assert isinstance(before, Thrift)
    assert isinstance(after, Thrift)
    assert before.memories[0].believe(2_500, 1e4) == after.memories[0].believe(2_500, 1e4)
    assert again.first(0.5) == 0


def test_the_table_is_what_it_says() -> None:
    """At one audited miss left and risk r everywhere, what is saved is that of accepting all until it comes."""
    share, risk, requests = 0.1, 0.05, 400
    told = pace(Outlook(np.array([risk]), np.ones(1), 0.0, False), requests, 0, share, steps=4_000)
    rate = share * risk
    assert told.value == pytest.approx((1 - share) * (1 - exp(-rate * requests)) / rate, rel=0.01)
    assert told.limit(400, 0) == 0
    assert told.limit(400, 1) < told.limit(20, 1)


def test_asking_pays_from_the_limit_on_that_is_said() -> None:
    """Below it the expected saving is less than the price, above it more."""
    outlook = Outlook(np.array([0.01, 0.1, 0.4]), np.array([0.5, 0.3, 0.2]), 0.2, False)
    limit = least_limit(outlook, 0.1)

    def saved(at: float) -> float:
        return 0.9 * float(np.maximum(0, 1 - outlook.risk / at) @ outlook.share) - outlook.price

    assert saved(limit * 0.99) < 0 < saved(limit * 1.01)


def test_curves_fall_and_pool_what_rises() -> None:
    """The pooled rates are the weighted means of neighbours that rise; a curve is read the same way in both forms."""
    assert falling(np.array([0.1, 0.3, 0.2]), np.array([1.0, 1.0, 2.0])).tolist() == pytest.approx([0.2, 0.2, 0.2])
    curve = Curve((0.0, 1.0, 3.0), (0.5, 0.2, 0.1), (0.3, 0.3, 0.4))
    for number in (-1.0, 0.0, 0.5, 1.0, 2.5, 9.0):
        assert curve.one(number) == pytest.approx(float(curve(np.array([number]))[0]))


def test_odd_numbers_are_no_trouble() -> None:
    """Scores and traits that are no numbers, too few or too many traits, no ways, ways that cost nothing."""
    draw = np.random.default_rng(9)
    odd = [float("nan"), float("inf"), -float("inf"), 1e300, 0.0, None]

    def next_one(stream: Stream, _: np.random.Generator) -> Coming:
        traits = tuple(odd[draw.integers(5)] or 0.0 for _ in range(draw.integers(4)))
        score = odd[draw.integers(6)] if draw.random() < 0.3 else float(draw.normal())
        return Coming((Tried(0, True, score, 0.0, int(draw.integers(3)), traits),), (bool(draw.random() < 0.05),))

    told = run(next_one, [0.0])
    assert mean(told, lambda each: each.rate) < 0.6
    none = Stream(PROMISE, [])
    for _ in range(1_500):
        assert none.first(0.999) is None
        none.decide([], 0.999)


def test_a_window_of_a_million_opens_in_no_time() -> None:
    """The tables that the terms are chosen by do not grow with the window without bound."""
    draw, made = np.random.default_rng(8), traffic((0.05, 0.08))
    stream = Stream(StreamPromise("0.95", "0.95", 1_000_000, "behind"), [0.05])
    for _ in range(600):
        coming = made(stream, draw)
        stream.teach(coming.answers[0], not coming.bad[0], coming.cost)
    start = process_time()
    assert stream.first(0.5) == 0
    assert process_time() - start < 5
