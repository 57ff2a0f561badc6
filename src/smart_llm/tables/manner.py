"""How a file is to be read, as far as the user says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manner:
    """encoding: Python's name of it; quotes: see `dialects`; header: whether the first line names the columns. None,
    auto: found out from the file."""

    encoding: str | None = None
    quotes: str = "auto"
    header: bool | None = None


USUAL = Manner()
