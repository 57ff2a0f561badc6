"""The live driver: what a procedure asks, answered by calling models.

`Live` renders rows into requests, sends them through the client, reads the replies by the task's contract and turns
them into marks. What it keeps per row is what will be delivered: answer, model, status. Money is counted once per
distinct request, whoever pays first, so that a resumed run costs what the undisturbed run costs.

A call that failed is not an answer. A candidate that failed while profiling counts as bad there, since it may well
answer when it delivers; the reference's failure is an error of the row. Neither is in the ledger: another call may be
answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from smart_llm.engine.account import Account
from smart_llm.engine.counted import Counted
from smart_llm.engine.once import Client, Once
from smart_llm.engine.pool import all_of, each
from smart_llm.engine.proper import Proper
from smart_llm.engine.questions import NONE, Questions
from smart_llm.engine.rows import Rows
from smart_llm.engine.ways import NO_WAYS, Tables, Way
from smart_llm.errors import Refused
from smart_llm.events import Listener, Profiling, Stop
from smart_llm.ledger import request_key
from smart_llm.ledger.aside import Aside
from smart_llm.scores.own import own_score
from smart_llm.scores.traits import answer_key, self_consistency, words_of
from smart_llm.tables import Table
from smart_llm.tasks import Task, format_value
from smart_llm.tasks.marks import mark
from smart_llm.types import BAD, ERROR, Answer, Answers, Ask, Ints, Json, Model, Request

Told: TypeAlias = tuple[Any, Answer, float]
"""A parsed value (None: contract broken or failed), the reply (its cost that of every draw), the model's own score."""

Made: TypeAlias = Callable[[int, list[list[str]], Answers], Awaitable[None]]
"""Told of a row of an ask once its marks are made: its place, the keys of its requests by model, the sheet."""


class School(Protocol):
    """A candidate that is taught in the run. number: among its models."""

    number: int

    def priced(self, rates: Sequence[float]) -> None:
        """Told what a call to each model is expected to cost; `InputError`: it would cost too much to try."""
        ...

    async def lesson(self, ask: Ask) -> tuple[Answers, dict[str, Json]]:
        """Teach it with these rows; what is said of them, and what else is to be recorded."""
        ...

    async def told(self, ask: Ask, entry: Mapping[str, Json]) -> Answers:
        """A lesson of an earlier session, as it was recorded."""
        ...

    async def ready(self, ask: Ask) -> None:
        """From here on the model of the last lesson answers; it will be asked about these rows."""
        ...


