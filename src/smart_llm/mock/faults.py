"""How often calls to the mock go wrong, and in which way."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Faults:
    """The share of calls, in [0, 1], that goes wrong in each way; at most one way per call.

    throttle: 429 with Retry-After · error: 500 · hang: silence, then the connection is dropped · drop: the connection
    is dropped at once · broken: JSON that ends early · truncated: half the body, then the connection is dropped.
    """

    throttle: float = 0.0
    error: float = 0.0
    hang: float = 0.0
    drop: float = 0.0
    broken: float = 0.0
    truncated: float = 0.0

    @classmethod
    def all(cls, share: float) -> Faults:
        """Every kind with the same share."""
        return cls(*[share] * len(fields(cls)))
