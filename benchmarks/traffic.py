"""Traffic for `stream.py`, made up: what a stream may meet. Each is a `Traffic` of `simulation.stream`.

calm        the risk of an answer follows from its score, and goes on doing so
break       from some request on, in the middle of a window, nearly every answer is bad, and as sure of itself as before
drift       risks rise from one in twelve to one in two, slowly, and the scores do not show it
attacker    good answers until the stream has become bold, then bad ones that look sure, until acceptance ends
shameless   bad answers that look sure, whenever they would be accepted
bursts      requests that ask the same come in bursts of up to 80, good or bad together
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import numpy as np

from smart_llm.procedures.stream import Stream, Thrift, Tried
from smart_llm.simulation.stream import Coming, Traffic

PRICE = 0.05
LEVEL = 0.08
"""Mean risk of calm traffic."""
TRUSTED = 3
"""Windows in which an attacker behaves."""


def answer(draw: np.random.Generator, level: float) -> Coming:
    """One answer whose score tells something of its risk. level: mean risk, roughly."""
    score = float(draw.normal())
    risk = 1 / (1 + exp(-(log(level / (1 - level)) - 0.5 - 1.2 * score)))
    return shown(score, bool(draw.random() < risk))


def shown(score: float | None, bad: bool, repeats: int | None = None, fails: bool = False) -> Coming:
    """A request with one way of answering."""
    return Coming((Tried(0, True, score, PRICE),), (bad,), repeats=repeats, fails=fails)


def calm(seed: int) -> Traffic:
    """See the top; one request in a thousand gets no answer from the reference."""

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        told = answer(draw, LEVEL)
        return shown(told.answers[0].score, told.bad[0], fails=bool(draw.random() < 0.001))

    return next_one


def sudden(seed: int) -> Traffic:
    """Breaks at some place of every third window, and is mended when the window ends."""

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        told, window = answer(draw, LEVEL), stream.window
        if window is None or window.number % 3:
            return told
        place = np.random.default_rng([seed, window.number]).random() * window.terms.requests
        spoilt = window.counts.decided > place and draw.random() < 0.9
        return shown(told.answers[0].score, bool(spoilt or told.bad[0]))

    return next_one


def drift(seed: int) -> Traffic:
    """Up and down again within twenty windows."""

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        window = stream.window
        now = 0.0 if window is None else window.number + window.counts.decided / window.terms.requests
        told = answer(draw, LEVEL)
        more = 0.4 * abs(((now + seed) / 10) % 2 - 1)
        return shown(told.answers[0].score, bool(told.bad[0] or draw.random() < more))

    return next_one


def attacker(seed: int) -> Traffic:
    """Attacks in the windows' second parts, where what is left has made the limit of risk rise above its usual."""
    usual: list[float] = []

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        told, window = answer(draw, LEVEL), stream.window
        if window is None or not isinstance(stream.acceptance, Thrift) or stream.acceptance.plan is None:
            return told
        limit = stream.acceptance.limit(window, stream.acceptance.plan)
        usual.append(limit)
        bold = len(usual) > 50 and limit >= float(np.median(usual[-200:]))
        return shown(4.0, True) if bold and window.may_accept else told

    return next_one


def shameless(seed: int) -> Traffic:
    """Calm for a few windows, so that it is trusted."""

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        window = stream.window
        trusting = window is not None and window.number > TRUSTED and window.may_accept
        return shown(4.0, True) if trusting else answer(draw, LEVEL)

    return next_one


def peeking(seed: int) -> Traffic:
    """Shameless, but it knows the coin that comes next, and is good where that says audit."""

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        window = stream.window
        if window is None or window.number <= TRUSTED or not window.may_accept:
            return answer(draw, LEVEL)
        coin = getattr(stream, "coming", None)
        return shown(4.0, coin is not None and coin >= window.terms.audits)

    return next_one


def bursts(seed: int) -> Traffic:
    """See the top. Once the reference has answered one of them, the ledger knows the answer to the others."""
    left, now, number = 0, shown(0.0, False), 0

    def next_one(stream: Stream, draw: np.random.Generator) -> Coming:
        nonlocal left, now, number
        if left == 0:
            left, number = int(draw.integers(1, 80)), number + 1
            told = answer(draw, LEVEL)
            now = shown(told.answers[0].score, told.bad[0], repeats=number)
        left -= 1
        return now

    return next_one


KINDS: dict[str, Callable[[int], Traffic]] = {
    "calm": calm,
    "break": sudden,
    "drift": drift,
    "attacker": attacker,
    "shameless": shameless,
    "bursts": bursts,
}
