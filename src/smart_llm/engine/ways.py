"""The ways of answering of one table: how each candidate that has a way of its own is asked about a row.

A way may have a prompt and a system text of its own, show the beginning or the end of a long text, and ask about many
rows in one call. It says how an answer is asked for, never what counts as one: that is the task's. Its prompt names no
other columns than the task's, so rows that the task cannot tell apart no way can either.

Rows that a way asks alike share a *place*. Which places share a call is cut from an order that follows from a hash of
table, task and way. So a row's answer is a fixed property of the table, whatever is drawn, in whatever order answers
are wanted, and however much the rows of a call influence each other. A call's rows are known before anything is asked.
Rows that were added to a table share calls with each other alone, so that no call is about rows answered before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.engine.layout import FIRST, SECOND, WHOLE, Layout
from smart_llm.engine.spelled import different_texts
from smart_llm.errors import InputError
from smart_llm.ledger import request_key
from smart_llm.ledger.packing import packed_entry, packing_orders
from smart_llm.providers.functions import request_of
from smart_llm.tables import Table
from smart_llm.tasks import Task, packs
from smart_llm.tasks.excerpts import part_of
from smart_llm.tasks.template import Template, split
from smart_llm.types import Answer, Floats, Ints, Json, Model, Part, Request

KEPT = 2048
"""Calls whose requests are kept, with all their rows' text."""
SAMPLE = 200
"""Rows that say how many fit into a call, before any is cut."""

Cells: TypeAlias = Mapping[str, str]
Groups: TypeAlias = NDArray[np.int32]
Tables: TypeAlias = Sequence[tuple[str, int]]
"""Hash and rows of each, the first one first."""


