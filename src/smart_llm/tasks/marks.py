"""Marks: what a model's answer to a row is worth beside the reference's."""

from __future__ import annotations

from collections.abc import Mapping

from smart_llm.tasks.task import Task
from smart_llm.types import AGREE, BAD, DEFER, ERROR, NOT_ASKED


def mark(task: Task, model: int, value: object, values: Mapping[int, object]) -> int:
    """What a model's answer is worth beside the others to the same row: model index → parsed value."""
    if model == 0:
        return ERROR if value is None else AGREE
    if value is None:
        return DEFER
    if 0 not in values:
        return NOT_ASKED
    return AGREE if task.equivalent(value, values[0]) else BAD
