"""`learned` in a live run: lessons from the reference's answers, and the model that answers from then on.

A lesson is an ask like any other: what it said of the rows it was taught with, and the rows it named, are recorded, so
that a resumed run is told the same and teaches nobody again. The model of the last lesson is written into the ledger
before it is asked about any row (`TAUGHT`): a run that is resumed, and whoever verifies it, has the very model whose
answers were evidence. Its hash is part of the key of its answers, as an address is for other models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import inf

import numpy as np

from smart_llm.defaults import CONCURRENCY
from smart_llm.engine.job import Job
from smart_llm.engine.known import Remembered, of_entry, to_entry
from smart_llm.engine.live import Live
from smart_llm.engine.pool import each
from smart_llm.errors import InputError, LedgerError
from smart_llm.events import Listener, Said
from smart_llm.learned import closed
from smart_llm.learned.fitting import Recipe
from smart_llm.learned.learner import FEW, Learner, Shelf
from smart_llm.learned.model import kept_model, to_keep
from smart_llm.learned.space import Singles
from smart_llm.ledger import Ledger, RunRecord
from smart_llm.ledger.entries import TAUGHT, Entry
from smart_llm.providers.embeddings import vector_in, vector_request
from smart_llm.providers.taught import Taught
from smart_llm.scores.traits import answer_key
from smart_llm.tasks import Task
from smart_llm.tasks.given import value_of
from smart_llm.text.numbers import usd
from smart_llm.types import AGREE, BAD, DEFER, Answers, Ask, Ints, Json, Least

TRIED, USED = 0.01, 0.03
"""What the vectors of the rows it learns from may cost, as a share of what the reference costs on every row: while they
tell nothing, and once they do. Those of the rows it names cost `TRIED` at most besides."""
SOME = 100
"""Fewest rows on which it can be found out whether vectors help. An embedder too expensive for them is refused."""


def fields_of(task: Task) -> tuple[str, ...]:
    """The fields that answers are learned by; none of labels."""
    return () if task.contract.labels else closed.names(task.contract.schema)


class Teaching:
    """The candidate of one run that is taught. number: among its models."""

    def __init__(
        self, job: Job, live: Live, provider: Taught, ledger: Ledger, record: RunRecord, tell: Listener
    ) -> None:
        self.number = next(k for k, model in enumerate(job.models) if model.provider == "learned")
        self._live, self._provider, self._ledger, self._run_id, self._tell = live, provider, ledger, record.run_id, tell
        template = job.task.template(job.task.columns(job.table.columns))
        provider.around = len(template.literals[0]), len(template.literals[-1])
        population = live.questions.aside.population
        self._at = job.models[self.number].at
        embeds = provider.embedder is not None
        self._shelf = Shelf(len(population), lambda at: self._texts(population[at]), self._vectors if embeds else None)
        self._learner, self._last = Learner(self._shelf, fields=fields_of(job.task)), np.empty(0, np.int64)
        self._begun, self._embeds, self._by_vectors = self._learner.recipes, False, embeds
        self._worth, self._ready = inf, False
        self._remembered = Remembered(job, record, ledger, live)
        self._remembered.note()

    def _texts(self, positions: Ints) -> list[str]:
        return [self._provider.cut(str(prompt)) for prompt in self._live.questions.prompts(positions)]

    def _vectors(self, positions: Ints) -> Singles:
        """Of these rows' texts; nothing of those that have none, since they could not be embedded."""
        texts = self._texts(self._live.questions.aside.population[positions])
        known = [self._provider.vectors.get(text) for text in texts]
        none = np.zeros(self._provider.numbers, np.float32)
        return np.stack([none if vector is None else vector for vector in known])

    async def _embed(self, positions: Ints) -> None:
        """Have these rows' texts embedded, once for ever: their vectors are kept in the ledger."""
        if self._provider.embedder is None or self._at is None:
            return
        whole = self._live.questions.aside.population[positions]
        texts, known = self._texts(whole), self._provider.vectors
        todo = {text: row for row, text in zip(whole.tolist(), texts, strict=True) if text not in known}

        async def one(item: tuple[str, int]) -> None:
            text, row = item
            answer = await self._live.client.ask(vector_request(text, str(self._at)))
            if answer.error is None:
                known[text] = self._provider.fitting(vector_in(answer))
                self._live.account.count(row, self.number, answer.cost)

        await each(todo.items(), one, workers=CONCURRENCY, stop=self._live.stop)

    def priced(self, rates: Sequence[float]) -> None:
        """Told what a call to each model is expected to cost, before any is made; `InputError`: vectors cost too much
        to find out whether they help."""
        if self._provider.embedder is None or not rates[self.number]:
            return
        rows, vector = self._live.questions.to_come, rates[self.number]
        self._worth = rows * rates[0] / vector
        self._learner.few = min(FEW, int(TRIED * self._worth))
        if rates[0] and self._learner.few < min(SOME, rows):
            raise InputError(
                f"--candidate {self._provider.name}: the vector of a text is expected to cost {usd(vector)}, an "
                f"answer of the reference {usd(rates[0])}: too much to find out on {rows:,} different rows whether "
                "vectors help. Name an embedder that costs less (&in= is its price), or leave out embed=."
            )

    async def lesson(self, ask: Ask) -> tuple[Answers, dict[str, Json]]:
        """Teach it with these rows; what is said of them, and what else is to be recorded."""
        labels, self._learner.earlier = self._labels(ask.positions), self._remembered.earlier
        self._by_vectors = len(ask.positions) <= self._worth * (USED if self._embeds else TRIED)
        if self._by_vectors:
            await self._embed(ask.positions)
        said = await asyncio.to_thread(self._learner.teach, ask.positions, labels, by_vectors=self._by_vectors)
        sheet, fitted = self._sheet(ask), self._learner.fitted
        self._embeds = fitted is not None and fitted.embeds
        for k, label in enumerate(labels):
            told = None
            if fitted is not None and said is not None and said.label[k] >= 0:
                told = fitted.answer(int(said.label[k]))
            self._write(sheet, k, told, label, float(said.odds[k]) if said is not None else float("nan"))
        embedded = self._embeds and ask.least > 0
        if embedded:
            await self._embed(self._learner.namable)
        named = await asyncio.to_thread(self._learner.least_sure, ask.positions, ask.least)
        like = await self._like(ask.positions, float(np.nanmean(sheet.cost[:, 0])))
        self._taught(ask)
        population = self._live.questions.aside.population
        least = {"positions": population[named[0]].tolist(), "odds": named[1].tolist()} | {
            "share": self._learner.named_of
        }
        return replace(sheet, least=Least(*named, self._learner.named_of), like=like), {
            "least": least,
            "like": to_entry(like),
            "by_vectors": self._by_vectors,
            "embedded": embedded,
            "recipes": [asdict(recipe) for recipe in self._learner.recipes],
        }

    async def _like(self, asked: Ints, price: float) -> Answers | None:
        """Rows known before that are like those left, and what is said of each by a model that had not seen it."""
        learner, earlier = self._learner, self._learner.earlier
        if not earlier.texts or learner.of_earlier is None or learner.fitted is None:
            return None
        at = await asyncio.to_thread(learner.like_left, asked)
        found = (await self._remembered.sheet(price)).rows(at)
        for k, row in enumerate(at.tolist()):
            label, odds = int(learner.of_earlier.label[row]), float(learner.of_earlier.odds[row])
            self._write(found, k, learner.fitted.answer(label) if label >= 0 else None, earlier.labels[row], odds)
        return found

    async def told(self, ask: Ask, entry: Entry) -> Answers:
        """A lesson of an earlier session, as it was recorded."""
        self._by_vectors = bool(entry.get("by_vectors", True))  # earlier versions always did, and did not say so
        if self._by_vectors:
            await self._embed(ask.positions)
        if entry.get("embedded"):
            await self._embed(self._learner.namable_of(few=True))
        sheet, labels, m = self._sheet(ask), self._labels(ask.positions), self.number
        assert sheet.traits is not None
        at = list(entry["models"]).index(m)
        for k, label in enumerate(labels):
            self._write(sheet, k, None, label, float("nan"))
            score = entry["scores"][k][at]
            sheet.marks[k, m], sheet.traits.key[k, m] = entry["marks"][k][at], entry["said"][k][at]
            sheet.score[k, m] = float("nan") if score is None else score
        place = np.full(self._live.questions.rows, -1)
        place[self._live.questions.aside.population] = np.arange(len(self._live.questions.aside.population))
        named = place[np.array(entry["least"]["positions"], np.int64)]
        self._begun, self._embeds = self._learner.recipes, bool(entry.get("embedded"))
        self._learner.recipes = tuple(Recipe(**recipe) for recipe in entry["recipes"])
        self._taught(ask)
        least = Least(named, np.array(entry["least"]["odds"], float), entry["least"]["share"])
        return replace(sheet, least=least, like=of_entry(entry.get("like"), len(self._live.models)))

    def _taught(self, ask: Ask) -> None:
        self._last, self._ready = ask.positions, False

    async def ready(self, ask: Ask) -> None:
        """From here on the model of the last lesson answers; it is in the ledger before it is asked anything."""
        if not self._ready:
            await self._settle()
        if self._provider.fitted is not None and self._provider.fitted.embeds:
            await self._embed(ask.positions)

    async def _settle(self) -> None:
        kept = self._ledger.latest(self._run_id, TAUGHT)
        if kept is not None:
            self._learner.fitted = kept_model(kept)
        elif self._learner.fitted is None:
            self._learner.earlier = self._remembered.earlier
            self._learner.recipes, labels = self._begun, self._labels(self._last)  # what that lesson began with
            await asyncio.to_thread(self._learner.teach, self._last, labels, by_vectors=self._by_vectors)
        fitted = self._learner.fitted
        if fitted is None:
            raise LedgerError("learned: there is nothing that it was taught with.")
        if kept is None:
            self._ledger.event(self._run_id, TAUGHT, to_keep(fitted, self._provider.around, self._at))
            self._tell(Said(f"learned: taught with {fitted.rows:,} answers of {self._live.models[0].name}."))
        self._provider.fitted, self._ready = fitted, True
        self._live.questions.settle_learned(self.number, fitted.name)

    def _labels(self, positions: Ints) -> list[str | None]:
        """The reference's answers."""
        rows, whole = self._live.rows, self._live.questions.aside.population[positions]
        return [None if row in rows.errors else rows.answers[row] for row in whole.tolist()]

    def _sheet(self, ask: Ask) -> Answers:
        """What is known of these rows already."""
        live, known = self._live, dict[int, tuple[Answers, int]]()
        for positions, sheet in live.batches:
            known |= {row: (sheet, k) for k, row in enumerate(positions.tolist())}
        whole = live.questions.aside.population[ask.positions]
        found = Answers.blank((len(whole), len(live.models)), words=True)
        for k, row in enumerate(whole.tolist()):
            sheet, at = known[row]
            found.fill(np.array([k]), (0,), _line(sheet, at))
        return found

    def _write(self, sheet: Answers, k: int, told: str | None, truth: str | None, odds: float) -> None:
        """What is said of one row, beside the reference's answer."""
        m, traits = self.number, sheet.traits
        assert traits is not None
        sheet.marks[k, m], sheet.score[k, m] = DEFER, odds
        if truth is None:
            sheet.marks[k, m] = BAD
        elif told is not None:
            task = self._live.task
            same = task.equivalent(value_of(task.contract, told), value_of(task.contract, truth))
            sheet.marks[k, m] = AGREE if same else BAD
            traits.key[k, m], traits.length[k, m] = answer_key(told), len(told)


def _line(sheet: Answers, k: int) -> Answers:
    """One line of a sheet."""
    at = np.array([k])
    traits = None if sheet.traits is None else sheet.traits.rows(at)
    return Answers(sheet.marks[at], sheet.cost[at], sheet.score[at], traits)
