"""From rows to requests: what a model is asked about a row, which rows ask the same, and how requests are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from smart_llm.engine.ways import NO_WAYS, Prompt, Way, plain_request, ways_of
from smart_llm.ledger import request_key
from smart_llm.ledger.aside import Aside
from smart_llm.routing import Alike
from smart_llm.tables import Table
from smart_llm.tasks import Task
from smart_llm.types import Ints, Model, Request

WARM = 1.0
"""Temperature of further draws: samples of what a model would say (self-consistency; Wang et al. 2023)."""
SAMPLE = 64
"""Rows rendered before the start, to estimate what a call costs."""
NONE: Ints = np.empty(0, np.int64)
"""No positions."""


class Questions:
    """The requests of one run. rows: how many the table has. models: reference first. aside: rows that are no part of
    the population; an `Ask` and a `Verdict` speak of the population's rows. groups: shape (rows,), the same number for
    rows that ask the same; alike: these rows together. ways: by number, how models are asked that have a way of their
    own."""

    def __init__(
        self,
        table: Table,
        task: Task,
        models: tuple[Model, ...],
        aside: Aside | None = None,
        ways: Mapping[int, Way] = NO_WAYS,
    ) -> None:
        """ways: those there are already, see `ways_of`."""
        self.rows, self.aside = table.rows, aside or Aside(table.rows, NONE)
        self.columns = task.columns(table.columns)
        template = task.template(self.columns)
        self._task, self._models, self._table, self._render = task, models, table, template.render
        self.groups = table.groups_of_texts(template.fields, template.literals).astype(np.int32)
        self.alike = Alike(self.groups)
        self.ways = ways_of(table, task, models, self.groups, ways, self.aside.there)
        self._learned: dict[int, str] = {}

    @property
    def distinct(self) -> int:
        """Different requests there are per model: equal rows share an answer, paid for once."""
        return self.alike.distinct

    @property
    def to_come(self) -> int:
        """Different requests of the rows of the population."""
        aside = self.aside.positions
        return len(np.unique(np.delete(self.groups, aside))) if len(aside) else self.distinct

    def different(self, positions: Ints) -> Ints:
        """The first row of each request among these rows."""
        _, first = np.unique(self.groups[positions], return_index=True)
        return positions[np.sort(first)]

    def in_order(self, positions: Ints, models: Sequence[int]) -> Ints:
        """These rows in an order in which they may well be asked of these models, where rows share calls."""
        packed = next((way for model in models if (way := self.packed(model)) is not None), None)
        return positions if packed is None else packed.in_order(positions)

    def prompts(self, positions: Ints) -> Iterator[str]:
        """The rendered prompts of these rows, lazily."""
        cells = self._table.cells_at(positions, self.columns)
        if not self.ways:
            return map(self._render, cells)
        return (Prompt.of(self._render(row), at, row) for at, row in zip(positions.tolist(), cells, strict=True))

    @cached_property
    def sample(self) -> tuple[str, ...]:
        """The prompts of some rows, spread over the table: by these it is estimated what a call costs."""
        return tuple(self.prompts(np.linspace(0, self.rows - 1, num=min(SAMPLE, self.rows)).astype(np.int64)))

    def request(self, model: int, prompt: str) -> Request:
        """The request for one row and model. Candidates are asked how sure they are, where they can say."""
        if (way := self.ways.get(model)) is not None:
            return way.request(prompt)
        plain = plain_request(self._task, self._models[model], prompt, logprobs=model > 0)
        return replace(plain, at=self._learned[model]) if model in self._learned else plain

    def settle_learned(self, model: int, at: str) -> None:
        """What was learned is settled: answers of a model that is taught in the run are kept under this name."""
        self._learned[model] = at

    def packed(self, model: int) -> Way | None:
        """How a model is asked that is asked about several rows in one call."""
        way = self.ways.get(model)
        return way if way is not None and way.packed else None

    def rows_a_call(self) -> list[float]:
        """By model: how many rows share a call."""
        return [way.rows_a_call if (way := self.ways.get(m)) is not None else 1.0 for m in range(len(self._models))]

    def requests(self, model: int, prompt: str) -> list[Request]:
        """The request that counts, and the further draws that go with it."""
        first = self.request(model, prompt)
        further = range(1, 1 + self._models[model].draws)
        return [first, *(replace(first, logprobs=False, temperature=WARM, draw=draw) for draw in further)]

    def keys_of(self, prompt: str, models: Sequence[int]) -> list[list[str]]:
        """For each of these models, the ledger's keys of its requests about one row; the one that counts first."""
        return [[request_key(request) for request in self.requests(model, prompt)] for model in models]
