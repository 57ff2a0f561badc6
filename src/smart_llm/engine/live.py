"""The live driver: asks and deliveries answered by calling models.

`Live` renders rows into requests, sends them through the client, reads the replies by the task's contract and turns
them into marks. What it keeps per row is what will be delivered: answer, model, status. Money is counted once per distinct
request, whoever pays first, so that a run taken up again costs what the undisturbed run costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from smart_llm.cascades import assign
from smart_llm.engine.pool import Stop, each
from smart_llm.events import Delivering, Listener, Profiling
from smart_llm.ledger import request_key
from smart_llm.tables import Table
from smart_llm.tasks import Task, format_value
from smart_llm.types import AGREE, BAD, DEFER, ERROR, NOT_ASKED, Answer, Answers, Ask, Ints, Model, Request, Verdict

BROKEN = "error: the reference's answer breaks the output contract"
SLICE = 4096
"""Rows rendered at a time while delivering: bounds memory, feeds thousands of calls in flight."""


class Client(Protocol):
    """What the driver needs of `providers.client.Client`."""

    async def ask(self, request: Request) -> Answer:
        """The answer to a request, from the ledger or bought."""
        ...


class Live:
    """One run's rows. models: reference first. Arrays have one entry per row of the table."""

    def __init__(self, table: Table, task: Task, models: tuple[Model, ...], client: Client, *, stop: Stop) -> None:
        self.task, self.models, self.client, self.stop = task, models, client, stop
        self.table, self.columns = table, task.columns(table.columns)
        self.answers: list[str | None] = [None] * table.rows
        self.by = np.zeros(table.rows, np.int16)
        self.settled = np.zeros(table.rows, bool)
        self.errors: dict[int, str] = {}
        self.spent = np.zeros(len(models))
        self.reference_cost = np.full(table.rows, np.nan)
        self.groups = table.groups(self.columns)
        self._paid = np.zeros((len(models), int(self.groups.max(initial=-1)) + 1), bool)

    def request(self, model: int, prompt: str) -> Request:
        """The request for one row and model."""
        task = self.task
        return Request(
            self.models[model].name,
            prompt,
            task.max_tokens,
            system=task.system,
            labels=task.contract.labels,
            schema=task.contract.schema,
        )

    async def ask(self, position: int, model: int, prompt: str) -> tuple[Any, Answer]:
        """One row's answer from one model: its parsed value (None = contract broken or failed) and the reply."""
        reply = await self.client.ask(self.request(model, prompt))
        group = self.groups[position]
        if model == 0 and reply.error is None:
            self.reference_cost[position] = reply.cost
        if not self._paid[model, group]:
            self._paid[model, group] = True
            self.spent[model] += reply.cost
        return self.task.parse(reply.text), reply

    # ------------------------------------------------------------------ profiling

    async def profile(self, ask: Ask, workers: int, tell: Listener) -> tuple[Answers, list[list[str]]]:
        """Answer one ask; also the ledger keys of its requests, by row and model. Reference answers are delivered."""
        shape = (len(ask.positions), len(self.models))
        answers = Answers(np.full(shape, NOT_ASKED, np.int8), np.zeros(shape), np.full(shape, np.nan))
        prompts = list(self.prompts(ask.positions))
        done, before = 0, int(self.settled.sum())

        async def one(k: int) -> None:
            nonlocal done
            await self._profile_row(ask, k, prompts[k], answers)
            done += 1
            tell(Profiling(ask.stage, done, shape[0], before, ask.outlook, float(self.spent.sum())))

        await each(range(shape[0]), one, workers=min(workers, shape[0]), stop=self.stop)
        keys = [[request_key(self.request(m, prompt)) for m in ask.models] for prompt in prompts]
        return answers, keys

    async def _profile_row(self, ask: Ask, k: int, prompt: str, answers: Answers) -> None:
        position = int(ask.positions[k])
        replies = await asyncio.gather(*(self.ask(position, m, prompt) for m in ask.models))
        values = {m: value for m, (value, _) in zip(ask.models, replies, strict=True)}
        for m, (value, reply) in zip(ask.models, replies, strict=True):
            answers.cost[k, m] = reply.cost
            answers.marks[k, m] = self._mark(m, value, values)
        if 0 in values:
            self._settle(position, 0, values[0], replies[ask.models.index(0)][1])

    def _mark(self, model: int, value: Any, values: dict[int, Any]) -> int:
        if model == 0:
            return ERROR if value is None else AGREE
        if value is None:
            return DEFER
        if 0 not in values:
            return NOT_ASKED
        return AGREE if self.task.equivalent(value, values[0]) else BAD

    # ------------------------------------------------------------------ delivery

    async def deliver(self, verdict: Verdict, seed: int, workers: int, tell: Listener) -> None:
        """Settle every row that profiling left, by the certified rule."""
        chosen = assign(verdict, seed, self.table.rows)
        done = int(self.settled.sum())

        async def one(row: tuple[int, str]) -> None:
            nonlocal done
            position, prompt = row
            await self._deliver_row(position, prompt, int(chosen[position]))
            done += 1
            tell(Delivering(done, self.table.rows, len(self.errors), float(self.spent.sum())))

        await each(self._unsettled(), one, workers=workers, stop=self.stop)

    async def _deliver_row(self, position: int, prompt: str, model: int) -> None:
        if model:
            value, reply = await self.ask(position, model, prompt)
            if value is not None:
                return self._settle(position, model, value, reply)
        value, reply = await self.ask(position, 0, prompt)
        return self._settle(position, 0, value, reply)

    def _settle(self, position: int, model: int, value: Any, reply: Answer) -> None:
        self.settled[position] = True
        self.by[position] = model
        if value is None:
            self.errors[position] = f"error: {reply.error}" if reply.error else BROKEN
        else:
            self.answers[position] = format_value(value)

    # ------------------------------------------------------------------ rows

    def prompts(self, positions: Ints) -> Iterator[str]:
        """The rendered prompts of these rows, lazily."""
        render = self.task.template(self.columns).render
        return (render(row) for row in self.table.cells_at(positions, self.columns))

    def _unsettled(self) -> Iterator[tuple[int, str]]:
        left = np.flatnonzero(~self.settled)
        for start in range(0, len(left), SLICE):
            part = left[start : start + SLICE]
            yield from zip(part.tolist(), self.prompts(part), strict=True)

    def reference_only_cost(self, profiled: Ints) -> float:
        """Estimate, USD: what the reference would have cost on every distinct request.

        From the rows profiled (a uniform sample), where there are enough of them; exact when all were asked.
        """
        rows = profiled if len(profiled) >= 30 else np.arange(self.table.rows)
        known = self.reference_cost[rows]
        known = known[~np.isnan(known)]
        distinct = self._paid.shape[1]
        if self._paid[0].all():
            return float(self.spent[0])
        return float(known.mean() * distinct) if len(known) else 0.0
