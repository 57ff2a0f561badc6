"""What is promised of every window, and the terms under which one window runs."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Literal, TypeAlias

from msgspec import Struct

from smart_llm.errors import InputError
from smart_llm.stats.audits import audit_credit

Mode: TypeAlias = Literal["before", "behind"]
"""When an audit takes place: before the answer goes out (the reference's goes out instead), or behind it."""
COINS = 2**32
"""A coin is a whole number below this, drawn from the operating system's randomness."""
SMALLEST, LARGEST = 1, 10_000_000
"""Requests of a window."""


class StreamPromise(Struct, frozen=True):
    """What a route promises. agreement, confidence: exact decimals, as the user wrote them. window: N, in requests."""

    agreement: str
    confidence: str
    window: int
    mode: Mode = "behind"

    def __post_init__(self) -> None:
        for name in ("agreement", "confidence"):
            if not 0 < _exact(name, getattr(self, name)) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: it lies between 0 and 1.")
        if not SMALLEST <= self.window <= LARGEST:
            raise InputError(f"window = {self.window}: from {SMALLEST} to {LARGEST:,} requests.")
        if self.mode not in ("before", "behind"):
            raise InputError(f'audit = {self.mode}: it is "before" or "behind".')

    @property
    def allowance(self) -> int:
        """B: misses allowed in a window, those without an answer included."""
        return self.window - ceil(_exact("agreement", self.agreement) * self.window)

    @property
    def alpha(self) -> float:
        """How probable a broken window may be; rounded down."""
        exact = 1 - _exact("confidence", self.confidence)
        return float(exact) if Fraction(float(exact)) <= exact else float(exact) * (1 - 1e-15)

    def terms(self, audits: int, reserve: int) -> WindowTerms:
        """Those of a window with this audit probability, in coins, and this reserve; the credit follows."""
        allowance = self.allowance - reserve
        credit = audit_credit(allowance, audits / COINS, self.alpha, delivered=self.mode == "behind")
        return WindowTerms(self.window, self.allowance, reserve, audits, credit, self.mode)


class WindowTerms(Struct, frozen=True):
    """Of one window, fixed when it opens.

    requests: N. allowance: B. reserve: the part of it that is kept for requests that end without an answer. audits: how
    many of the `COINS` coins say that an accepted answer is audited. credit: c, audited misses with which acceptance
    may still go on (−1: nothing is accepted).
    """

    requests: int
    allowance: int
    reserve: int
    audits: int
    credit: int
    mode: Mode

    @property
    def audit_share(self) -> float:
        """p: the probability of an audit."""
        return self.audits / COINS


def _exact(name: str, text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{name} = {text}: a decimal between 0 and 1 is expected.") from None
