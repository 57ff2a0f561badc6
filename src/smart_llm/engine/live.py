"""The live driver: what a procedure asks, answered by calling models.

`Live` renders rows into requests, sends them through the client, reads the replies by the task's contract and turns
them into marks. What it keeps per row is what will be delivered: answer, model, status. Money is counted once per
distinct request, whoever pays first, so that a run taken up again costs what the undisturbed run costs.

A call that failed is not an answer. A candidate that failed while profiling counts as bad there, since it may well
answer when it delivers; the reference's failure is an error of the row. Neither is in the ledger: another call may be
answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from smart_llm.engine.aside import Aside
from smart_llm.engine.counted import Counted
from smart_llm.engine.delivered import Texts
from smart_llm.engine.once import Client, Once
from smart_llm.engine.pool import Stop, all_of, each
from smart_llm.engine.proper import Proper
from smart_llm.engine.routing import Alike
from smart_llm.engine.statuses import hopeless, status
from smart_llm.errors import Refused
from smart_llm.events import Listener, Profiling
from smart_llm.ledger import request_key
from smart_llm.tables import Table
from smart_llm.tasks import Task, format_value
from smart_llm.tasks.scores import answer_key, self_consistency, words_of
from smart_llm.tasks.tokens import own_score
from smart_llm.types import (
    AGREE,
    BAD,
    DEFER,
    ERROR,
    NOT_ASKED,
    Answer,
    Answers,
    Ask,
    Floats,
    Ints,
    Model,
    Request,
)

HOPELESS = 20
"""If so many rows come first of which none has an answer, the run stops: the rest would be paid for in vain."""
WARM = 1.0
"""Temperature of further draws: samples of what a model would say (self-consistency; Wang et al. 2023)."""
NONE: Ints = np.empty(0, np.int64)  # no positions

Told: TypeAlias = tuple[Any, Answer, float]
"""A parsed value (None: contract broken or failed), the reply (its cost that of every draw), the model's own score."""

Made: TypeAlias = Callable[[int, list[list[str]], Answers], Awaitable[None]]
"""Told of a row of an ask once its marks are made: its place, the keys of its requests by model, the sheet."""


