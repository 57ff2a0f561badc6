"""Exact: the best play of an adversary who sees everything but the coin not yet tossed, by dynamic programming.

The adversary chooses what every request is (a good or a bad answer that the rule accepts wherever the counts allow it,
a deferral, a request that ends without an answer), when each coin is tossed, when each audit comes back (at once, up to
five requests later, or at the very end), whether its reference fails, and when the gateway is killed. The counts are
those that ship. Since it may accept or defer as it likes, its best play is at least as bad as any rule's.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import comb

import pytest
from msgspec.structs import replace

from smart_llm.procedures.stream import COINS, Counts, StreamPromise, Window, WindowTerms
from smart_llm.stats.audits import audit_credit, share_needed, upper_chance


class Careless(Counts, frozen=True):
    """Broken on purpose: audits that are not back, and coins not yet tossed, do not count."""

    @property
    def caught(self) -> int:
        """Audited misses known so far."""
        return self.missed + self.failed + self.lost


def plain(counts: Counts) -> Counts:
    """Counts that allow and promise the same, so that fewer states are told apart."""
    told = replace(
        counts, accepted=0, audited=0, deferred=0, failed=0, lost=0, missed=counts.missed + counts.failed + counts.lost
    )
    assert told.caught == counts.caught
    return told


class Adversary:
    """Best play against the counts of one window. peeking: the coin is tossed before the answer is chosen."""

    def __init__(self, terms: WindowTerms, start: Counts, *, peeking: bool = False, held: int = 2) -> None:
        self.terms, self.start, self.peeking, self.held = terms, start, peeking, held
        self.share = terms.audits / COINS
        self.best = lru_cache(maxsize=None)(self._best)

    def violation(self) -> float:
        """The largest probability of more misses than the window promises."""
        return self.best(self.start, 0, 0, 0)

    def _best(self, counts: Counts, bad_waiting: int, bad_held: int, delivered: int) -> float:
        """bad_waiting, bad_held: audits, and coins not yet tossed, of bad answers. delivered: bad ones gone out."""
        values = [self._end(counts, delivered)]
        if counts.decided < self.terms.requests:
            values += self._ask(counts, bad_waiting, bad_held, delivered)
        values += self._go_on(counts, bad_waiting, bad_held, delivered)
        return max(values)

    def _end(self, counts: Counts, delivered: int) -> float:
        """Whether what went out by now is more than is promised; it cannot become less."""
        window = Window(1, self.terms, counts)
        return float(delivered + counts.unanswered > window.misses_at_most - counts.deferring)

    def _ask(self, counts: Counts, waiting: int, held: int, delivered: int) -> list[float]:
        lost = counts.defer(False).settle_deferral(answered=False)
        fine = counts.defer(True)
        values = [self.best(plain(each), waiting, held, delivered) for each in (lost, fine)]
        if not counts.may_accept(self.terms):
            return values
        if self.peeking:
            good = self._toss(counts.accept(), waiting, held, delivered, bad=False)
            bad = self._toss(counts.accept(), waiting, held, delivered, bad=True)
            return [*values, sum(max(g, b) for g, b in zip(good, bad, strict=True))]
        if counts.untossed < self.held:
            values += [self.best(plain(counts.accept()), waiting, held + bad, delivered) for bad in (0, 1)]
        return values

    def _toss(self, counts: Counts, waiting: int, held: int, delivered: int, *, bad: bool) -> tuple[float, float]:
        """The two parts of the value: audited, not audited."""
        behind = self.terms.mode == "behind"
        audited = self.best(plain(counts.toss(True)), waiting + bad, held, delivered + (bad and behind))
        free = self.best(plain(counts.toss(False)), waiting, held, delivered + bad)
        return self.share * audited, (1 - self.share) * free

    def _go_on(self, counts: Counts, waiting: int, held: int, delivered: int) -> list[float]:
        """A coin, an audit that comes back, or a kill."""
        values = []
        if held:
            values.append(sum(self._toss(counts, waiting, held - 1, delivered, bad=True)))
        if counts.untossed > held:
            values.append(sum(self._toss(counts, waiting, held, delivered, bad=False)))
        for bad, number in ((True, waiting), (False, counts.waiting - waiting)):
            if number:
                back = [counts.settle_audit(True, not bad, self.terms), counts.settle_audit(False, False, self.terms)]
                values += [self.best(plain(each), waiting - bad, held, delivered) for each in back]
        killed = plain(counts.restart(self.terms, 0))
        if killed != counts:
            kept = waiting if self.terms.mode == "behind" else 0
            values.append(self.best(killed, kept, 0, delivered))
        return values


def terms(requests: int, allowance: int, reserve: int, credit: int, alpha: float, mode: str) -> WindowTerms:
    """With the smallest probability of an audit for that credit; the credit is worked out again from it."""
    promise = StreamPromise(f"{requests - allowance}/{requests}", str(1 - alpha), requests, mode)
    assert promise.allowance == allowance
    share = share_needed(allowance - reserve, credit, promise.alpha, delivered=mode == "behind")
    made = promise.terms(min(COINS, int(share * COINS) + 2), reserve)
    assert made.credit == credit
    return made


CELLS = [
    (9, 2, 0, 0, 0.1),
    (9, 3, 0, 0, 0.3),
    (9, 3, 1, 1, 0.5),
    (10, 4, 0, 1, 0.3),
    (10, 4, 1, 2, 0.5),
    (9, 4, 2, 0, 0.05),
]


@pytest.mark.parametrize("mode", ["before", "behind"])
@pytest.mark.parametrize(("requests", "allowance", "reserve", "credit", "alpha"), CELLS)
def test_no_adversary_breaks_it(
    requests: int, allowance: int, reserve: int, credit: int, alpha: float, mode: str
) -> None:
    """The best play violates with probability ≤ α, and it attains what the lemma says."""
    made = terms(requests, allowance, reserve, credit, alpha, mode)
    worst = Adversary(made, Counts()).violation()
    bound = upper_chance(allowance - reserve, credit, made.audit_share, delivered=mode == "behind")
    assert worst <= bound <= alpha
    if requests >= allowance + 1 + credit:
        assert worst == pytest.approx(bound, rel=1e-6)


@pytest.mark.parametrize("mode", ["before", "behind"])
def test_a_coin_tossed_before_the_decision_is_found_out(mode: str) -> None:
    """Broken on purpose: whoever sees the coin first breaks the promise far more often."""
    made = terms(9, 3, 1, 0, 0.3, mode)
    assert Adversary(made, Counts(), peeking=True).violation() > 0.9


@pytest.mark.parametrize("mode", ["before", "behind"])
def test_audits_not_back_that_do_not_count_are_found_out(mode: str) -> None:
    """Broken on purpose: an adversary who holds audits back until the end breaks the promise."""
    made = terms(9, 3, 1, 0, 0.3, mode)
    assert Adversary(made, Careless()).violation() > 0.6


@pytest.mark.parametrize("mode", ["before", "behind"])
def test_one_credit_too_many_is_found_out(mode: str) -> None:
    """Broken on purpose: one audited miss more than the binomial law allows."""
    made = terms(10, 3, 0, 0, 0.3, mode)
    assert Adversary(replace(made, credit=1), Counts()).violation() > 0.3


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5])
def test_the_credit_is_the_largest_exactly(alpha: float, delivered: bool) -> None:
    """By sums of whole binomial terms: P(Bin ≤ c) ≤ α < P(Bin ≤ c + 1), rounding apart."""

    def tail(trials: int, count: int, share: Fraction) -> Fraction:
        return sum((comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count + 1)), Fraction())

    for allowance in (0, 1, 5, 30, 120):
        for share in (Fraction(1, 64), Fraction(1, 8), Fraction(1, 2)):
            credit = audit_credit(allowance, float(share), alpha, delivered=delivered)
            trials = [allowance if delivered else allowance + 1 + c for c in range(credit + 2)]
            assert credit < 0 or tail(trials[credit], credit, share) <= Fraction(alpha)
            following = credit + 1
            assert following >= trials[following] or tail(trials[following], following, share) >= Fraction(alpha)
