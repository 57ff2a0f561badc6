"""What profiling saw, told again from the ledger: every candidate's answers beside the reference's, ask by ask.

The answers are read by the task of the plan, the marks are those that were recorded. What is kept does not grow with
the rows: a curve thinned to a few hundred points, counts, and a few rows of each kind of disagreement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from smart_llm.ledger import Reader
from smart_llm.providers.functions import SILENT
from smart_llm.tasks import Task, format_value
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Answer, Json
from smart_llm.types.plan import FrozenPlan

POINTS = 240
"""Of a curve, at most."""
EXAMPLES = 12
"""Disagreements kept of each candidate."""
OF_A_KIND = 3
"""… of which the same two labels, at most, as long as there are others."""
SLICE = 500
"""Rows whose answers are held at a time."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row on which a candidate said something else. position: in the table. reference, answer: as delivered they
    would be; None where there was none. broken: the reply that breaks the contract. prompt: None where no text was
    stored."""

    position: int
    reference: str | None
    answer: str | None
    broken: str | None
    prompt: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One candidate. curve: (rows compared, of these agreeing) as they came. pairs: (reference, answer, rows), the
    commonest first, where there are labels. Among the rows compared, deferred: replies that broke the contract; silent:
    those about which a function had nothing to say."""

    model: str
    curve: tuple[tuple[int, int], ...]
    deferred: int
    silent: int
    pairs: tuple[tuple[str, str, int], ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Profiling:
    """All of it. rows: asked of the reference; lost: those it has no answer to. call: USD of an average call, by model.
    snapshots: by model, what providers say answered, where it was more than one thing."""

    rows: int
    lost: int
    candidates: tuple[Seen, ...]
    call: Mapping[str, float]
    snapshots: Mapping[str, tuple[str, ...]]


def look(plan: FrozenPlan, asks: Sequence[Mapping[str, Json]], reader: Reader, task: Task) -> Profiling:
    """Read the answers behind these asks."""
    names = plan.names
    told = [_Told() for _ in names]
    for models, position, keys, marks, answers in _rows(asks, reader):
        replies = {m: answers.get(key) for m, key in zip(models, keys, strict=True)}
        values = {m: task.read(reply) for m, reply in replies.items()}
        asked = (
            keys[models.index(0)] if 0 in models else ""
        )  # what a row is shown by, however its candidates were asked
        for m, mark in zip(models, marks, strict=True):
            told[m].count(position, replies[m])
            if 0 in values:
                told[m].compare(_Row(position, asked, mark, values[0], values[m], replies[m]))
    return Profiling(
        len(told[0].rows),
        told[0].lost,
        tuple(_seen(name, each, task, reader) for name, each in zip(names[1:], told[1:], strict=True)),
        {name: each.cost / len(each.rows) for name, each in zip(names, told, strict=True) if each.rows},
        {
            name: tuple(sorted(each.snapshots))
            for name, each in zip(names, told, strict=True)
            if len(each.snapshots) > 1
        },
    )


def _rows(
    asks: Sequence[Mapping[str, Json]], reader: Reader
) -> Iterator[tuple[Sequence[int], int, Sequence[str], Sequence[int], Mapping[str, Answer]]]:
    """(models, position, keys, marks, answers by key), row by row in the order they were asked."""
    for ask in asks:
        for start in range(0, len(ask["positions"]), SLICE):
            at = slice(start, start + SLICE)
            answers = reader.get_many(key for keys in ask["keys"][at] for key in keys)
            for position, keys, marks in zip(ask["positions"][at], ask["keys"][at], ask["marks"][at], strict=True):
                yield ask["models"], position, keys, marks, answers


@dataclass(frozen=True, slots=True)
class _Row:
    """One answer beside the reference's; values are parsed."""

    position: int
    key: str
    mark: int
    reference: Json
    value: Json
    reply: Answer | None

    @property
    def kind(self) -> tuple[str | None, str | None]:
        """What stands against what."""
        return _written(self.reference), _written(self.value)


@dataclass(slots=True)
class _Told:
    """What one model has told so far; a row asked twice counts once."""

    rows: set[int] = field(default_factory=set)
    compared: set[int] = field(default_factory=set)
    agreeing: list[bool] = field(default_factory=list)
    lost: int = 0
    deferred: int = 0
    silent: int = 0
    cost: float = 0.0
    snapshots: set[str] = field(default_factory=set)
    kinds: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    others: list[_Row] = field(default_factory=list)

    def count(self, position: int, reply: Answer | None) -> None:
        """An answer was there, or should have been."""
        if position in self.rows:
            return
        self.rows.add(position)
        if reply is not None:
            self.cost += reply.cost
            self.snapshots |= {reply.snapshot} - {""}

    def compare(self, row: _Row) -> None:
        """Beside the reference's answer."""
        if row.position in self.compared:
            return
        self.compared.add(row.position)
        self.agreeing.append(row.mark == AGREE)
        self.lost += row.mark == ERROR
        silent = row.mark == DEFER and row.reply is not None and row.reply.finish == SILENT
        self.silent += silent
        self.deferred += row.mark == DEFER and not silent
        if row.mark in (BAD, DEFER) and row.reference is not None:
            self.kinds[row.kind] += len(self.kinds) < 10_000 or row.kind in self.kinds
            if self.kinds[row.kind] <= EXAMPLES and len(self.others) < 50 * EXAMPLES:
                self.others.append(row)


def _seen(name: str, told: _Told, task: Task, reader: Reader) -> Seen:
    """Where no text is stored, free answers are not shown either: they may quote the row."""
    labelled = task.contract.labels is not None
    pairs = [(said, other, rows) for (said, other), rows in told.kinds.most_common() if said and other]
    chosen = _choose(told.others)
    prompts = reader.prompts(row.key for row in chosen)
    if not labelled and task.contract.kind != "number":
        chosen = [row for row in chosen if row.key in prompts]
    return Seen(
        name,
        _curve(told.agreeing),
        told.deferred,
        told.silent,
        tuple(pairs) if labelled else (),
        tuple(_example(row, prompts.get(row.key)) for row in chosen),
    )


def _choose(rows: Sequence[_Row]) -> list[_Row]:
    """Some of every kind before more of the same."""
    met = Counter[tuple[str | None, str | None]]()
    first, more = list[_Row](), list[_Row]()
    for row in rows:
        met[row.kind] += 1
        (first if met[row.kind] <= OF_A_KIND else more).append(row)
    return sorted([*first, *more][:EXAMPLES], key=lambda row: row.position)


def _example(row: _Row, prompt: str | None) -> Example:
    broken = row.reply.text if row.value is None and row.reply and prompt is not None else None
    return Example(row.position, _written(row.reference), _written(row.value), broken, prompt)


def _written(value: Json) -> str | None:
    return None if value is None else format_value(value)


def _curve(agreeing: Sequence[bool]) -> tuple[tuple[int, int], ...]:
    """(rows, agreeing) at a few hundred places, closer together at the beginning, where more happens."""
    rows = len(agreeing)
    places = {max(1, round(rows * (k / POINTS) ** 1.5)) for k in range(1, POINTS + 1)} if rows > POINTS else None
    count, curve = 0, []
    for n, agrees in enumerate(agreeing, 1):
        count += agrees
        if places is None or n in places:
            curve.append((n, count))
    return tuple(curve)
