"""The evidence of a mix, as its check reads it."""

from __future__ import annotations

from smart_llm.types.values import Number, Value


class PilotRows(Value, frozen=True):
    """Rows of the pilot, and those of them without an answer by the reference."""

    rows: int
    errors: int


class ProfiledRows(Value, frozen=True):
    """Rows of the evidence, those without an answer, and the others."""

    rows: int
    errors: int
    answered: int


class ShownRows(Value, frozen=True, kw_only=True):
    """What the chosen candidate did on the rows of pilot and evidence that it was asked about."""

    rows: int
    agreed: int
    bad: int
    deferred: int


class WorstError(Value, frozen=True, kw_only=True):
    """The number of bad rows at which a table errs most, the other rows, and that error."""

    bad: int
    good: int
    error: float


class StandsAt(Value, frozen=True, kw_only=True):
    """Where a finalist stands in its table: the look, rows seen, bad and fine ones, and its share of the rows left."""

    look: int
    seen: int
    bad: int
    fine: int
    share: int
    given_up: bool


class CommittedTable(Value, frozen=True, kw_only=True):
    """What was decided of a finalist before the evidence was seen. guess: the price of a call, in calls of the
    reference. looks: rows seen at each; left: rows not seen; shares: by look and number of bad rows, -1: go on; sums:
    of the shares of a look."""

    candidate: str
    guess: Number
    allowance: int
    looks: list[int]
    left: list[int]
    shares: list[list[int]]
    sums: list[int]
    worst: WorstError


class Finalist(CommittedTable, frozen=True, kw_only=True):
    """A finalist, and where it stands."""

    stop: StandsAt

    @property
    def committed(self) -> CommittedTable:
        """The part that was decided before."""
        return CommittedTable(**{name: getattr(self, name) for name in CommittedTable.__struct_fields__})


class FixedTables(Value, frozen=True, kw_only=True):
    """What the ledger recorded before the evidence was seen."""

    pilot: PilotRows
    spare: int
    finalists: tuple[CommittedTable, ...]


class MixEvidence(Value, frozen=True, kw_only=True):
    """All of it. candidate: the finalist that is used; withheld: why it is not, after all; spare: rows of the allowance
    that are kept for rows without an answer; left: rows not profiled; granted: those of them the candidate answers."""

    candidate: str | None
    allowance: int
    floor: float
    spare: int
    population: int
    left: int
    withheld: str | None
    granted: int
    pilot: PilotRows
    profiled: ProfiledRows
    finalists: tuple[Finalist, ...]
    shown: ShownRows | None
    pinned: str

    @property
    def fixed(self) -> FixedTables:
        """The part that was decided before any of it was seen."""
        finalists = tuple(each.committed for each in self.finalists)
        return FixedTables(pilot=self.pilot, spare=self.spare, finalists=finalists)
