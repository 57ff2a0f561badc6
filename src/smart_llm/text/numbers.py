"""Numbers as a report writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction
from math import floor, log10


def usd(value: float) -> str:
    """Cents from ten cents on, whole dollars from a thousand on, else three digits that matter."""
    if value == 0:
        return "$0"
    if abs(value) >= 0.1:
        return f"${value:,.0f}" if abs(value) >= 1000 else f"${value:,.2f}"
    return f"${value:.{2 - floor(log10(abs(value)))}f}"


def spending(total: float, failed: float, verb: str) -> str:
    """What was spent; what calls without an answer (failed, or cut off by a kill) may have cost is named apart where it
    matters: it is an upper limit, and savings leave it out."""
    if failed <= 0.01 * total:
        return f"{usd(total)} {verb}"
    return f"{usd(total - failed)} {verb} and at most {usd(failed)} for calls without an answer"


def percent(share: float) -> str:
    """One decimal, but none for the whole and for nothing."""
    text = f"{share * 100:.1f}"
    return f"{text.removesuffix('.0')} %"


def percents(text: str) -> str:
    """A share written as a decimal or a fraction, in per cent and exactly: never rounded to a promise of more."""
    share = Fraction(text) * 100
    with localcontext(prec=max(28, len(text) + 2), rounding=ROUND_DOWN):
        exact = Decimal(share.numerator) / Decimal(share.denominator)
        return f"{exact.normalize():f} %"


def count(number: int, one: str, many: str | None = None) -> str:
    """So many of something."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(seconds: float) -> str:
    """Day and time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def day(seconds: float) -> str:
    """The day, UTC, in words."""
    then = datetime.fromtimestamp(seconds, UTC)
    return f"{then.day} {then:%B %Y}"


def duration(seconds: float) -> str:
    """Two units at most."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"
