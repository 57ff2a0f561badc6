"""Addresses of answers that are part of a larger one: rows that were asked about in one call.

`KEY#7/20` is the seventh of twenty items in the answer under KEY. `KEY#7/20|HALF#2/10` says besides where to look if
nothing can be read there: the call was then made again for each half of its rows. The ledger holds one entry for every
call, so whoever looks an address up reads it out of that. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from smart_llm.tasks import packs
from smart_llm.types import Answer

PART = "#"
"""In the key of a part; in no other."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item stands: the key of the call's answer, its number from 1, and how many there are."""

    key: str
    number: int
    count: int

    def item(self, answer: Answer) -> Answer:
        """The item there."""
        return packs.item(answer, self.number, self.count)


def places(address: str) -> tuple[Place, ...]:
    """The places of an address: the whole call, and the half that may have been asked after it. `ValueError`: it is
    none."""
    return tuple(_place(each) for each in address.split("|"))


def calls(keys: Iterable[str]) -> list[str]:
    """The keys of the calls that these keys and addresses are about, each once."""
    return list(dict.fromkeys(each.partition(PART)[0] for key in keys for each in key.split("|")))


def answer(address: str, get: Callable[[str], Answer | None]) -> Answer | None:
    """The answer at an address; None where the call it takes is not there."""
    place, *halves = places(address)
    whole = get(place.key)
    if whole is None or not halves or packs.readable(whole, place.count):
        return None if whole is None else place.item(whole)
    half = get(halves[0].key)
    return None if half is None else packs.added(place.item(whole), halves[0].item(half))


def held(address: str, get: Callable[[str], Answer | None]) -> str | None:
    """The key of the call that settles an address; None where it is not there."""
    place, *halves = places(address)
    whole = get(place.key)
    if whole is None or not halves or packs.readable(whole, place.count):
        return None if whole is None else place.key
    return halves[0].key if get(halves[0].key) is not None else None


def answers(keys: Iterable[str], known: Mapping[str, Answer]) -> dict[str, Answer]:
    """The answers there are among these keys and addresses. known: by key of a call."""
    found = {key: known.get(key) if PART not in key else answer(key, known.get) for key in keys}
    return {key: each for key, each in found.items() if each is not None}


def _place(text: str) -> Place:
    key, _, where = text.partition(PART)
    number, _, count = where.partition("/")
    return Place(key, int(number), int(count))
