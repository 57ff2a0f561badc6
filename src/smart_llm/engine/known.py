"""What is known before a run with a taught candidate: the reference's answers in the ledger, and labels the user names.

Rows of the table that the reference has answered are set aside, like rows of a pilot: these answers are delivered, cost
nothing, and are never evidence. They teach, and so do the reference's answers to other texts under the same task (a
smaller table, an older one) and the labels that the user names. Which answers these are is settled when the plan is
frozen: the plan says how many and their hash, the ledger keeps their keys, and what comes later adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from smart_llm.engine.given import Given, answered, around
from smart_llm.engine.job import Job, of_words
from smart_llm.engine.live import Live
from smart_llm.engine.pilot import Held
from smart_llm.engine.questions import Questions
from smart_llm.engine.spelled import FEWEST
from smart_llm.events import Stop, nobody
from smart_llm.learned.earlier import NOTHING, Earlier, digest
from smart_llm.ledger import Ledger, Reader, RunRecord, request_key
from smart_llm.ledger.entries import KNOWN
from smart_llm.providers.specs import LEARNED
from smart_llm.scores.traits import answer_key
from smart_llm.tasks import format_value
from smart_llm.types import AGREE, Answers, Ask, Floats, Json
from smart_llm.types.plan import KnownLabels

MOST = 20_000
"""Answers that are taught with, at most: more would take longer than they teach."""


@dataclass(frozen=True, slots=True)
class Before:
    """The reference's answers in a ledger. rows: of the table, those that have one; keys: of those that are taught
    with; first: of each, the first row of the table that asks it (−1: none does); pairs: texts and labels; last: the
    number of the last answer that was looked at."""

    rows: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    last: int = 0

    def told(self, given: Sequence[Given]) -> KnownLabels | None:
        """As it stands in the plan; None where nothing is known."""
        labels = sum(len(each.labels) for each in given)
        if not self.keys and not labels:
            return None
        rows, answers = len(self.rows), len(self.keys)
        return KnownLabels(rows=rows, answers=answers, given=labels, last=self.last, digest=digest(self.pairs))


def before(job: Job, reader: Reader | None, last: int | None = None) -> Before:
    """What a ledger knows that a run of this job can use. last: the number of the last answer to look at."""
    name = job.reference.name
    if reader is None or not of_words(job) or not reader.count(name):
        return Before()
    questions, last = Questions(job.table, job.task, job.models), reader.last_number() if last is None else last
    held = reader.keys(name, last)
    _, first = np.unique(questions.groups, return_index=True)
    asked = {
        key: row
        for row, prompt in zip(first.tolist(), questions.prompts(first), strict=True)
        if (key := request_key(questions.request(0, prompt))) in held
    }
    labels = _labels(job, reader, list(asked))
    known = np.isin(questions.groups, questions.groups[[asked[key] for key in labels]])
    if job.table.rows - int(known.sum()) < FEWEST:
        return Before()  # too little is left to learn for
    others = answered(reader, questions, job.task, sorted(held - asked.keys()))
    keys = _spread(list(labels), MOST)
    further = _spread(list(others), MOST - len(keys))
    prompts = questions.prompts(np.array([asked[key] for key in keys], np.int64))
    start, end = around(job.task.template(questions.columns))
    pairs = [(prompt[start : len(prompt) - end], labels[key]) for key, prompt in zip(keys, prompts, strict=True)]
    places = [*(asked[key] for key in keys), *(-1 for _ in further)]
    return Before(
        np.flatnonzero(known).tolist(), [*keys, *further], places, [*pairs, *(others[key] for key in further)], last
    )


def _labels(job: Job, reader: Reader, keys: Sequence[str]) -> dict[str, str]:
    """What these answers say, where the task can read them."""
    read = {key: job.task.read(answer) for key, answer in reader.get_many(keys).items()}
    return {key: format_value(read[key]) for key in keys if read.get(key) is not None}


def _spread(keys: list[str], most: int) -> list[str]:
    """At most `most` of the keys, evenly spaced."""
    if len(keys) <= most:
        return keys
    return [keys[at] for at in np.unique(np.linspace(0, len(keys) - 1, most).astype(np.int64)).tolist()] if most else []


class Remembered:
    """What one run is taught with beforehand. Made when it is needed: a run that is resumed has been taught."""

    def __init__(self, job: Job, record: RunRecord, ledger: Ledger, live: Live) -> None:
        self._job, self._record, self._ledger, self._live = job, record, ledger, live
        self._before: Before | None = None
        self._sheet: Answers | None = None

    def note(self) -> None:
        """The keys of the answers, once, before anything is asked."""
        told = self._record.plan.known
        if told is not None and self._ledger.latest(self._record.run_id, KNOWN) is None:
            known = self._known
            start_end = list(around(self._job.task.template(self._live.questions.columns)))
            payload = {"keys": known.keys, "around": start_end}
            self._ledger.event(self._record.run_id, KNOWN, payload)

    @property
    def _known(self) -> Before:
        """The answers that there were when the plan was frozen."""
        told = self._record.plan.known
        if self._before is None:
            found = told is not None and told.answers
            self._before = before(self._job, self._ledger, told.last) if told is not None and found else Before()
        return self._before

    @property
    def earlier(self) -> Earlier:
        """Texts and labels."""
        if self._record.plan.known is None:
            return NOTHING
        given = [pair for each in self._job.given for pair in zip(each.texts, each.labels, strict=True)]
        pairs = [*self._known.pairs, *given]
        return Earlier(tuple(text for text, _ in pairs), tuple(label for _, label in pairs))

    async def sheet(self, price: float) -> Answers:
        """What is known of these texts besides. price: USD of the reference's answer where it is not known."""
        if self._sheet is not None:
            return self._sheet
        earlier, known = self.earlier, self._known
        sheet = Answers.blank((len(earlier.texts), len(self._live.models)))
        assert sheet.traits is not None
        sheet.marks[:, 0], sheet.cost[:, 0] = AGREE, price
        keys = {label: answer_key(label) for label in set(earlier.labels)}
        sheet.traits.key[:, 0] = [keys[label] for label in earlier.labels]
        sheet.traits.length[:, 0] = [len(label) for label in earlier.labels]
        around_text = sum(around(self._job.task.template(self._live.questions.columns)))
        sheet.traits.text[:] = [len(text) + around_text for text in earlier.texts]
        for model in range(1, len(self._live.models)):
            if self._live.models[model].name != LEARNED and self._live.questions.packed(model) is None:
                await self._asked(sheet, model, known)
        self._sheet = sheet
        return sheet

    async def _asked(self, sheet: Answers, model: int, known: Before) -> None:
        """What a candidate has said of rows of the table, as far as the ledger has it."""
        places = np.flatnonzero(np.array(known.first, np.int64) >= 0)
        rows = np.array(known.first, np.int64)[places]
        questions = self._live.questions
        wanted = [questions.keys_of(prompt, (model,))[0] for prompt in questions.prompts(rows)]
        there = self._ledger.get_many(key for keys in wanted for key in keys)
        asked = np.array([all(key in there for key in keys) for keys in wanted], bool)
        if not asked.any():
            return
        models = self._live.models
        live = Live(self._job.table, self._job.task, models, Held(self._ledger, models), stop=Stop())
        told, _ = await live.profile(Ask(rows[asked], (0, model), "pilot"), int(asked.sum()), nobody)
        sheet.fill(places[asked], (0, model), told)


def to_entry(sheet: Answers | None) -> Json:
    """Rows like those left as they stand in the ledger."""
    if sheet is None or sheet.traits is None:
        return None
    traits = sheet.traits
    numbers = {"cost": sheet.cost, "score": sheet.score, "length": traits.length, "text": traits.text}
    told: dict[str, Json] = {name: _plain(values) for name, values in numbers.items()}
    return told | {"marks": sheet.marks.tolist(), "key": traits.key.tolist()}


def _plain(values: Floats) -> Json:
    """Numbers, with None for those that are not known."""
    known = values.astype(object)
    known[np.isnan(values)] = None
    return known.tolist()


def of_entry(told: Mapping[str, Json] | None, models: int) -> Answers | None:
    """The same, read again."""
    if told is None:
        return None
    sheet = Answers.blank((len(told["marks"]), models))
    assert sheet.traits is not None
    if len(told["marks"]):
        sheet.marks[:], sheet.cost[:] = told["marks"], told["cost"]
        sheet.score[:], sheet.traits.key[:] = np.array(told["score"], float), told["key"]
        sheet.traits.length[:], sheet.traits.text[:] = np.array(told["length"], float), np.array(told["text"], float)
    return sheet
