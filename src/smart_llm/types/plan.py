"""The plan of a run: frozen and hashed before anything is bought, and everything that decides the answers.

The user decides a `Command`; what is drawn or looked up when the run begins makes a `FrozenPlan` of it. Ledgers and
certificates hold the plan as JSON. Its hash is made from the canonical form of that JSON, keys sorted, so the order of
the fields here does not matter, and a field added later has a default, which is left out.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from smart_llm.errors import LedgerError
from smart_llm.types.calls import Json, LongPrices, Rate
from smart_llm.types.values import Number, Value

FORMAT = "smart-plan/2"
"""Of the form of plans; runs of other forms are not resumed."""
Settings: TypeAlias = dict[str, dict[str, int | str]]
"""By model: what decides its answers besides its name (`Model.settings`)."""


class DescribedFunction(Value, frozen=True, kw_only=True):
    """A function of the user's own. hash: of what it does; parts: short hashes of what it names itself; unhashed: the
    names of what it refers to that could not be hashed."""

    name: str
    hash: str
    parts: dict[str, str]
    unhashed: tuple[str, ...] = ()


class DescribedTask(Value, frozen=True, kw_only=True):
    """Everything that decides prompts, answers and agreement. schema: JSON text. equivalence: a name, or a function."""

    prompt: str
    system: str | None
    contract: str
    labels: tuple[str, ...] | None
    schema: str | None
    equivalence: str | DescribedFunction
    tolerance: Number | None
    parse: DescribedFunction | None
    max_tokens: int

    @property
    def functions(self) -> dict[str, DescribedFunction]:
        """The user's own functions, by their role."""
        roles = {"parse": self.parse, "equivalence": self.equivalence}
        return {role: each for role, each in roles.items() if isinstance(each, DescribedFunction)}


class FrozenModel(Value, frozen=True, kw_only=True):
    """A model as it is used in the run: its prices (`Rate`), whether it is asked by batch, and how many further answers
    are drawn to every row."""

    name: str
    input: Number
    output: Number
    cached: Number | None
    cpu_hour: Number
    source: str
    written: Number | None
    batch_input: Number | None
    batch_output: Number | None
    batch_cached: Number | None
    batch_written: Number | None
    long: tuple[LongPrices, ...]
    batch_long: tuple[LongPrices, ...]
    batch: bool = False
    draws: int = 0
    call: Number | None = None

    @property
    def rate(self) -> Rate:
        """Its prices."""
        return Rate(**{name: getattr(self, name) for name in RATES})


RATES = tuple(Rate.__dataclass_fields__)
"""The fields of a `FrozenModel` that are prices."""


class GivenLabels(Value, frozen=True, kw_only=True):
    """Labels that the user has named. name: of the file, and of its column; digest: of texts and labels."""

    name: str
    labels: int
    digest: str


class KnownLabels(Value, frozen=True, kw_only=True):
    """What a taught candidate is taught with beforehand. rows: of the table, which the reference had answered and which
    are set aside; answers: the reference's, of these rows and of other texts; given: labels that the user has named;
    last: the number of the last answer in the ledger; digest: of texts and answers."""

    rows: int
    answers: int
    given: int
    last: int
    digest: str

    @property
    def labels(self) -> int:
        """All of them."""
        return self.answers + self.given


class Command(Value, frozen=True, kw_only=True):
    """What the user decided: a run is found again by it. table: its hash. agreement, confidence, floor, per_label:
    exact decimals. asked_seed: the seed the user gave. label_rows: of how many rows a label must be for the promise per
    label. batch: whether any model is asked by batch. ways: by a candidate's name, how it is asked, if not as the task
    says. learn_from: labels for a taught candidate that the user has named."""

    format: str
    table: str
    rows: int
    task: DescribedTask
    reference: str
    candidates: tuple[str, ...]
    settings: Settings
    agreement: str
    confidence: str
    procedure: str
    asked_seed: int | None
    floor: str
    per_label: str | None
    label_rows: int | None
    batch: bool = False
    ways: dict[str, dict[str, int | str]] = msgspec.field(default_factory=dict)
    learn_from: tuple[GivenLabels, ...] = ()

    @property
    def names(self) -> list[str]:
        """The models, the reference first."""
        return [self.reference, *self.candidates]


class GrownFrom(Value, frozen=True, kw_only=True):
    """An earlier run of the same command, on the first rows of the table, whose answers are delivered again. run: its
    id; design: the hash of what it had decided before its look; rows: of its table; looks: rows, credit and rows looked
    at of the looks behind these answers, the first one first. excess: where the first of these rows were left to a mix,
    pairs (count, chance): it hands over more bad rows than the count with that chance at most. tables: hash and rows of
    the tables that have grown into this one, the first one first: rows share calls with those they came with."""

    run: str
    design: str
    rows: int
    tables: tuple[tuple[str, int], ...]
    looks: tuple[tuple[int, int, int], ...]
    excess: tuple[tuple[int, float], ...] = ()


class FrozenPlan(Command, frozen=True, kw_only=True):
    """The whole plan. drawn: the number the order's seed was drawn with; None where the user's own was enough.
    given_up: earlier runs of the same command whose record could not be reproduced. reserve: rows of the allowance that
    are kept for rows without an answer. set_aside: positions of rows that earlier pilots, or runs,
    have asked about. grown: the run that this one continues, on rows that were added to its table. known: what a taught
    candidate knows beforehand."""

    drawn: int | None
    given_up: int
    seed: int
    models: tuple[FrozenModel, ...]
    reserve: int
    set_aside: tuple[int, ...] = ()
    grown: GrownFrom | None = None
    known: KnownLabels | None = None

    @property
    def tables(self) -> tuple[tuple[str, int], ...]:
        """Hash and rows of the tables that have grown into the table of the run, and last of this one itself."""
        return (*(() if self.grown is None else self.grown.tables), (self.table, self.rows))

    @property
    def command(self) -> Command:
        """The part of it that the user decided."""
        return Command(**{name: getattr(self, name) for name in Command.__struct_fields__})


def frozen_plan(value: Json, of: str = "the plan") -> FrozenPlan:
    """A plan from its JSON; `LedgerError` in one line for another format, or for fields that do not fit.

    of: what the error calls it.
    """
    said = value.get("format") if isinstance(value, dict) else None
    if said != FORMAT:
        form = f"is of the format {said}" if isinstance(said, str) else "is of no known format"
        raise LedgerError(f"{of} {form}; this version of smart-llm reads {FORMAT}.")
    try:
        return msgspec.convert(value, FrozenPlan)
    except msgspec.ValidationError as error:
        raise LedgerError(f"{of} is malformed: {error}.") from error
