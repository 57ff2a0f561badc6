"""One model's server is asked whether it can be made to keep to the labels, or takes the schema (see `learning`).

A schema is tried first: an answer in JSON can hardly come from a model that was not made to write it, so this tells a
server that keeps to it from one that passes over it. A label under `choice` may also be what the model would have said
anyhow; to tell such a server what it passes over does no harm.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from smart_llm.client.budget import Budget
from smart_llm.client.lane import Lane
from smart_llm.client.pace import Pace, held_back
from smart_llm.engine.job import Job
from smart_llm.engine.session import Session
from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.events import Said
from smart_llm.ledger import request_key
from smart_llm.ledger.reader import PROBE
from smart_llm.providers import making
from smart_llm.providers.base import Provider, answered
from smart_llm.providers.enforced import NONE, TOLD, shows_choice, shows_schema
from smart_llm.providers.http import HttpProvider
from smart_llm.types import Answer, Model, Request

ROWS = 3
"""Rows that are tried where a server refuses one for itself."""
SILENCE = 60.0
"""Seconds that the first call may take, at most: a model may have to be loaded first."""
LONGER, LEAST = 10.0, 5.0
"""How many times as long as an answer without being told, and how many seconds more, one may take that is told."""
ENOUGH = 5
"""Answers of a server that is not told anything, with only failures when it is told, that show why it fails. One in
250 servers that fail at random on half of the calls is misjudged."""
THERE, TELLING = 30.0, 3
"""Seconds that a server is waited for which answers nobody, and after how many failures that is said."""
PAUSE, LONGEST = 0.2, 2.0
"""Seconds between looks at whether the user wants to stop, and between failures: longer with each, at most so long."""


class _NotTaken(Refused):
    """A server has refused every parameter by which it could be told."""


class _Unsure(Exception):
    """Nothing can be learned from this server for now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was learned of a model: the way it is told, or "none". why: in words; sure: whether that is to be kept."""

    way: str
    why: str = ""
    sure: bool = True

    def words(self, name: str, *, labels: bool) -> str:
        """In a sentence."""
        what = "keep it to the labels" if labels else "take the schema"
        if not self.sure:
            return f"{name}: whether its server can {what} could not be learned, so it is not told to. {self.why}"
        if self.way == NONE:
            return f"{name}: its server does not {what}, so it is not told to. {self.why}"
        return f"{name}: its server can {what} (enforce={self.way}), as a call has shown; it is told to in this run."


class Inquiry:
    """What is asked of one server, by calls that `run` pays from this purse."""

    def __init__(self, model: Model, job: Job, session: Session, purse: Budget, run: str) -> None:
        self._model, self._job, self._means, self._purse, self._run = model, job, session, purse, run
        self._seconds = min(session.timeout, SILENCE)
        self._random, self._failures = Random(0), 0
        columns = job.task.columns(job.table.columns)
        self._render, self._rows = job.task.template(columns).render, iter(range(min(ROWS, job.table.rows)))
        self._columns = columns
        self._prompt = self._next_prompt() or ""

    async def outcome(self) -> Outcome:
        """The first way in which the server keeps to what it is told."""
        both = self._job.task.contract.labels and self._model.provider == "openai"
        try:
            for way in TOLD if both else TOLD[:1]:
                if not (why := await self._tried(way)):
                    return Outcome(way)
        except _Unsure as unsure:
            return Outcome(NONE, str(unsure), sure=False)
        return Outcome(NONE, why)

    async def _tried(self, way: str) -> str:
        """Why the server does not keep to what it is told in this way; empty: it does. One that fails is asked the
        same without being told, in turn with it: it may fail in any case, or not be there."""
        until, otherwise = asyncio.get_running_loop().time() + min(self._means.patience, THERE), 0
        while True:
            said = await self._asked(way)
            if isinstance(said, Answer):
                return self._broken(way, said)
            if isinstance(said, Refused):
                if said.row_only and (prompt := self._next_prompt()) is not None:
                    self._prompt = prompt
                    continue
                return self._refused(said)
            if await self._answers_otherwise():
                otherwise += ENOUGH // 2 + 1 if isinstance(said, Retryable) and said.late else 1
            elif asyncio.get_running_loop().time() > until:
                raise _Unsure(str(said))
            if otherwise >= ENOUGH:
                return str(said)

    def _refused(self, said: Refused) -> str:
        """What a refusal of this one request says; `_Unsure` for one of all requests."""
        if said.row_only or said.maybe_row:
            return str(said)
        raise _Unsure(str(said))

    def _broken(self, way: str, answer: Answer) -> str:
        """Why an answer does not show that the server keeps to what it was told; empty: it does."""
        task, text = self._job.task, answer.text or ""
        if not task.contract.labels:
            return ""
        labels = task.contract.labels
        if task.read(answer) is not None and (shows_schema(text) if way == TOLD[0] else shows_choice(text, labels)):
            return ""
        return f"It said {text[:60]!r}."

    async def _answers_otherwise(self) -> bool:
        """Whether the server answers when it is not told anything. From then on a call that takes much longer is taken
        for one that hangs."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        said = await self._asked(NONE)
        if isinstance(said, Answer):
            self._seconds = min(self._seconds, LEAST + LONGER * (loop.time() - began))
        elif isinstance(said, Refused):
            self._refused(said)
        else:
            self._failures += 1
            if self._failures == TELLING:
                self._means.tell(Said(f"{self._model.name} does not answer: {said} It is tried again for a while."))
            await self._wait(min(LONGEST, PAUSE * self._failures))
            return False
        return True

    async def _asked(self, way: str) -> Answer | ProviderError:
        """One call, or a few while the server asks to slow down."""
        told = replace(self._model, enforce=way, also=())
        (provider,) = making.make_providers([told]).values()
        if isinstance(provider, HttpProvider):
            provider.lost = _not_taken
        loop, tries = asyncio.get_running_loop(), 0
        until = loop.time() + self._means.patience
        try:
            while True:
                said = await self._call(provider, told)
                if not (isinstance(said, Retryable) and said.throttled) or loop.time() > until:
                    return said
                tries += 1
                await self._wait(held_back(said.retry_after, tries, self._random))
        finally:
            await provider.close()

    async def _call(self, provider: Provider, model: Model) -> Answer | ProviderError:
        """One call: announced before it leaves, and what it cost or may have cost is booked."""
        request, ledger = self._request(model), self._means.ledger
        lane = Lane(model, provider, Pace(1, self._random))
        self._means.stop.check()
        bound, key = lane.bound(request, self._seconds), request_key(request)
        await self._purse.reserve(bound)
        number, cost, became = await ledger.send(key, model.name, bound, run=self._run), bound, "timed out"
        try:
            async with asyncio.timeout(self._seconds):
                answer = lane.priced(request, await answered(provider, request))
            cost, became = answer.cost, PROBE
        except TimeoutError:
            return Retryable(f"{model.name} did not answer within {self._seconds:g} s.", paid=True, late=True)
        except (Retryable, Refused) as error:
            cost = bound if isinstance(error, Retryable) and error.paid else 0.0
            became = "failed" if isinstance(error, Retryable) else "refused"
            return error
        finally:
            self._purse.settle(bound, cost)
            await ledger.attempt(key, model.name, became, cost, run=self._run, settles=number)
        if self._purse.limit is not None and (beyond := lane.trust.broke(bound, answer)):
            raise beyond
        return answer

    def _request(self, model: Model) -> Request:
        """What a candidate would be asked about the row."""
        task = self._job.task
        return Request(
            model.name,
            self._prompt,
            task.max_tokens,
            system=task.system,
            labels=task.contract.labels,
            schema=task.contract.schema,
            logprobs=True,
            **model.settings,
        )

    def _next_prompt(self) -> str | None:
        """The prompt of the next row that is tried, if there is one."""
        cells = next((self._job.table.cells_at(np.array([row]), self._columns) for row in self._rows), None)
        return None if cells is None else self._render(next(iter(cells)))

    async def _wait(self, seconds: float) -> None:
        """Wait, but not for longer than the user wants."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            self._means.stop.check()
            await asyncio.sleep(min(PAUSE, left))


def _not_taken(text: str) -> None:
    raise _NotTaken(text.partition(": ")[2], maybe_row=True)
