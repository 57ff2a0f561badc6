"""`--learn-from LEDGER | FILE:COLUMN`: labels that the user names, for a candidate that is taught in the run.

Of a ledger: the reference's answers to other texts under the very same task. Of a file: a column of labels, people's
own, say, beside the columns that the prompt asks about. They teach and are never evidence, nor delivered; what the
candidate has learned of them is tried on rows that the reference answers, like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smart_llm import tables
from smart_llm.engine.questions import Questions
from smart_llm.errors import InputError, meant
from smart_llm.learned.earlier import digest
from smart_llm.ledger import Reader, request_key
from smart_llm.tasks import Task, format_value
from smart_llm.types import Model
from smart_llm.types.plan import GivenLabels

SQLITE = b"SQLite format 3\0"
"""How a ledger begins."""


@dataclass(frozen=True, slots=True)
class Given:
    """The labels of one source. name: as the user wrote it."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def told(self) -> GivenLabels:
        """As a plan names it."""
        pairs = zip(self.texts, self.labels, strict=True)
        return GivenLabels(name=self.name, labels=len(self.labels), digest=digest(pairs))


def given(sources: Sequence[str], task: Task, table: tables.Table, models: Sequence[Model]) -> tuple[Given, ...]:
    """What is in these sources; `InputError` for one without any label of the task."""
    return tuple(_source(source, task, table, models) for source in dict.fromkeys(sources))


def _source(source: str, task: Task, table: tables.Table, models: Sequence[Model]) -> Given:
    path = Path(source)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(SQLITE)) != SQLITE:
                raise InputError(f"--learn-from {source}: also name the column of labels: {source}:COLUMN.")
        found = _of_ledger(path, task, table, models)
    else:
        found = _of_file(source, task)
    if not found:
        raise InputError(f"--learn-from {source}: it holds no label of this task.")
    return Given(path.name, *(tuple(column) for column in zip(*found, strict=True)))


def _of_file(source: str, task: Task) -> list[tuple[str, str]]:
    """Texts and labels of the rows that have one."""
    name, _, column = source.rpartition(":")
    if not name or not Path(name).is_file():
        raise InputError(f"--learn-from {source}: give a ledger, or a file and its column of labels as FILE:COLUMN.")
    rows = tables.open_table(Path(name))
    if column not in rows.columns:
        raise InputError(f"--learn-from {source}: {name} has no column {column}.{meant(column, rows.columns)}")
    columns = task.columns(rows.columns)
    template = task.template(columns)
    before, after = around(template)
    found = []
    for cells in rows.cells_at(np.arange(rows.rows), (*columns, column)):
        value = task.parse(cells[column]) if cells[column].strip() else None
        if value is not None:
            prompt = template.render(cells)
            found.append((prompt[before : len(prompt) - after], format_value(value)))
    return found


def around(template: Any) -> tuple[int, int]:
    """Characters of a prompt before and after what the row says."""
    return len(template.literals[0]), len(template.literals[-1])


def _of_ledger(path: Path, task: Task, table: tables.Table, models: Sequence[Model]) -> list[tuple[str, str]]:
    questions = Questions(table, task, tuple(models[:1]))
    with Reader.open(path) as reader:
        keys = reader.keys(models[0].name, reader.last_number())
        return [(text, label) for text, label in answered(reader, questions, task, sorted(keys)).values()]


def answered(reader: Reader, questions: Questions, task: Task, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of these answers, those of the reference to what this task asks, with a label: what the row said, and the label,
    by key. Where texts are not stored, none is."""
    template = task.template(questions.columns)
    (head, tail), (before, after) = (template.literals[0], template.literals[-1]), around(template)
    prompts, answers = reader.prompts(keys), reader.get_many(keys)
    found = {}
    for key in keys:
        prompt, value = prompts.get(key), task.read(answers.get(key))
        if prompt is None or value is None or not (prompt.startswith(head) and prompt.endswith(tail)):
            continue
        if request_key(questions.request(0, prompt)) == key:
            found[key] = prompt[before : len(prompt) - after], format_value(value)
    return found