class Prompt(str):
    """A row's prompt as the task has it, which also knows the row: candidates may be asked in other ways about it."""

    __slots__ = ("cells", "position")

    position: int
    cells: Cells

    @classmethod
    def of(cls, text: str, position: int, cells: Cells) -> Prompt:
        """The prompt of the row at that position."""
        made = cls(text)
        made.position, made.cells = position, cells
        return made


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows that share a call. places: of its items, in order; whole: the request; halves: those for either half of
    them, where it can be halved."""

    places: Ints
    whole: Request
    halves: tuple[Request, ...] = ()

    @property
    def half(self) -> int:
        """Items in the first half."""
        return -(-len(self.places) // 2)

    def part(self, place: int) -> Part:
        """The part of one place in it."""
        at, count = int(np.flatnonzero(self.places == place)[0]), len(self.places)
        if not self.halves:
            return Part.of(self.whole, at + 1, count)
        second = at >= self.half
        size = count - self.half if second else self.half
        half = Part.of(self.halves[second], at + 1 - second * self.half, size)
        return Part.of(self.whole, at + 1, count, half)


class Way:
    """How one model is asked about the rows of one table, where it is not asked as the task says.

    elsewhere: the prompts are of some rows of the table only, so other rows of their calls are asked about by others.
    """

    def __init__(
        self,
        table: Table,
        task: Task,
        model: Model,
        known: dict[Json, tuple[Ints, Ints]] | None = None,
        *,
        before: Tables = (),
        layout: Layout | None = None,
        start: int | None = None,
    ) -> None:
        """known: what reading the whole table has told other ways that show the same of it. before: the tables that
        have grown into this one. layout: which rows share calls, where that is known; start: the row of the table that
        stands first among those to be asked about, where these are only some of its rows."""
        self._known = {} if known is None else known
        self.elsewhere, self._start = start is not None, start or 0
        if layout is not None:
            self.layout = layout
        self._tables = (*before, (table.table_hash, table.rows))
        self._table, self._task, self._model, self._way = table, task, model, model.way
        self._template = template_of(task, model, table.columns)
        self._fields = task.columns(table.columns)
        self._made: OrderedDict[int, Pack] = OrderedDict()

    @property
    def packed(self) -> bool:
        """Whether several rows share a call."""
        return self._way.pack > 1

    @cached_property
    def _measured(self) -> tuple[Ints, Ints]:
        template, shows = (
            self._template,
            (self._template.literals, self._template.fields, self._way.head, self._way.tail),
        )
        if shows not in self._known:
            self._known[shows] = self._table.measured(template.columns, lambda row: template.render(self._shown(row)))
        return self._known[shows]

    @cached_property
    def places(self) -> Ints:
        """Shape (rows,): the place of each row of the table; rows that are asked alike have the same."""
        return self.layout.places if self.packed else self._measured[0]

    def place(self, position: int) -> int:
        """The place of one of the rows that are asked about."""
        return int(self.places[self._start + position])

    @cached_property
    def layout(self) -> Layout:
        """Which rows share a call."""
        places, read = self._measured
        first = np.unique(places, return_index=True)[1]
        told = self._task.described, self._model.name, self._way.to_json()
        orders = packing_orders(self._tables, first, *told)
        return Layout.of(places, packs.cut(orders, self._sizes(read[first]), self._way.pack, self._room))

    def _sizes(self, read: Ints) -> Ints:
        """Bytes of each item. read: bytes of the prompt that a row with it would have."""
        around = sum(len(text.encode()) for text in self._template.literals)
        return np.maximum(0, read - around)

    def entry(self) -> dict[str, Json]:
        """Which rows share a call, as it is recorded when a run begins."""
        sizes, calls = self._sizes(self._measured[1][self.layout.first]), len(self.layout.ends)
        alone = np.flatnonzero(sizes > packs.ALONE).tolist()
        return packed_entry(self._model.name, self.places, [self.layout.sharing(k) for k in range(calls)], alone)

    @property
    def rows_a_call(self) -> float:
        """How many rows share a call, in the mean."""
        return len(self.layout.first) / max(1, len(self.layout.ends)) if self.packed else 1.0

    def most(self, different: int) -> int:
        """How many rows a call holds at most, by some rows of the table. different: rows that can be told apart."""
        rows = np.unique(np.linspace(0, self._table.rows - 1, min(SAMPLE, self._table.rows)).astype(np.int64))
        texts = map("".join, (self._shown(row).values() for row in self._table.cells_at(rows, self._template.columns)))
        sizes = [size for text in texts if (size := len(text.encode("utf-8", "surrogatepass"))) <= packs.ALONE]
        by_bytes = packs.ITEM_BYTES // max(1.0, float(np.mean(sizes))) if sizes else 1
        return int(max(1, min(packs.fitting(self._way.pack, self._room), by_bytes, different)))

    def in_order(self, rows: Ints) -> Ints:
        """These rows in an order in which few calls' texts are held at a time and many calls are on their way: a
        group of calls at a time, and of each call in it first one row, then another."""
        calls = self.layout.call[self.places[self._start + rows]]
        order = np.argsort(calls, kind="stable")
        first = np.searchsorted(calls[order], calls[order])
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows)) - first
        return rows[np.lexsort((calls, rank, calls // (KEPT // 2)))]

    def request(self, prompt: str) -> Request:
        """What is asked about a row: a request, or a part of one."""
        assert isinstance(prompt, Prompt)
        if not self.packed:
            return self._request(self._template.render(self._shown(prompt.cells)), self._room)
        place = self.place(prompt.position)
        return self.pack(int(self.layout.call[place])).part(place)

    def calls(self, prompt: str) -> Iterator[tuple[str, int, int]]:
        """The calls that may answer a row: the key of each, its number, and what of it is sent (see `Layout`)."""
        assert isinstance(prompt, Prompt)
        place = self.place(prompt.position)
        number = int(self.layout.call[place])
        pack = self.pack(number)
        yield request_key(pack.whole), number, WHOLE
        if pack.halves:
            second = bool(np.isin(place, pack.places[pack.half :]))
            yield request_key(pack.halves[second]), number, SECOND if second else FIRST

    def share(self, costs: Floats, number: int, part: int, cost: float) -> None:
        """Share what a call has cost among its places. costs: shape (places or more,), by place, and written to."""
        places = self.layout.sharing(number, part)
        costs[places] = np.nan_to_num(costs[places]) + packs.shares(cost, len(places))

    def recall(self, prompt: str, get: Callable[[str], Answer | None]) -> dict[str, float]:
        """What those of these calls have cost that were answered before, USD by key."""
        known = {key: get(key) for key, *_ in self.calls(prompt)}
        return {key: answer.cost for key, answer in known.items() if answer is not None}

    def pack(self, number: int) -> Pack:
        """One of the calls."""
        pack = self._made.get(number) or self._pack(self.layout.sharing(number))
        self._made[number] = pack
        self._made.move_to_end(number)
        if len(self._made) > KEPT:
            self._made.popitem(last=False)
        return pack

    def _pack(self, places: Ints) -> Pack:
        cells = [self._shown(row) for row in self._table.cells_at(self.layout.first[places], self._template.columns)]
        half = -(-len(cells) // 2)
        halves = (cells[:half], cells[half:]) if len(cells) > 1 else ()
        return Pack(places, self._about(cells), tuple(map(self._about, halves)))

    def _about(self, items: Sequence[Cells]) -> Request:
        text = packs.prompt(self._template, self._way.frame, items)
        return self._request(text, packs.max_tokens(self._room, len(items)), len(items))

    @property
    def _room(self) -> int:
        """Tokens an answer may take."""
        return self._way.max_tokens or self._task.max_tokens

    def _request(self, text: str, room: int, items: int = 0) -> Request:
        plain = plain_request(self._task, self._model, text, logprobs=True)
        system = self._task.system if self._way.system is None else self._way.system
        plain = replace(plain, max_tokens=room, system=system)
        schema = packs.schema(self._task.contract, items) if items else None
        return replace(plain, labels=None, schema=schema) if items else plain

    def _shown(self, cells: Cells) -> Cells:
        """The part of every text that is shown."""
        head, tail = self._way.head, self._way.tail
        if head is None and tail is None:
            return cells
        return {column: part_of(cells[column], head or 0, tail or 0) for column in self._template.columns}


NO_WAYS: Mapping[int, Way] = {}
"""All models are asked as the task says."""


def plain_request(task: Task, model: Model, prompt: str, *, logprobs: bool) -> Request:
    """A request about one row, as the task says."""
    return Request(
        model.name,
        str(prompt),  # a plain text, not a `Prompt`
        task.max_tokens,
        system=task.system,
        labels=task.contract.labels,
        schema=task.contract.schema,
        logprobs=logprobs,
        **model.settings,
    )


class OfRow(Way):
    """How a function is asked, which is given the row and no prompt. groups: shape (rows,), of rows that the task
    cannot tell apart."""

    def __init__(self, table: Table, task: Task, model: Model, groups: Groups) -> None:
        super().__init__(table, task, model)
        self._groups = np.asarray(groups, np.int64)

    @property
    def places(self) -> Ints:
        """See `Way`."""
        return self._groups

    def request(self, prompt: str) -> Request:
        """The row."""
        assert isinstance(prompt, Prompt)
        return request_of(self._model, prompt.cells, self._fields, self._task.max_tokens)


def ways_of(
    table: Table, task: Task, models: Sequence[Model], groups: Groups, given: Mapping[int, Way], before: Tables
) -> dict[int, Way]:
    """By a model's number: how it is asked, where it has a way of its own. groups: of rows that the task cannot tell
    apart. given: those there are already; before: the tables that have grown into this one."""
    known, own = dict[Json, tuple[Ints, Ints]](), {k: model for k, model in enumerate(models) if not model.way.plain}
    found = {
        number: given.get(number) or Way(table, task, model, known, before=before) for number, model in own.items()
    }
    called = {n: OfRow(table, task, model, groups) for n, model in enumerate(models) if model.function is not None}
    return found | called


def check_ways(task: Task, reference: Model, candidates: Sequence[Model]) -> None:
    """No two candidates are the same model asked in the same way, and none is the reference. `InputError`."""
    known, same = {reference.name: reference}, {_asked(task, reference): reference.name}
    for model in candidates:
        other, name = known.setdefault(model.name, model), same.setdefault(_asked(task, model), model.name)
        if reference.name in (model.name, name):
            raise InputError(f"--candidate {model.name} is the reference itself: name a cheaper model.")
        if other is not model and other.way != model.way:
            raise InputError(f"--candidate {model.name}: two files have this name; call one of them something else.")
        if other is not model:
            raise InputError(f"--candidate {model.name} is given twice.")
        if name != model.name:
            raise InputError(f"--candidate {model.name} is the same way of answering as {name}: leave one out.")


def one_of_each_size(
    table: Table, task: Task, candidates: Sequence[Model]
) -> tuple[tuple[Model, ...], tuple[str, ...]]:
    """The candidates without those that differ from another one in `pack=` alone and whose calls hold no other number
    of rows, since no more fit or there are no more; and for each of them a sentence that says so."""
    kept, notes, known = list[Model](), list[str](), dict[tuple[object, ...], Model]()
    packed = [_asked(task, model, "pack") for model in candidates if model.way.pack > 1]
    several = {key for key in packed if packed.count(key) > 1}
    different = different_texts(task, table) if several else 0
    for model in candidates:
        if (key := _asked(task, model, "pack")) in several and model.way.pack > 1:
            most = Way(table, task, model).most(different)
            same = known.setdefault((*key, most), model)
            if same is not model:
                each = f"{most} rows" if most > 1 else "one row"
                notes.append(f"{model.name} is not tried: its calls hold {each} at most, as those of {same.name} do.")
                continue
        kept.append(model)
    return tuple(kept), tuple(notes)


def _asked(task: Task, model: Model, without: str = "") -> tuple[object, ...]:
    """All that decides how a model is asked: what a way says that the task says as well counts as not said. without: a
    part of a way that is left out."""
    told = {"prompt": task.prompt, "system": task.system, "max_tokens": task.max_tokens, "frame": packs.FRAME}
    way = {name: _stripped(getattr(model.way, name)) for name in model.way.__slots__ if name != without}
    way |= {name: None for name in told if way[name] == _stripped(told[name])}
    asked = model.name.partition("?")[0], model.url, model.effort, model.thinking, model.draws, model.enforce
    return (*asked, *way.values())


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def template_of(task: Task, model: Model, columns: Sequence[str]) -> Template:
    """The prompt of one row by a model's way, split. `InputError`: it names no column, or one the task's does not."""
    if model.way.prompt is None:
        return task.template(columns)
    try:
        template = split(model.way.prompt, columns)
    except InputError as error:
        raise InputError(f"Model {model.name}: {error}") from None
    known = task.columns(columns)
    if beyond := [name for name in template.columns if name not in known]:
        raise InputError(
            f"Model {model.name}: its prompt shows {{{beyond[0]}}}, which the task's own does not; show what the task "
            f"shows ({', '.join(known)}), or less."
        )
    return template
