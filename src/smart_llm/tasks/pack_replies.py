"""What the reply to a pack says of each of its items. Pure.

Wanted is one JSON object, the number of an item → its answer. What comes is read leniently, in whichever of these forms
it has, the first that says anything of any item:

1. objects with numbers for names, anywhere in the reply, one for all items or one for each;
2. a list: of objects that give number and answer, or of as many answers as there are items;
3. lines with a number in front;
4. of a single item: the whole reply, but for a list, which may be of answers or be one.

Safe direction: where it is not clear to which item an answer belongs, or where it ends, it is none. An item that is
given twice has no answer, a value that goes on behind its end ("1,234") is not read, numbers that begin with 0 are
another numbering than ours, and thoughts without an end are no reply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHT_START = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_NUMBER = re.compile(r'\s*("?)\s*(?:item[\s_#-]*|#)?0*(\d{1,3})\s*\1\s*:\s*', re.IGNORECASE)
_NAME = re.compile(r'\s*"(?:[^"\\]|\\.)*"\s*:\s*')
_NEXT = re.compile(r'\s*(?:,(?=\s*(?:["}]|\d{1,3}\s*:|$))|(?=["}]))')
"""What may follow a value: a comma, which is often missing between texts, and the next name, or the end."""
_END = re.compile(r"\s*$")
_LINE = re.compile(
    r"[^\S\n]*(?:[-•*][^\S\n]+)?[*(\[]*(?:item[^\S\n]*)?#?0*(\d{1,3})[*)\]]*[^\S\n]*"
    r"(?:[.:)\]—](?!\d)|[-–](?![^\S\n]*\d))\**[^\S\n]*",
    re.IGNORECASE,
)
"""A number, and a mark behind it that is no part of a longer number: "3.5", "12:30" and "1 -5" have no number in
front."""
_TRIES = 16
"""Braces and brackets in a reply that turn out to be neither an object nor a list of answers."""
_NUMBERS, _ANSWERS = ("item", "number", "id", "index", "key"), ("answer", "value", "label", "result", "output")
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Said:
    """What a reply says of one item. start, end: where that stands in the reply (0, 0: nowhere by itself)."""

    text: str
    start: int = 0
    end: int = 0


Pairs: TypeAlias = list[tuple[int, Said | None]]
"""Numbers of items, and what is said of them; None: nothing that could be an answer."""


@lru_cache(maxsize=4096)
def read(text: str | None, count: int, *, cut: bool) -> Mapping[int, Said]:
    """What a reply says, by item. cut: it was cut off, so its last line may be half of one."""
    ends = [found.end() for found in _THOUGHT_END.finditer(text or "")]
    begin = ends[-1] if ends else 0
    if text is None or _THOUGHT_START.search(text, begin):
        return {}
    for pairs in _forms(text, begin, count, cut=cut):
        numbers = [number for number, _ in pairs]
        if 0 in numbers:
            return {}
        if any(number <= count for number in numbers):
            return {n: said for n, said in pairs if n <= count and said is not None and numbers.count(n) == 1}
    return {}


def _forms(text: str, begin: int, count: int, *, cut: bool) -> Iterator[Pairs]:
    yield _objects(text, begin)
    yield _listed(text, begin, count)
    yield _lines(text, begin, cut=cut)
    rest = text[begin:].strip()
    if count == 1 and not cut and not rest.startswith("[") and any(map(str.isalnum, rest)):
        yield [(1, Said(text[begin:], begin, len(text)))]


# --------------------------------------------------------------------------- objects


def _objects(text: str, place: int) -> Pairs:
    """The numbered members of every object; what stands inside one that has any is its own."""
    found, tries = Pairs(), 0
    while tries < _TRIES and (brace := text.find("{", place)) >= 0:
        members, place = _members(text, brace + 1)
        found += members
        if not members:
            place, tries = brace + 1, tries + 1
    return found


def _members(text: str, place: int) -> tuple[Pairs, int]:
    """The numbered members of an object, as far as it can be read, and how far that is."""
    found = Pairs()
    while True:
        named = _NUMBER.match(text, place)
        name = named or _NAME.match(text, place)
        if name is None:
            return found, place
        try:
            value, end = _decode(text, name.end())
        except (ValueError, RecursionError):
            return found, place
        after = _NEXT.match(text, end) or (_END.match(text, end) if text[end - 1] in '"]}' else None)
        if after is None:
            return found, place
        if named:
            found.append((int(named[2]), _said(value, text, name.end(), end)))
        place = after.end()


def _said(value: Any, text: str, begin: int, end: int) -> Said | None:
    """A value of the object: text as it is meant, everything else as it is written."""
    if value is None:
        return None
    if not isinstance(value, str):
        return Said(text[begin:end], begin, end)
    plain = text[begin + 1 : end - 1]
    return Said(value, begin + 1, end - 1) if plain == value else Said(value)


# --------------------------------------------------------------------------- lists


def _listed(text: str, place: int, count: int) -> Pairs:
    """The one list that says anything of the items; of several nobody knows which is meant."""
    found, tries = list[Pairs](), 0
    while tries < _TRIES and (start := text.find("[", place)) >= 0:
        try:
            values, place = _decode(text, start)
        except (ValueError, RecursionError):
            values, place, tries = [], start + 1, tries + 1
        found += [pairs] if (pairs := _of_list(values, count)) else []
    return found[0] if len(found) == 1 else []


def _of_list(values: list[Any], count: int) -> Pairs:
    """A list of objects that give number and answer, or of as many answers as there are items."""
    numbered = [_numbered(value) for value in values]
    if any(pair is not None for pair in numbered):
        return [pair for pair in numbered if pair is not None]
    alike = all(isinstance(value, dict) for value in values) or not any(isinstance(v, dict | list) for v in values)
    return list(enumerate(map(_value, values), 1)) if alike and len(values) == count > 1 else []


def _numbered(value: Any) -> tuple[int, Said | None] | None:
    if not isinstance(value, dict):
        return None
    number = next((value[name] for name in _NUMBERS if name in value), None)
    answers = [value[name] for name in _ANSWERS if name in value]
    if len(answers) != 1 or isinstance(number, bool) or not str(number).isdecimal():
        return None
    return int(str(number)), _value(answers[0])


def _value(value: Any) -> Said | None:
    if value is None:
        return None
    return Said(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


# --------------------------------------------------------------------------- lines


def _lines(text: str, place: int, *, cut: bool) -> Pairs:
    """Lines with a number in front; where nothing stands behind it, the next line, unless that has one as well."""
    found, waiting = Pairs(), None
    for line in text[place:].split("\n"):
        numbered, end = _LINE.match(line), place + len(line.rstrip())
        begin = place + (numbered.end() if numbered else len(line) - len(line.lstrip()))
        number = int(numbered[1]) if numbered else waiting
        place += len(line) + 1
        if number is not None and begin < end and not (cut and place > len(text)):
            found.append((number, Said(text[begin:end], begin, end)))
        if numbered or begin < end:
            waiting = number if numbered and begin >= end else None
    return found
