"""Which rows of a table share a call: an order that follows from table, task and way, and a record of how it was cut.

Rows that a way asks alike share a *place*. Places are cut into calls in an order that follows from a hash of table,
task and way, so a row's answer is a fixed property of the table (where it has grown, and an earlier run is continued,
of what was added to it as well). What the cut depends on besides (which rows are alike,
which are too long to share a call, where a call was full) is recorded when the run begins: with it anybody can tell,
without the table, which row must stand where in which call. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import groupby

import numpy as np

from smart_llm.ledger.keys import canonical
from smart_llm.stats.sampling import permutation
from smart_llm.types import Ints, Json
from smart_llm.types.plan import DescribedTask

PACKING = "packs/1"
"""The rules by which rows are put into calls. Others would be other answers."""
PACKED = "packed"
"""Kind of the event that records it, one for every way that asks about several rows in a call."""


def packing_order(table_hash: str, task: DescribedTask, model: str, way: Mapping[str, Json], places: int) -> Ints:
    """The places in the order in which they are cut into calls. way: as in `Way.to_json`. Nothing in it is drawn."""
    told: Json = [PACKING, table_hash, task, model, dict(way)]
    seed = int.from_bytes(blake2b(canonical(told), digest_size=8).digest(), "big") >> 1
    return permutation(seed, PACKING, places)


def added_first(order: Ints, places: Ints, there: int) -> tuple[Ints, int]:
    """The order of a table that has grown, in which the places of rows that were added come first, and how many these
    are: they share calls with one another alone, since nobody is asked about the others again. places: shape (rows,),
    of every row; there: rows that there were."""
    added = np.isin(order, places[there:])
    return np.r_[order[added], order[~added]], int(added.sum())


def packed_entry(model: str, places: Ints, calls: Sequence[Ints], alone: Sequence[int]) -> dict[str, Json]:
    """What is recorded of a way. places: shape (rows,), of every row, numbered by first row; calls: the places of each;
    alone: places too long to share one. repeats: rows that are asked like an earlier one, with its place; counts: of
    the calls that rows may share, in order: how many places are in one, and how many calls in a row hold so many."""
    _, first = np.unique(places, return_index=True)
    again = np.setdiff1d(np.arange(len(places)), first)
    shared = [len(call) for call in calls[: len(calls) - len(alone)]]
    return {
        "model": model,
        "repeats": np.stack([again, places[again]], axis=1).tolist(),
        "alone": sorted(alone),
        "counts": [[count, len(list(same))] for count, same in groupby(shared)],
    }
