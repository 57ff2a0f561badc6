"""A warm start: what the ledger of a table run of the same task knows of the candidates.

It may decide anything that costs, and nothing that is promised: it is taught to the stream before its first request,
and counts in no window.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from smart_llm.errors import InputError
from smart_llm.gateway.questions import Questions
from smart_llm.gateway.spoken import Asked
from smart_llm.ledger import Reader
from smart_llm.ledger.reader import read_answer
from smart_llm.procedures.stream import Stream
from smart_llm.tasks import Task
from smart_llm.types import Answer, Model, Request

MOST = 4000
"""Rows of a candidate that are looked at, the newest ones."""
_NEWEST = "SELECT request, answer FROM answers WHERE model = ? AND request IS NOT NULL ORDER BY id DESC LIMIT ?"
_request = msgspec.json.Decoder(Request).decode

Said: TypeAlias = dict[Asked, Answer]


def teach(stream: Stream, questions: Questions, task: Task, models: tuple[Model, ...], path: Path) -> None:
    """Teach a stream what a ledger knows. `InputError` where that is nothing."""
    with Reader.open(path) as reader:
        said = [dict(_answers(reader, model)) for model in models]
    reference, taught = said[0], 0
    for way, answers in enumerate(said[1:]):
        for asked, answer in answers.items():
            if (beside := reference.get(asked)) is None or (right := task.read(beside)) is None:
                continue
            value = task.read(answer)
            tried = questions.tried(way, asked, answer, value)
            stream.teach(tried, task.equivalent(value, right), beside.cost)
            taught += 1
    if not taught:
        raise InputError(
            f"learn_from: {path} has no rows that the reference and a candidate of this route have both answered, or "
            "it was written without text."
        )


def _answers(reader: Reader, model: Model) -> Iterator[tuple[Asked, Answer]]:
    """What a model was asked and said, oldest first."""
    rows: list[Any] = reader._db.execute(_NEWEST, (model.name, MOST)).fetchall()
    for text, said in reversed(rows):
        request = _request(text)
        if not request.draw:
            yield Asked("", request.prompt, request.system, request.before), read_answer(said)
