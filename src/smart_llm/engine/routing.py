"""Which answer a row is delivered that profiling left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smart_llm.cascades import assign
from smart_llm.engine.aside import Aside
from smart_llm.stats.sampling import uniforms
from smart_llm.types import Cascade, Verdict


@dataclass(frozen=True)
class Routing:
    """Which answer rows are delivered that profiling left. chosen: shape (rows,), the model that answers each row first
    (0 = reference) where there is no cascade; u: shape (rows,), the rows' blank scores."""

    cascade: Cascade | None
    chosen: NDArray[np.int8]
    u: NDArray[np.uint64]

    @classmethod
    def of(cls, verdict: Verdict, seed: int, aside: Aside) -> Routing:
        """By a certified rule, for the whole table."""
        rows = len(aside.population)
        if isinstance(verdict.rule, Cascade):
            return cls(verdict.rule, np.empty(0, np.int8), aside.spread(uniforms(seed, "shares", rows)))
        return cls(None, aside.spread(assign(verdict, seed, rows).astype(np.int8)), np.empty(0, np.uint64))
