"""From rows to requests: what a model is asked about a row, which rows ask the same, and how requests are named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from smart_llm.ledger import request_key
from smart_llm.ledger.aside import Aside
from smart_llm.routing import Alike
from smart_llm.tables import Table
from smart_llm.tasks import Task
from smart_llm.types import Ints, Model, Request

WARM = 1.0
"""Temperature of further draws: samples of what a model would say (self-consistency; Wang et al. 2023)."""
NONE: Ints = np.empty(0, np.int64)
"""No positions."""


class Questions:
    """The requests of one run. rows: how many the table has. models: reference first. aside: rows that are no part of
    the population; an `Ask` and a `Verdict` speak of the population's rows. groups: shape (rows,), the same number for
    rows that ask the same; alike: these rows together."""

    def __init__(self, table: Table, task: Task, models: tuple[Model, ...], aside: Aside | None = None) -> None:
        self.rows, self.aside = table.rows, aside or Aside(table.rows, NONE)
        self.columns = task.columns(table.columns)
        template = task.template(self.columns)
        self._task, self._models, self._table, self._render = task, models, table, template.render
        self.groups = table.groups_of_texts(template.fields, template.literals).astype(np.int32)
        self.alike = Alike(self.groups)

    @property
    def distinct(self) -> int:
        """Different requests there are per model: equal rows share an answer, paid for once."""
        return self.alike.distinct

    def different(self, positions: Ints) -> Ints:
        """The first row of each request among these rows."""
        _, first = np.unique(self.groups[positions], return_index=True)
        return positions[np.sort(first)]

    def prompts(self, positions: Ints) -> Iterator[str]:
        """The rendered prompts of these rows, lazily."""
        return map(self._render, self._table.cells_at(positions, self.columns))

    def request(self, model: int, prompt: str) -> Request:
        """The request for one row and model. Candidates are asked how sure they are, where they can say."""
        task = self._task
        return Request(
            self._models[model].name,
            prompt,
            task.max_tokens,
            system=task.system,
            labels=task.contract.labels,
            schema=task.contract.schema,
            logprobs=model > 0,
            **self._models[model].settings,
        )

    def requests(self, model: int, prompt: str) -> list[Request]:
        """The request that counts, and the further draws that go with it."""
        first = self.request(model, prompt)
        further = range(1, 1 + self._models[model].draws)
        return [first, *(replace(first, logprobs=False, temperature=WARM, draw=draw) for draw in further)]

    def keys_of(self, prompt: str, models: Sequence[int]) -> list[list[str]]:
        """For each of these models, the ledger's keys of its requests about one row; the one that counts first."""
        return [[request_key(request) for request in self.requests(model, prompt)] for model in models]
