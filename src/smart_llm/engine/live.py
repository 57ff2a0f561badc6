"""The live driver: asks and deliveries answered by calling models.

`Live` renders rows into requests, sends them through the client, reads the replies by the task's contract and turns
them into marks. What it keeps per row is what will be delivered: answer, model, status. Money is counted once per
distinct request, whoever pays first, so that a run taken up again costs what the undisturbed run costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.cascades import accepts, passes
from smart_llm.engine.aside import Aside
from smart_llm.engine.delivered import Texts
from smart_llm.engine.once import Client, Once
from smart_llm.engine.pool import Stop, all_of, each
from smart_llm.engine.routing import Routing
from smart_llm.errors import Refused
from smart_llm.events import Delivering, Listener, Profiling
from smart_llm.ledger import request_key
from smart_llm.tables import Table
from smart_llm.tasks import Task, format_value
from smart_llm.tasks.scores import answer_key, reads_words, self_consistency, words_of
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
    Cascade,
    Floats,
    Ints,
    Model,
    Request,
)

HOPELESS = 20
"""If so many rows come first of which none has an answer, the run stops: the rest would be paid for in vain."""
BROKEN = "error: the reference's answer breaks the output contract"
WARM = 1.0
"""Temperature of further draws: samples of what a model would say (self-consistency; Wang et al. 2023)."""
SLICE = 4096
"""Rows rendered at a time while delivering: bounds memory, feeds thousands of calls in flight."""
NONE: Ints = np.empty(0, np.int64)
"""No positions."""

Delivery: TypeAlias = tuple[int, Any, Answer]
"""The model a row is answered by, its value (None: the row has no answer), its reply."""
Told: TypeAlias = tuple[Any, Answer, float]
"""A parsed value (None: contract broken or failed), the reply (its cost that of every draw), the model's own score."""


Settle: TypeAlias = Callable[[int, str], Awaitable[Delivery]]
"""(position, prompt) → what is delivered."""


Made: TypeAlias = Callable[[int, list[list[str]], Answers], Awaitable[None]]
"""Told of a row of an ask once its marks are made: its place, the keys of its requests by model, the sheet."""