class Live:
    """One run's rows. models: reference first. Arrays have one entry per row of the table. aside: rows that are no part
    of the population; an `Ask` and a `Verdict` speak of the population's rows.

    failed: (position in the table, model index) → error, for calls that finally failed while profiling. covered: by
    model index, the snapshots whose answers may be delivered (none given: all). known: by model's name, a request that
    was answered. answered: by model index, those of the answers that profiling brought. before: the number of the last
    answer that was in the ledger when delivery began."""

    def __init__(
        self,
        table: Table,
        task: Task,
        models: tuple[Model, ...],
        client: Client,
        *,
        stop: Stop,
        aside: Aside | None = None,
    ) -> None:
        self.task, self.models, self.client, self.stop = task, models, Once(client), stop
        self.rows = table.rows
        self.aside = aside or Aside(table.rows, NONE)
        columns = task.columns(table.columns)
        template = task.template(columns)
        self._table, self.columns, self._render = table, columns, template.render
        self.answers = Texts(table.rows)
        self.by = np.zeros(table.rows, np.int16)
        self.settled = np.zeros(table.rows, bool)
        self.proven = False  # whether the reference is known to answer: then the first rows prove nothing
        self.errors: dict[int, str] = {}
        self.failed: dict[tuple[int, int], str] = {}
        self.covered: dict[int, frozenset[str]] = {}
        self.known: dict[str, Request] = {}
        self.before = 0
        self.answered: dict[int, list[str]] = {}
        self.batches: list[tuple[Ints, Answers]] = []  # what was profiled, ask by ask
        self.so_far = 0.0  # USD in order of arrival, whoever paid: for showing, `spent` is the account
        self.paid: Callable[[], float] = lambda: self.so_far  # USD that this run has paid
        self.proper = Proper([model.name for model in models])
        self.instead = Counter[str]()  # rows that the rule gives to candidates, by why the reference answered them
        self._lost = 0  # requests that ended without an answer
        self.elsewhere = True  # whether the ledger may hold answers of the reference that this run did not ask for
        self.again: dict[int, float] = {}  # USD of second answers by the reference, by group of equal rows
        self.reference_cost = np.full(table.rows, np.nan)
        self.groups = table.groups_of_texts(template.fields, template.literals).astype(np.int32)
        self.alike = Alike(self.groups)
        self.costs = np.full((len(models), self.alike.distinct), np.nan)
        self._drawn = np.zeros(self.costs.shape, bool)  # whether `costs` holds what further draws cost

    def spent(self) -> Floats:
        """Shape (models,): USD, each distinct request once; the same sum in whatever order answers came."""
        return np.asarray(np.nansum(self.costs, axis=1))

    def total(self) -> float:
        """USD: everything, second answers included."""
        return float(self.spent().sum()) + sum(self.again.values())

    def request(self, model: int, prompt: str) -> Request:
        """The request for one row and model. Candidates are asked how sure they are, where they can say."""
        task = self.task
        return Request(
            self.models[model].name,
            prompt,
            task.max_tokens,
            system=task.system,
            labels=task.contract.labels,
            schema=task.contract.schema,
            logprobs=model > 0,
            **self.models[model].settings,
        )

    def requests(self, model: int, prompt: str) -> list[Request]:
        """The request that counts, and the further draws that go with it."""
        first = self.request(model, prompt)
        further = range(1, 1 + self.models[model].draws)
        return [first, *(replace(first, logprobs=False, temperature=WARM, draw=draw) for draw in further)]

    def keys_of(self, prompt: str, models: Sequence[int]) -> list[list[str]]:
        """For each of these models, the ledger's keys of its requests about one row; the one that counts first."""
        return [[request_key(request) for request in self.requests(model, prompt)] for model in models]

    def prompts(self, positions: Ints) -> Iterator[str]:
        """The rendered prompts of these rows, lazily."""
        return map(self._render, self._table.cells_at(positions, self.columns))

    # ------------------------------------------------------------------ beside the procedure

    async def settle_aside(self, workers: int) -> list[list[str]]:
        """The reference answers the rows set aside; the ledger keys of its requests."""
        positions = self.aside.positions
        prompts = list(self.prompts(positions))

        async def one(row: tuple[int, str]) -> None:
            self.settle_by(np.array(row[:1]), 0, *await self.answer(row[0], 0, row[1]))

        rows = zip(positions.tolist(), prompts, strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)
        return [[request_key(self.request(0, prompt))] for prompt in prompts]

    @property
    def distinct(self) -> int:
        """Different requests there are per model: equal rows share an answer, paid for once."""
        return self.alike.distinct

    def count(self, position: int, model: int, cost: float) -> None:
        """An answer that belongs to this run's account, whoever bought it."""
        group = self.groups[position]
        if np.isnan(self.costs[model, group]):
            self.costs[model, group] = cost
            self.so_far += cost

    def count_draws(self, position: int, model: int, costs: Sequence[float]) -> None:
        """Further draws that go with an answer, all that were bought; the answer itself is counted first."""
        place = (model, self.groups[position])
        if costs and not self._drawn[place]:
            self._drawn[place] = True
            self.costs[place] = np.nan_to_num(self.costs[place]) + sum(costs)
            self.so_far += sum(costs)

    def different(self, positions: Ints) -> Ints:
        """The first row of each request among these rows."""
        _, first = np.unique(self.groups[positions], return_index=True)
        return positions[np.sort(first)]

    async def ask_again(self, positions: Ints, workers: int) -> tuple[list[bool | None], list[list[str]]]:
        """The reference's second answer to these rows: whether it is equivalent to the first (None where there are no
        two), and the ledger keys of both requests. Second answers are never evidence and never delivered."""
        prompts, same = list(self.prompts(positions)), dict[int, bool]()

        async def one(row: tuple[int, str]) -> None:
            position, prompt = row
            first, _ = await self.answer(position, 0, prompt)
            reply = await self.client.ask(replace(self.request(0, prompt), draw=1))
            self.again[int(self.groups[position])] = reply.cost
            second = self.task.read(reply)
            if first is not None and reply.error is None:
                same[position] = self.task.equivalent(first, second)

        rows = zip(positions.tolist(), prompts, strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)
        first = [self.request(0, prompt) for prompt in prompts]
        keys = [[request_key(request), request_key(replace(request, draw=1))] for request in first]
        return [same.get(position) for position in positions.tolist()], keys

    async def ask_lost(self, positions: Ints, workers: int) -> None:
        """Ask the reference again about rows that it had no answer for, and deliver what comes."""

        async def one(row: tuple[int, str]) -> None:
            value, reply = await self.answer(row[0], 0, row[1])
            if value is not None:
                del self.errors[row[0]]
                self.settle(row[0], 0, format_value(value))
            else:
                self.errors[row[0]] = status(reply)

        rows = zip(positions.tolist(), self.prompts(positions), strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)

    # ------------------------------------------------------------------ profiling

    async def buy(self, positions: Ints, models: Sequence[int], workers: int) -> None:
        """Ask about rows ahead of the procedure, which will find the answers in the ledger."""

        async def one(row: tuple[int, str]) -> None:
            await all_of(self._told(row[0], m, row[1]) for m in models)

        rows = zip(positions.tolist(), self.prompts(positions), strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)

    async def profile(
        self, ask: Ask, workers: int, tell: Listener, also: Ints = NONE, made: Made | None = None
    ) -> tuple[Answers, list[list[list[str]]]]:
        """Answer one ask; also the ledger keys of its requests, by row and model. Reference answers are delivered.

        also: rows to buy in the same round, of no concern to the procedure.
        """
        positions = self.aside.population[ask.positions]
        shape = (len(positions), len(self.models))
        sheet, prompts = Answers.blank(shape, words=True), list(self.prompts(positions))
        keys, done, before = [self.keys_of(prompt, ask.models) for prompt in prompts], 0, int(self.settled.sum())
        counted = Counted([model.name for model in self.models], self.batches, ask.models)

        async def one(k: int) -> None:
            nonlocal done
            position = int(positions[k])
            values = await self.look(sheet, k, position, prompts[k], ask.models)
            if made is not None:
                await made(k, keys[k], sheet)
            if 0 in values:
                self.settle_by(positions[k : k + 1], 0, *values[0][:2])
            done += 1
            outlook = counted.with_row(sheet.marks[k], ask.outlook)
            tell(Profiling(ask.stage, done, shape[0], before, outlook, self.paid(), self.so_far))

        asked = each(range(shape[0]), one, workers=min(workers, shape[0]), stop=self.stop)
        await all_of([asked, self.buy(self.aside.population[also], ask.models, workers)])
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
            lost = [self.failed[at, m] for at in self.different(positions).tolist() if (at, m) in self.failed]
            if not lost or self.client.alive(self.models[m].name):
                continue
            if len(lost) > 1 or not await self._answers_another(m, positions[0]):
                raise Refused(
                    f"{self.models[m].name} has answered none of the rows it was asked about ({lost[0]}). What was "
                    "bought is kept and no row was given up: run again to go on."
                )

    async def _answers_another(self, model: int, position: int) -> bool:
        """Whether a model answers a row that asks something else, if there is one. The answer is kept for later."""
        others = np.flatnonzero(self.groups != self.groups[position])[:1]
        told = [await self.answer(int(others[0]), model, prompt) for prompt in self.prompts(others)]
        return all(reply.error is None for _, reply in told)

    async def fill(self, sheet: Answers, k: int, position: int, prompt: str, models: Sequence[int]) -> dict[int, Told]:
        """Ask these models about one row, and write marks, costs, scores and traits into line k of the sheet."""
        values = dict(zip(models, await all_of(self._told(position, m, prompt) for m in models), strict=True))
        assert sheet.traits is not None
        sheet.traits.text[k] = len(prompt)
        if sheet.traits.words is not None:
            sheet.traits.words[k] = words_of(prompt)
        for m, (value, reply, score) in values.items():
            sheet.cost[k, m] = reply.cost
            sheet.marks[k, m] = BAD if m and reply.error else self._mark(m, value, values)
            if value is not None:
                said = format_value(value)
                sheet.score[k, m] = score
                sheet.traits.key[k, m], sheet.traits.length[k, m] = answer_key(said), len(said)
        return values

    async def answer(self, position: int, model: int, prompt: str) -> tuple[Any, Answer]:
        """One row's answer from one model: its parsed value (None = contract broken or failed) and the reply."""
        request = self.request(model, prompt)
        reply = await self.client.ask(request)
        value = self.task.read(reply) if reply.error is None else None
        self.proper.see(model, position, value, reply)
        if reply.error is not None:
            return None, reply
        self.known.setdefault(request.model, request)
        if model == 0:
            self.reference_cost[position] = reply.cost
        self.count(position, model, reply.cost)
        return value, reply

    async def _told(self, position: int, model: int, prompt: str) -> Told:
        """One row's answer from one model and how sure it is of it: by further draws where it has any, else by its
        log-probabilities."""
        further = self.requests(model, prompt)[1:]
        if not further:
            value, reply = await self.answer(position, model, prompt)
            return value, reply, own_score(reply, value, self.task.contract.labels)
        drawing = asyncio.ensure_future(all_of(self.client.ask(request) for request in further))
        try:
            value, reply = await self.answer(position, model, prompt)
        finally:
            again = await drawing  # no call is left behind
        lost = any(other.error for other in again)
        self.count_draws(position, model, [other.cost for other in again if other.error is None])
        key, *others = [
            0 if said is None else answer_key(format_value(said))
            for said in (value, *(self.task.read(other) for other in again))
        ]
        score = float("nan") if lost else self_consistency(key, others)  # an answer that is missing says nothing
        return value, replace(reply, cost=reply.cost + sum(other.cost for other in again)), score

    def _mark(self, model: int, value: Any, values: dict[int, Told]) -> int:
        if model == 0:
            return ERROR if value is None else AGREE
        if value is None:
            return DEFER
        if 0 not in values:
            return NOT_ASKED
        return AGREE if self.task.equivalent(value, values[0][0]) else BAD

    # ------------------------------------------------------------------ what is delivered

    def settle_by(self, rows: int | Ints, model: int, value: Any, reply: Answer) -> None:
        """What rows that ask the same are delivered, by a reply and what was read in it."""
        if value is not None:
            self.settle(rows, model, format_value(value))
            return
        self.settle(rows, model, None, status(reply))
        self._lost += 1
        if not self.proven and self._lost == HOPELESS and int(self.settled.sum()) == len(self.errors):
            raise Refused(hopeless(self.models[0].name, HOPELESS, reply))

    def settle(self, rows: int | Ints, model: int, answer: str | None, error: str | None = None) -> None:
        """What rows are delivered: an answer, or an error."""
        self.settled[rows] = True
        self.by[rows] = model
        if error is not None:
            self.errors |= dict.fromkeys(np.atleast_1d(rows).tolist(), error)
        elif answer is not None:
            self.answers[rows] = answer

    def reopen(self) -> None:
        """Rows without an answer whose request another row asks too, and may have an answer to, are asked again."""
        lost = np.zeros(self.rows, bool)
        lost[list(self.errors)] = True
        self.unsettle(np.flatnonzero(lost & ~self.alike.least(lost)))

    def unsettle(self, rows: Ints) -> None:
        """These rows are to be settled again."""
        self.settled[rows] = False
        for row in rows.tolist():
            self.errors.pop(row, None)

    def reference_only_cost(self, profiled: Ints) -> float:
        """Estimate, USD: what the reference would have cost on every distinct request.

        From the rows profiled (a uniform sample), where there are enough of them; exact when all were asked.
        """
        if not np.isnan(self.costs[0]).any():
            return float(self.spent()[0])
        rows = profiled if len(profiled) >= 30 else np.arange(self.rows)
        known = self.reference_cost[rows]
        known = known[~np.isnan(known)]
        return float(known.mean() * self.costs.shape[1]) if len(known) else 0.0
