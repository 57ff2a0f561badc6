"""Rows set aside: those of a pilot bought before the run, under whatever prompt.

Somebody may have read them and tuned a prompt on them, so they are never evidence, under this or a later prompt, model
or agreement. The ledger records them as belonging to the table, before anything about them is bought. A run that starts
later delivers them with the reference's answer to its own prompt and samples from the other rows only, the
*population*. Procedures speak of places in the population, everything else of positions in the table; both are in the
table's order.

Rows that an earlier run of the same command has answered, before others were added to its table, are set aside as well:
they are delivered as they were then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smart_llm.ledger import Ledger, Reader
from smart_llm.types import Ints, Json
from smart_llm.types.plan import FrozenPlan

Entry = TypeVar("Entry", bound=np.generic)

PILOT = "pilot"
"""Kind of the events that record piloted rows; they belong to the table's hash, as others belong to a run."""
SET_ASIDE = "set aside"
"""Kind of the event by which a run records the reference's answers to the rows it set aside."""


@dataclass(frozen=True, eq=False)
class Aside:
    """Which rows of a table are set aside. rows: of the table; positions: increasing; there: rows at the beginning that
    are delivered as in the run that is continued."""

    rows: int
    positions: Ints
    there: int = 0

    @classmethod
    def of(cls, plan: FrozenPlan) -> Aside:
        """As a plan says."""
        positions = np.array(plan.set_aside, np.int64)
        there = 0 if plan.grown is None else plan.grown.rows
        return cls(plan.rows, np.union1d(positions, np.arange(there)), there)

    @cached_property
    def population(self) -> Ints:
        """The positions of the rows a run may sample, in the table's order."""
        return np.setdiff1d(np.arange(self.rows), self.positions, assume_unique=True)

    def spread(self, values: NDArray[Entry]) -> NDArray[Entry]:
        """Shape (rows,): what belongs to places of the population, at their positions in the table; else 0."""
        whole = np.zeros(self.rows, values.dtype)
        whole[self.population] = values
        return whole


def record_once(ledger: Ledger, run_id: str, kind: str, payload: Json) -> None:
    """Record an event; where the last of its kind says the same it is not written again, so that a resumed run
    adds nothing."""
    if ledger.latest(run_id, kind) != payload:
        ledger.event(run_id, kind, payload)


def piloted(reader: Reader, table: str, *, before: int | None = None) -> list[int]:
    """Positions of this table's rows that were piloted, increasing. before: the number of an event; later ones do not
    count."""
    events = [each for each in reader.events(table) if each.kind == PILOT and (before is None or each.number < before)]
    return sorted({row for each in events for row in each.payload["positions"]})
