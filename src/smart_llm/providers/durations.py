"""Times from now on, in the forms in which servers name them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: str | None, now: float) -> float | None:
    """A time from now on: `17.5`, `250ms`, `1m30s`, a date, or seconds since 1970. None: nothing that is understood."""
    if text is None:
        return None
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        parts = _PARTS.findall(text)
        if parts and "".join(map("".join, parts)) == text:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
        return _until(text, now)
    return max(0.0, value - now if value > 1e9 else value)


def _until(text: str, now: float) -> float | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