class Live:
    """One run, row by row: it asks, and settles. questions: what is asked; rows: what is delivered; account: money.

    models: reference first. failed: (position in the table, model index) → error, for calls that finally failed while
    profiling. covered: by model index, the snapshots whose answers may be delivered (none given: all). known: by
    model's name, a request that was answered. answered: by model index, those of the answers that profiling brought.
    batches: what was profiled, ask by ask. before: the number of the last answer that was in the ledger when delivery
    began. proper: which candidates give proper answers. instead: rows that the rule gives to candidates, by why the
    reference answered them. elsewhere: whether the ledger may hold answers of the reference that this run did not ask
    for. teaching: of the candidate that is taught in the run, if there is one."""

    def __init__(
        self,
        table: Table,
        task: Task,
        models: tuple[Model, ...],
        client: Client,
        *,
        stop: Stop,
        aside: Aside | None = None,
        ways: Mapping[int, Way] = NO_WAYS,
        before: Tables = (),
    ) -> None:
        """ways: how candidates are asked that share calls with rows of other tables; before: the tables that have grown
        into this one."""
        self.task, self.models, self.client, self.stop = task, models, Once(client), stop
        self.questions = Questions(table, task, models, aside, ways, before)
        self.rows = Rows(table.rows, self.questions.alike, models[0].name)
        self.account = Account(self.questions.alike, len(models), self.questions.ways)
        self.failed: dict[tuple[int, int], str] = {}
        self.covered: dict[int, frozenset[str]] = {}
        self.known: dict[str, Request] = {}
        self.answered: dict[int, list[str]] = {}
        self.batches: list[tuple[Ints, Answers]] = []
        self.proper = Proper([model.name for model in models])
        self.instead = Counter[str]()
        self.before = 0
        self.elsewhere = True
        self.teaching: School | None = None

    # ------------------------------------------------------------------ beside the procedure

    async def settle_aside(self, workers: int) -> list[list[str]]:
        """The reference answers the rows set aside; the ledger keys of its requests."""
        positions = self.questions.aside.positions
        prompts = list(self.questions.prompts(positions))

        async def one(row: tuple[int, str]) -> None:
            self.rows.settle_by(np.array(row[:1]), 0, *await self.answer(row[0], 0, row[1]))

        rows = zip(positions.tolist(), prompts, strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)
        return [[request_key(self.questions.request(0, prompt))] for prompt in prompts]

    async def ask_again(self, positions: Ints, workers: int) -> tuple[list[bool | None], list[list[str]]]:
        """The reference's second answer to these rows: whether it is equivalent to the first (None where there are no
        two), and the ledger keys of both requests. Second answers are never evidence and never delivered."""
        prompts, same = list(self.questions.prompts(positions)), dict[int, bool]()

        async def one(row: tuple[int, str]) -> None:
            position, prompt = row
            first, _ = await self.answer(position, 0, prompt)
            reply = await self.client.ask(replace(self.questions.request(0, prompt), draw=1))
            self.account.count_again(position, reply.cost)
            second = self.task.read(reply)
            if first is not None and reply.error is None:
                same[position] = self.task.equivalent(first, second)

        rows = zip(positions.tolist(), prompts, strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)
        first = [self.questions.request(0, prompt) for prompt in prompts]
        keys = [[request_key(request), request_key(replace(request, draw=1))] for request in first]
        return [same.get(position) for position in positions.tolist()], keys

    async def ask_lost(self, positions: Ints, workers: int) -> None:
        """Ask the reference again about rows that it had no answer for, and deliver what comes."""

        async def one(row: tuple[int, str]) -> None:
            self.rows.mend(row[0], *await self.answer(row[0], 0, row[1]))

        rows = zip(positions.tolist(), self.questions.prompts(positions), strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)

    # ------------------------------------------------------------------ profiling

    async def buy(self, positions: Ints, models: Sequence[int], workers: int) -> None:
        """Ask about rows ahead of the procedure, which will find the answers in the ledger."""

        async def one(row: tuple[int, str]) -> None:
            await all_of(self._told(row[0], m, row[1]) for m in models)

        rows = zip(positions.tolist(), self.questions.prompts(positions), strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)

    async def profile(
        self, ask: Ask, workers: int, tell: Listener, also: Ints = NONE, made: Made | None = None
    ) -> tuple[Answers, list[list[list[str]]]]:
        """Answer one ask; also the ledger keys of its requests, by row and model. Reference answers are delivered.

        also: rows to buy in the same round, of no concern to the procedure.
        """
        positions = self.questions.aside.population[ask.positions]
        shape = (len(positions), len(self.models))
        sheet, prompts = Answers.blank(shape, words=True), list(self.questions.prompts(positions))
        keys, done, before = [self.questions.keys_of(prompt, ask.models) for prompt in prompts], 0, self.rows.done
        counted = Counted([model.name for model in self.models], self.batches, ask.models)

        async def one(k: int) -> None:
            nonlocal done
            position = int(positions[k])
            values = await self.look(sheet, k, position, prompts[k], ask.models)
            if made is not None:
                await made(k, keys[k], sheet)
            if 0 in values:
                self.rows.settle_by(positions[k : k + 1], 0, *values[0][:2])
            done += 1
            outlook = counted.with_row(sheet.marks[k], ask.outlook)
            money = self.account.paid(), self.account.so_far, self.account.earlier
            tell(Profiling(ask.stage, done, shape[0], before, outlook, *money))

        asked = each(range(shape[0]), one, workers=min(workers, shape[0]), stop=self.stop)
        await all_of([asked, self.buy(self.questions.aside.population[also], ask.models, workers)])
        await self._check_alive(ask, positions)
        self.batches.append((positions, sheet))
        for position, row in zip(positions.tolist(), keys, strict=True):
            for m, (key, *_) in zip(ask.models, row, strict=True):
                if (position, m) not in self.failed:
                    self.answered.setdefault(m, []).append(key)
        return sheet, keys

    async def look(self, sheet: Answers, k: int, position: int, prompt: str, models: Sequence[int]) -> dict[int, Told]:
        """A row as evidence: like `fill`, but a call that failed counts as bad, for it may answer when it delivers."""
        values = await self.fill(sheet, k, position, prompt, models)
        for m, (_, reply, _) in values.items():
            if reply.error is not None:
                self.failed[position, m] = reply.error
                sheet.marks[k, m] = BAD if m else ERROR
                sheet.score[k, m] = np.nan
        return values

    async def _check_alive(self, ask: Ask, positions: Ints) -> None:
        """A model that fails on every row, or on one and another one, and never reacts is not there: no row is lost."""
        for m in ask.models:
            lost = [self.failed[at, m] for at in self.questions.different(positions).tolist() if (at, m) in self.failed]
            if not lost or self.client.alive(self.models[m].name):
                continue
            if len(lost) > 1 or not await self._answers_another(m, positions[0]):
                raise Refused(
                    f"{self.models[m].name} has answered none of the rows it was asked about: {lost[0]} Is the "
                    "address right, and the server running? What was bought is kept and no row was given up: run "
                    "again to go on."
                )

    async def _answers_another(self, model: int, position: int) -> bool:
        """Whether a model answers a row that asks something else, if there is one. The answer is kept for later."""
        others = np.flatnonzero(self.questions.groups != self.questions.groups[position])[:1]
        told = [await self.answer(int(others[0]), model, prompt) for prompt in self.questions.prompts(others)]
        return all(reply.error is None for _, reply in told)

    async def fill(
        self, sheet: Answers, k: int, position: int, prompt: str, models: Sequence[int], *, sure: bool = True
    ) -> dict[int, Told]:
        """Ask these models about one row, and write marks, costs, scores and traits into line k of the sheet. sure:
        whether it matters how sure a model is of its answer; else no further draws are bought."""
        told = await all_of(self._told(position, m, prompt, sure=sure) for m in models)
        values = dict(zip(models, told, strict=True))
        assert sheet.traits is not None
        sheet.traits.text[k] = len(prompt)
        if sheet.traits.words is not None:
            sheet.traits.words[k] = words_of(prompt)
        said = {m: value for m, (value, _, _) in values.items()}
        for m, (value, reply, score) in values.items():
            sheet.cost[k, m] = reply.cost
            sheet.marks[k, m] = BAD if m and reply.error else mark(self.task, m, value, said)
            if value is not None:
                text = format_value(value)
                sheet.score[k, m] = score
                sheet.traits.key[k, m], sheet.traits.length[k, m] = answer_key(text), len(text)
        return values

    async def answer(self, position: int, model: int, prompt: str) -> tuple[Any, Answer]:
        """One row's answer from one model: its parsed value (None = contract broken or failed) and the reply."""
        request = self.questions.request(model, prompt)
        reply = await self.client.ask(request)
        shared = self.account.count_shared(model, prompt, self.client.shared)
        value = self.task.read(reply) if reply.error is None else None
        self.proper.see(model, position, value, reply)
        if reply.error is not None:
            return None, reply
        self.known.setdefault(request.model, request.call)
        if not shared:
            self.account.count(position, model, reply.cost)
        return value, reply

    async def _told(self, position: int, model: int, prompt: str, *, sure: bool = True) -> Told:
        """One row's answer from one model and how sure it is of it: by further draws where it has any, else by its
        log-probabilities."""
        further = self.questions.requests(model, prompt)[1:] if sure else []
        if not further:
            value, reply = await self.answer(position, model, prompt)
            return value, reply, own_score(reply, value, self.task.contract.labels)
        drawing = asyncio.ensure_future(all_of(self.client.ask(request) for request in further))
        try:
            value, reply = await self.answer(position, model, prompt)
        finally:
            again = await drawing  # no call is left behind
        lost = any(other.error for other in again)
        self.account.count_draws(position, model, [other.cost for other in again if other.error is None])
        key, *others = [
            0 if said is None else answer_key(format_value(said))
            for said in (value, *(self.task.read(other) for other in again))
        ]
        score = float("nan") if lost else self_consistency(key, others)  # an answer that is missing says nothing
        return value, replace(reply, cost=reply.cost + sum(other.cost for other in again)), score
