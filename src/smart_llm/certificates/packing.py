"""Which rows shared a call, rebuilt: every packed answer of the evidence stands where table, task and way put it.

The order of the places is made again from the plan; cut as the run has recorded when it began, it says for every row in
which call it must stand, and as which item. Rows of one call must have its key, and rows of different calls different
ones. So answers to packs that were cut otherwise, from the order of profiling say, or the answer to one item told as
that to another, do not verify.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np

from smart_llm.certificates.certificate import Certificate
from smart_llm.ledger.entries import ASK
from smart_llm.ledger.packing import PACKED, PACKING, added_first, packing_order
from smart_llm.ledger.parts import PART
from smart_llm.ledger.reader import Event
from smart_llm.tasks.packs import fitting
from smart_llm.types import Ints, Json
from smart_llm.types.plan import FrozenPlan


def packing(c: Certificate, events: Sequence[Event]) -> list[str]:
    """What does not fit the packing, one line a way."""
    told = {event.payload["model"]: event.payload for event in events if event.kind == PACKED}
    asks = [event.payload for event in events if event.kind == ASK]
    packed = [name for name, way in c.plan.ways.items() if int(way.get("pack", 1)) > 1]
    if sum(event.kind == PACKED for event in events) > len(told):
        return ["ledger: which rows share a call was recorded twice"]
    return [problem for name in packed for problem in _of_way(c.plan, name, told.get(name), asks)]


def _of_way(plan: FrozenPlan, name: str, told: Json, asks: Sequence[Json]) -> Iterator[str]:
    """What does not fit, of one way."""
    if told is None:
        yield f"ledger: {name}: which rows share a call was not recorded"
        return
    layout = Layout.rebuilt(plan, name, told)
    if layout is None:
        yield f"ledger: {name}: the calls that are recorded are no packing of the table"
        return
    row = layout.misplaced(_addresses(asks, plan.names.index(name)))
    if row is not None:
        yield f"ledger: {name}: row {row + 1} was not asked about in the call where table, task and way put it"


def _addresses(asks: Sequence[Json], model: int) -> Iterator[tuple[int, str]]:
    """Every row that a model was asked about, and the address of its answer."""
    for ask in asks:
        if model in ask["models"]:
            at = ask["models"].index(model)
            yield from ((row, keys[at]) for row, keys in zip(ask["positions"], ask["keys"], strict=True))


@dataclass(frozen=True, slots=True)
class Layout:
    """The calls of one way. places: shape (rows,), of every row. call, item, count: shape (places,): the number of the
    call that a place is in, its number there from 1, and how many there are."""

    places: Ints
    call: Ints
    item: Ints
    count: Ints

    @classmethod
    def rebuilt(cls, plan: FrozenPlan, name: str, told: Json) -> Layout | None:
        """From the plan, and what is recorded of the table; None where that does not fit the plan."""
        way = dict(plan.ways[name])
        if way.pop("rules", None) != PACKING:
            return None
        places = _places(plan.rows, told["repeats"])
        if places is None:
            return None
        number = int(places.max(initial=-1)) + 1
        alone = np.array(told["alone"], np.int64)
        sizes = list(chain.from_iterable(repeat(count, times) for count, times in told["counts"]))
        most = fitting(int(way["pack"]), int(way.get("max_tokens", plan.task.max_tokens)))
        whole = len(set(told["alone"])) == len(alone) and np.isin(alone, np.arange(number)).all()
        if not (whole and all(1 <= size <= most for size in sizes) and sum(sizes) + len(alone) == number):
            return None
        there = 0 if plan.grown is None else plan.grown.rows
        order, _ = added_first(packing_order(plan.table, plan.task, name, way, number), places, there)
        behind = np.isin(order, alone)
        return cls(places, *_numbered(np.r_[order[~behind], order[behind]], [*sizes, *repeat(1, len(alone))]))

    def misplaced(self, addresses: Iterable[tuple[int, str]]) -> int | None:
        """The first row whose address is not the one that it must have; None: there is none."""
        keys, parts = dict[tuple[int, int], str](), dict[str, tuple[int, int]]()
        for row, address in addresses:
            place = int(self.places[row])
            found, wanted = address.split("|"), self._standing(place)
            if len(found) != len(wanted):
                return row
            for each, (part, where) in zip(found, wanted, strict=True):
                key, _, standing = each.partition(PART)
                own = int(self.call[place]), part
                if standing != where or keys.setdefault(own, key) != key or parts.setdefault(key, own) != own:
                    return row
        return None

    def _standing(self, place: int) -> list[tuple[int, str]]:
        """Where a place must stand in its call, and in the half of it that may be asked after it: 0 the whole call, 1
        and 2 its halves; and as which item of how many."""
        item, count = int(self.item[place]), int(self.count[place])
        if count == 1:
            return [(0, "1/1")]
        half = -(-count // 2)
        own = (1, f"{item}/{half}") if item <= half else (2, f"{item - half}/{count - half}")
        return [(0, f"{item}/{count}"), own]


def _places(rows: int, repeats: Sequence[Sequence[int]]) -> Ints | None:
    """The place of every row: those that are like none before are numbered as they come."""
    again = np.array(repeats, np.int64).reshape(-1, 2)
    first = np.setdiff1d(np.arange(rows), again[:, 0])
    places = np.empty(rows, np.int64)
    places[first] = np.arange(len(first))
    if len(first) + len(again) != rows or not ((again[:, 1] >= 0) & (again[:, 1] < len(first))).all():
        return None
    places[again[:, 0]] = again[:, 1]
    return places if (first[again[:, 1]] < again[:, 0]).all() else None


def _numbered(order: Ints, sizes: Sequence[int]) -> tuple[Ints, Ints, Ints]:
    """Each of shape (places,): the number of the call of a place, its item there, and how many there are."""
    found, counts = np.empty((3, len(order)), np.int64), np.array(sizes, np.int64)
    ends = np.cumsum(counts)
    call = np.repeat(np.arange(len(counts)), counts)
    found[:, order] = call, np.arange(len(order)) - (ends - counts)[call] + 1, counts[call]
    return found[0], found[1], found[2]