class Live:
    """One run's rows. models: reference first. Arrays have one entry per row of the table. aside: rows that are no part
    of the population; an `Ask` and a `Verdict` speak of the population's rows."""

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
        self._table, self.columns, self._render = table, columns, task.template(columns).render
        self.answers = Texts(table.rows)
        self.by = np.zeros(table.rows, np.int16)
        self.settled = np.zeros(table.rows, bool)
        self.proven = False  # whether the reference is known to answer: then the first rows prove nothing
        self.errors: dict[int, str] = {}
        self.batches: list[tuple[Ints, Answers]] = []  # what was profiled, ask by ask
        self.so_far = 0.0  # USD in order of arrival: for showing, `spent` is the account
        self.again: dict[int, float] = {}  # USD of second answers by the reference, by group of equal rows
        self.reference_cost = np.full(table.rows, np.nan)
        self.groups = table.groups(columns)
        self.costs = np.full((len(models), int(self.groups.max(initial=-1)) + 1), np.nan)
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
            self._settle(row[0], 0, *await self._ask(row[0], 0, row[1]))

        rows = zip(positions.tolist(), prompts, strict=True)
        await each(rows, one, workers=min(workers, len(positions)), stop=self.stop)
        return [[request_key(self.request(0, prompt))] for prompt in prompts]

    @property
    def distinct(self) -> int:
        """Different requests there are per model: equal rows share an answer, paid for once."""
        return int(self.costs.shape[1])

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
            first, _ = await self._ask(position, 0, prompt)
            reply = await self.client.ask(replace(self.request(0, prompt), draw=1))
            self.again[int(self.groups[position])] = reply.cost
            second = self.task.parse(reply.text)
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
            value, reply = await self._ask(row[0], 0, row[1])
            if value is not None:
                del self.errors[row[0]]
                self.settle(row[0], 0, format_value(value))
            else:
                self.errors[row[0]] = f"error: {reply.error}" if reply.error else BROKEN

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

        async def one(k: int) -> None:
            nonlocal done
            position = int(positions[k])
            values = await self.look(sheet, k, position, prompts[k], ask.models)
            if made is not None:
                await made(k, keys[k], sheet)
            if 0 in values:
                self._settle(position, 0, *values[0][:2])
            done += 1
            tell(Profiling(ask.stage, done, shape[0], before, ask.outlook, self.so_far))

        asked = each(range(shape[0]), one, workers=min(workers, shape[0]), stop=self.stop)
        await all_of([asked, self.buy(self.aside.population[also], ask.models, workers)])
        self.batches.append((positions, sheet))
        return sheet, keys

    async def look(self, sheet: Answers, k: int, position: int, prompt: str, models: Sequence[int]) -> dict[int, Told]:
        """A row as evidence: like `_fill`, but a call that failed counts as bad, for it may answer when it delivers."""
        values = await self._fill(sheet, k, position, prompt, models)
        for m, (_, reply, _) in values.items():
            if reply.error is not None:
                sheet.marks[k, m], sheet.cost[k, m] = (BAD, 0.0) if m else (ERROR, 0.0)
                sheet.score[k, m] = np.nan
        return values

    async def _fill(self, sheet: Answers, k: int, position: int, prompt: str, models: Sequence[int]) -> dict[int, Told]:
        """Ask these models about one row, and write marks, costs, scores and traits into line k of the sheet."""
        values = dict(zip(models, await all_of(self._told(position, m, prompt) for m in models), strict=True))
        assert sheet.traits is not None
        sheet.traits.text[k] = len(prompt)
        if sheet.traits.words is not None:
            sheet.traits.words[k] = words_of(prompt)
        for m, (value, reply, score) in values.items():
            sheet.cost[k, m] = reply.cost
            sheet.marks[k, m] = self._mark(m, value, values)
            if value is not None:
                said = format_value(value)
                sheet.score[k, m] = score
                sheet.traits.key[k, m], sheet.traits.length[k, m] = answer_key(said), len(said)
        return values

    async def _ask(self, position: int, model: int, prompt: str) -> tuple[Any, Answer]:
        """One row's answer from one model: its parsed value (None = contract broken or failed) and the reply."""
        reply = await self.client.ask(self.request(model, prompt))
        if model == 0 and reply.error is None:
            self.reference_cost[position] = reply.cost
        self.count(position, model, reply.cost)
        return self.task.parse(reply.text), reply

    async def _told(self, position: int, model: int, prompt: str) -> Told:
        """One row's answer from one model and how sure it is of it: by further draws where it has any, else by its
        log-probabilities."""
        further = self.requests(model, prompt)[1:]
        if not further:
            value, reply = await self._ask(position, model, prompt)
            return value, reply, own_score(reply, value, self.task.contract.labels)
        drawing = asyncio.ensure_future(all_of(self.client.ask(request) for request in further))
        try:
            value, reply = await self._ask(position, model, prompt)
        finally:
            again = await drawing  # no call is left behind
        costs = [other.cost for other in again]
        self.count_draws(position, model, costs)
        key, *others = [
            0 if said is None else answer_key(format_value(said))
            for said in (value, *(self.task.parse(other.text) for other in again))
        ]
        lost = any(other.error for other in again)  # an answer that is missing says nothing
        score = float("nan") if lost else self_consistency(key, others)
        return value, replace(reply, cost=reply.cost + sum(costs)), score

    def _mark(self, model: int, value: Any, values: dict[int, Told]) -> int:
        if model == 0:
            return ERROR if value is None else AGREE
        if value is None:
            return DEFER
        if 0 not in values:
            return NOT_ASKED
        return AGREE if self.task.equivalent(value, values[0][0]) else BAD

    # ------------------------------------------------------------------ delivery

    async def deliver(self, routing: Routing, workers: int, tell: Listener) -> None:
        """Settle every row that is left."""
        done = int(self.settled.sum())
        alone = self.reference_only_cost(np.flatnonzero(self.settled)) / self.rows
        settle = self._by_share(routing) if routing.cascade is None else self._by_tiers(routing.cascade, routing.u)

        async def one(row: tuple[int, str]) -> None:
            nonlocal done
            model, value, reply = await settle(*row)
            self._settle(row[0], model, value, reply)
            done += 1
            tell(Delivering(done, self.rows, len(self.errors), self.so_far, alone * done))

        await each(self._unsettled(), one, workers=workers, stop=self.stop)

    def _by_share(self, routing: Routing) -> Settle:
        """Each row to the model its share says; a broken contract to the reference."""

        async def settle(position: int, prompt: str) -> Delivery:
            if model := int(routing.chosen[position]):
                value, reply = await self._ask(position, model, prompt)
                if value is not None:
                    return model, value, reply
            return (0, *await self._ask(position, 0, prompt))

        return settle

    def _by_tiers(self, rule: Cascade, u: NDArray[np.uint64]) -> Settle:
        """Each row from tier to tier until one accepts it."""

        async def settle(position: int, prompt: str) -> Delivery:
            sheet = Answers.blank((1, len(self.models)), words=reads_words(rule))
            await self._fill(sheet, 0, position, prompt, ())
            for tier in rule.tiers if passes(rule.gate, sheet)[0] else ():
                sheet = Answers.blank((1, len(self.models)))
                values = await self._fill(sheet, 0, position, prompt, tier.models)
                if accepts(tier, sheet, u[position : position + 1])[0]:
                    return (tier.candidate, *values[tier.candidate][:2])
            return (0, *await self._ask(position, 0, prompt))

        return settle

    def _settle(self, position: int, model: int, value: Any, reply: Answer) -> None:
        if value is not None:
            self.settle(position, model, format_value(value))
            return
        self.settle(position, model, None, f"error: {reply.error}" if reply.error else BROKEN)
        if not self.proven and len(self.errors) == HOPELESS and int(self.settled.sum()) == HOPELESS:
            raise Refused(self._hopeless(reply))

    def settle(self, position: int, model: int, answer: str | None, error: str | None = None) -> None:
        """What a row is delivered: an answer, or an error."""
        self.settled[position] = True
        self.by[position] = model
        if error is not None:
            self.errors[position] = error
        elif answer is not None:
            self.answers[position] = answer

    def _hopeless(self, reply: Answer) -> str:
        why = reply.error or f"it said {(reply.text or '')[:60]!r}, which breaks the contract"
        return (
            f"None of the first {HOPELESS} rows has an answer from {self.models[0].name} ({why}). Stopped before more "
            "is spent; what was bought is kept. Mend the prompt, the labels or the model, and run again."
        )

    def _unsettled(self) -> Iterator[tuple[int, str]]:
        left = np.flatnonzero(~self.settled)
        for start in range(0, len(left), SLICE):
            part = left[start : start + SLICE]
            yield from zip(part.tolist(), self.prompts(part), strict=True)

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
