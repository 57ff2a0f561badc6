"""How batches are made and followed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How batches are made and followed. Seconds, but for rows and tries.

    poll, longest: between looks at a batch, at first and at most. quiet: without a new request until what waits goes
    out; patient: the same while rows are still on the ordinary path. search: how long a submission whose reply was lost
    is looked for. silence: how long a provider may fail to answer before the run stops. rows: that wait at once, at
    most (10 KB of memory each). tries: failures of a request until its row has an error.
    """

    poll: float = 5.0
    longest: float = 60.0
    quiet: float = 0.5
    patient: float = 30.0
    search: float = 60.0
    silence: float = 900.0
    rows: int = 25_000
    tries: int = 5
