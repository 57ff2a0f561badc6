"""The shares that users write: read exactly, and what they come to on a table."""

from __future__ import annotations

import math
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from functools import lru_cache

from smart_llm.errors import InputError


def floor_share(value: str | float | Fraction) -> Fraction:
    """`--floor`, exactly: at least one half; `InputError` says so."""
    exact = share("--floor", value)
    if exact < Fraction(1, 2):
        raise InputError(f"--floor {value}: at least 0.5; candidates below one half are never delivered.")
    return exact


def share(option: str, value: str | float | Fraction) -> Fraction:
    """The exact decimal the user wrote, strictly between 0 and 1; `InputError` names the option."""
    try:
        exact = value if isinstance(value, Fraction) else Fraction(str(value))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InputError(f"{option} {value}: not a number; write a share such as 0.95.") from None
    if not 0 < exact < 1:
        percent = f" For {float(exact):g} % write {float(exact / 100):g}." if 1 < exact < 100 else ""
        raise InputError(f"{option} {value}: must lie between 0 and 1, both excluded.{percent}")
    return exact


def decimal(option: str, value: str | float | Fraction) -> str:
    """The same as plain digits, which is how plans and certificates say it; `InputError` where it has no such form."""
    exact, context = share(option, value), Context(prec=60, traps=[Inexact])
    try:
        return format(context.divide(Decimal(exact.numerator), Decimal(exact.denominator)), "f")
    except Inexact:
        raise InputError(f"{option} {value}: write it as a decimal of at most 60 digits, such as 0.95.") from None


@lru_cache(maxsize=256)  # procedures ask for the same at every step
def allowed(rows: int, agreement: Fraction) -> int:
    """B = N − ⌈agreement · N⌉: how many of so many delivered rows may be misses."""
    return rows - math.ceil(agreement * rows)


@lru_cache(maxsize=64)
def complement(confidence: Fraction) -> float:
    """1 − confidence, rounded down."""
    exact = 1 - confidence
    value = float(exact)
    return value if Fraction(value) <= exact else math.nextafter(value, 0.0)
