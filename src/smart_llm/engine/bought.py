"""Counting the evidence again from the ledger: what was asked, in which order, and what the answers were.

The rows asked must be a prefix of the seeded order, rebuilt here from the seed; each recorded answer is read and
compared by the task of the plan. A task with functions of the user's own cannot be rebuilt from the plan: pass it in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np

from smart_llm import verifying
from smart_llm.engine.aside import SET_ASIDE, Aside
from smart_llm.engine.selfcheck import CHECKED, self_agreement
from smart_llm.ledger import Reader
from smart_llm.ledger.reader import Event
from smart_llm.stats.sampling import permutation
from smart_llm.tasks import Task
from smart_llm.types import AGREE, BAD, DEFER, ERROR, NOT_ASKED, Json
from smart_llm.verifying import Round


def recount(c: Mapping[str, Json], events: Sequence[Event], reader: Reader, task: Task | None) -> list[str]:
    """What differs between the certificate and the record, one line each."""
    asks, complete = recorded(events)
    if not complete:
        return ["ledger: the run's profiling is not complete"]
    task = task or rebuilt(c["plan"]["task"])
    if task is None:
        return ["task: it has functions of your own; give the task to verify (in Python) to count its answers again"]
    rounds = [_round(c, ask, reader, task) for ask in asks]
    problems = [*_order(c, asks), *_aside(c, events, reader, task), *_twice(c, events, reader, task)]
    return problems + verifying.recount(c["procedure"]["name"], c["evidence"], rounds)


def rebuilt(described: Mapping[str, Json]) -> Task | None:
    """The task behind its description in a plan; None where it holds functions."""
    if described["parse"] is not None or not isinstance(described["equivalence"], str):
        return None
    kind = described["contract"]
    tolerant = described["equivalence"] in ("number", "json")
    return Task(
        described["prompt"],
        labels=described["labels"],
        answer=kind if kind in ("text", "number") or (kind == "json" and described["schema"] is None) else None,
        schema=_schema(described["schema"]),
        equivalence=described["equivalence"],
        tolerance=described["tolerance"] if tolerant else None,
        system=described["system"],
        max_tokens=described["max_tokens"],
    )


def _schema(text: str | None) -> Mapping[str, Json] | None:
    import msgspec

    return None if text is None else msgspec.json.decode(text)


def recorded(events: Sequence[Event]) -> tuple[list[Mapping[str, Json]], bool]:
    """The asks in order, of a number written twice the last; and whether these are all there were."""
    by_number = {event.payload["number"]: event.payload for event in events if event.kind == "ask"}
    count = next((event.payload["asks"] for event in reversed(events) if event.kind == "asks"), None)
    asks = [by_number[number] for number in takewhile(by_number.__contains__, range(len(by_number)))]
    return asks[:count], count is not None and count <= len(asks)


def _order(c: Mapping[str, Json], asks: Sequence[Mapping[str, Json]]) -> list[str]:
    """Positions, each at its first appearance, are a prefix of the order the procedure profiles in."""
    asked = list(dict.fromkeys(position for ask in asks for position in ask["positions"]))
    rows = Aside.of(c["plan"]).population
    in_file = c["rule"].get("order") == "file"
    order = rows if in_file else rows[permutation(c["seed"], "order", len(rows))]
    problems = []
    if asked != order[: len(asked)].tolist():
        problems.append("ledger: the rows profiled are not a prefix of the seeded order")
    if len(asked) != c["delivered"]["profiled"]:
        problems.append(f"ledger: {len(asked)} rows were profiled, the certificate says {c['delivered']['profiled']}")
    return problems


def _aside(c: Mapping[str, Json], events: Sequence[Event], reader: Reader, task: Task) -> list[str]:
    """The reference was asked about every row set aside, and has no answer to as many as the claim says."""
    if not c["plan"].get("set_aside"):
        return []
    told = next((event.payload for event in reversed(events) if event.kind == SET_ASIDE), None)
    if told is None or told["positions"] != c["plan"]["set_aside"]:
        return ["ledger: the rows set aside are not those the reference answered"]
    answers = reader.get_many(key for (key,) in told["keys"])
    lost = sum(key not in answers or task.parse(answers[key].text) is None for (key,) in told["keys"])
    if lost != c["claim"]["set_aside_errors"]:
        return [f"ledger: {lost} rows set aside have no answer, the claim says {c['claim']['set_aside_errors']}"]
    return []


def _twice(c: Mapping[str, Json], events: Sequence[Event], reader: Reader, task: Task) -> list[str]:
    """The reference agreed with itself as often as the certificate says."""
    if c.get("self_agreement") is None:
        return []
    told = next((event.payload for event in reversed(events) if event.kind == CHECKED), None)
    keys = told["keys"] if told else []
    answers = reader.get_many(key for pair in keys for key in pair)
    pairs = [[task.parse(answers[key].text) for key in pair] for pair in keys if all(key in answers for key in pair)]
    same = [task.equivalent(first, second) for first, second in pairs if first is not None]
    if self_agreement(sum(same), len(same)) != c["self_agreement"]:
        return ["ledger: the reference did not agree with itself as often as the certificate says"]
    return []


def _round(c: Mapping[str, Json], ask: Mapping[str, Json], reader: Reader, task: Task) -> Round:
    names = [c["plan"]["reference"], *c["plan"]["candidates"]]
    answers = reader.get_many(key for row in ask["keys"] for key in row)
    marks = np.full((len(ask["positions"]), len(names)), NOT_ASKED, np.int8)
    for k, row in enumerate(ask["keys"]):
        texts = {m: answers[key].text if key in answers else None for m, key in zip(ask["models"], row, strict=True)}
        values = {m: task.parse(text) for m, text in texts.items()}
        for m, value in values.items():
            marks[k, m] = mark(task, m, value, values)
    return Round(ask["stage"], tuple(ask["models"]), marks)


def mark(task: Task, model: int, value: object, values: Mapping[int, object]) -> int:
    """What a model's answer is worth beside the others to the same row: model index → parsed value."""
    if model == 0:
        return ERROR if value is None else AGREE
    if value is None:
        return DEFER
    if 0 not in values:
        return NOT_ASKED
    return AGREE if task.equivalent(value, values[0]) else BAD
