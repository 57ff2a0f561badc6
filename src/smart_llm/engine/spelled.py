"""`--ways auto`: the ways in which each candidate might sensibly be asked, by what the table looks like.

Packs pay where the instructions are long beside the rows, and are the larger, the longer they are; a server that can be
made to keep to a schema keeps a large pack in order. The beginning of a text may be enough where texts are long. The
ways are part of the plan like any that the user writes, and follow from task, table and models alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from smart_llm.errors import InputError
from smart_llm.learned import closed
from smart_llm.providers import specs
from smart_llm.providers.endpoints import DIALECTS
from smart_llm.providers.enforced import AUTO
from smart_llm.providers.specs import LEARNED
from smart_llm.tables import Table
from smart_llm.tasks import Task, packs
from smart_llm.types import Model, Way

TAUGHT = 2000
"""Rows of a table from which on a candidate that is taught in the run may pay."""
FEWEST = 200
"""Different rows that are worth teaching anything with."""
MOST = 30
"""Ways of all candidates together."""
SMALL, LARGE = 8, 32
"""Rows in a call."""
WORTH, FURTHER = 1.2, 1.1
"""How many times cheaper a row must be in a small pack than alone, and in a large one than in a small one."""
LONG, SHOWN = 4000, 2000
"""Characters of a row from which on showing its beginning is tried, and how many are shown."""
FRAME, AROUND = len(packs.FRAME), 30
"""Bytes around the items of a pack, and around each of them."""
NO_WAY = (
    "--ways auto adds no way of asking here. It adds packs where the instructions are long beside the rows, the "
    "beginning alone where rows are long, and a candidate that learns in the run where there are labels and "
    f"{TAUGHT:,} rows or more."
)
SAMPLE = 200
"""Rows looked at."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What decides which ways are sensible: bytes of the instructions and of a row, in the mean; characters of a row;
    tokens an answer may take."""

    instructions: float
    row: float
    characters: float
    room: int

    @classmethod
    def of(cls, task: Task, table: Table) -> Looks:
        """Of a task and a table, by some of its rows."""
        template, rows = task.template(table.columns), np.linspace(0, table.rows - 1, min(SAMPLE, table.rows))
        texts = ["".join(row.values()) for row in table.cells_at(rows.astype(np.int64), template.columns)]
        fixed = sum(len(text.encode()) for text in (*template.literals, task.system or ""))
        sizes = [len(text.encode()) for text in texts]
        return cls(fixed, float(np.mean(sizes)), float(np.mean([len(text) for text in texts])), task.max_tokens)

    def price(self, pack: int) -> float:
        """Bytes sent for a row that shares its call with this number of others."""
        return self.instructions + self.row if pack == 1 else (self.instructions + FRAME) / pack + self.row + AROUND

    def fits(self, pack: int) -> bool:
        """Whether this number of rows fits into a call."""
        return self.row * pack <= packs.ITEM_BYTES and (self.room + packs.AROUND) * pack <= packs.ANSWER_TOKENS


def spelled_out(models: Sequence[Model], task: Task, table: Table) -> tuple[Model, ...]:
    """The models, reference first, with further ways of every candidate that is asked as the task says."""
    looks, (reference, *given) = Looks.of(task, table), models
    ways = [[model, *(_asked(model, way) for way in _ways(model, looks))] for model in given]
    while sum(map(len, ways)) > max(MOST, len(given)):
        max(ways, key=len).pop()
    named = {model.name: model for of_one in ways for model in of_one}
    return (reference, *(named | {model.name: model for model in given}).values())


def with_learned(models: tuple[Model, ...], task: Task, table: Table) -> tuple[Model, ...]:
    """The models, and the candidate that is taught in the run where it may pay: closed answers, rows enough, and
    the library that it needs is there."""
    if not _learnable(task) or table.rows < TAUGHT or find_spec("sklearn") is None:
        return models
    if any(model.name == LEARNED for model in models) or different_texts(task, table) < FEWEST:
        return models
    return (*models, specs.resolve(LEARNED))


def _learnable(task: Task) -> bool:
    """Whether answers are labels, or JSON with closed fields."""
    try:
        return bool(task.contract.labels or closed.names(task.contract.schema))
    except InputError:
        return False


def different_texts(task: Task, table: Table) -> int:
    """How many of the rows ask something else than all others before them."""
    template = task.template(task.columns(table.columns))
    return len(np.unique(table.groups_of_texts(template.fields, template.literals)))


def has_words(task: Task, table: Table) -> bool:
    """Whether there is any letter in what the prompt shows of some of the rows: without one there are no words."""
    rows = np.linspace(0, table.rows - 1, min(SAMPLE, table.rows)).astype(np.int64)
    cells = table.cells_at(np.unique(rows), task.columns(table.columns))
    return any(letter.isalpha() for row in cells for text in row.values() for letter in text)


def _ways(model: Model, looks: Looks) -> Iterator[Way]:
    """The most promising first."""
    if not model.way.plain or model.name == LEARNED or model.function is not None:
        return
    packed = list(_packs(model, looks))
    yield from (Way(pack=pack) for pack in packed)
    if looks.characters >= LONG:
        yield Way(head=SHOWN)
        shown = replace(looks, row=looks.row * SHOWN / looks.characters)
        yield from (Way(pack=pack, head=SHOWN) for pack in _packs(model, shown))


def _packs(model: Model, looks: Looks) -> Iterator[int]:
    if model.draws or model.enforce == "choice" or not looks.fits(SMALL):
        return
    if looks.price(1) >= WORTH * looks.price(SMALL):
        yield SMALL
        if model.provider in DIALECTS and looks.fits(LARGE) and looks.price(SMALL) >= FURTHER * looks.price(LARGE):
            yield LARGE


def _asked(model: Model, way: Way) -> Model:
    told = [f"{name}={value}" for name, value in way.to_json().items()]
    enforce = "" if way.pack > 1 and model.enforce == AUTO else model.enforce  # packs are told a schema in any case
    name = f"{model.name}{'&' if '?' in model.name else '?'}{'&'.join(told)}"
    return replace(model, name=name, way=way, enforce=enforce)
