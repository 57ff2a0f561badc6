"""How the mock answers a pack: every item by itself, as it would answer the row alone, and then as badly as it is told.

A pack is known by its numbered items. The prompt that a row alone would have had is put together again from the
instructions above them and the item's text, so a rule or a recorded table says of an item what it says of the row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

from smart_llm.errors import InputError
from smart_llm.mock.answers import BROKEN, Said, uniform

_ITEM = re.compile(r"^<(item(?:-\d+)?) (\d+)>\n(.*?)\n</\1 \2>$", re.DOTALL | re.MULTILINE)
_FRAME = re.compile(
    r"\A(?P<task>.*)\n\nThe text above is the same for \d+ items\. The text of an item stands for ", re.S
)
_PLACE = re.compile(r"\{([^{}\n]+)\}")
_PLACES = re.compile(r"\nThe text above .*? stands for (?P<places>\{.*?\}) in it;", re.S)

Alone: TypeAlias = Callable[[str], Said | None]
"""What a model says of a row's prompt."""
Piece: TypeAlias = tuple[str, float, str | None, float]
"""Of a reply: its text, how sure that is (natural log), what else it might have been, and how sure that."""


@dataclass(frozen=True, slots=True)
class Packs:
    """The share of items, in [0, 1], that goes wrong in each way. worse: answered otherwise than the row alone would
    be; together: packs of which every item is; omit: left out; double: given twice; spoil: packs answered in words."""

    worse: float = 0.0
    together: float = 0.0
    omit: float = 0.0
    double: float = 0.0
    spoil: float = 0.0

    def __post_init__(self) -> None:
        if any(not 0 <= getattr(self, field.name) <= 1 for field in fields(self)):
            raise InputError("The shares of what goes wrong in packs must each lie in [0, 1].")


@dataclass(frozen=True, slots=True)
class PackSaid(Said):
    """The reply to a pack. pieces: what it is made of, with how sure each is."""

    pieces: tuple[Piece, ...] = ()


def answered(model: str, prompt: str, alone: Alone, wrong: Packs, seed: int) -> Said | None:
    """The reply to a pack, or None where a prompt is none."""
    items = _ITEM.findall(prompt)
    if not items:
        return None
    if wrong.spoil and uniform(str(seed), "spoil", model, prompt) < wrong.spoil:
        return Said(BROKEN)
    together = wrong.together > 0 and uniform(str(seed), "together", model, prompt) < wrong.together
    pieces = list[Piece]()
    for _, number, text in items:
        said = alone(_row(prompt, text)) or Said(BROKEN)
        place = (str(seed), model, prompt, number)
        if uniform("omit", *place) < wrong.omit:
            continue
        if together or uniform("worse", *place) < wrong.worse:
            said = Said(said.other or BROKEN, said.logprob, said.text)
        for _ in range(1 + (uniform("double", *place) < wrong.double)):
            pieces += _member(number, said, first=not pieces)
    pieces.append(("}" if pieces else "{}", 0.0, None, 0.0))
    return PackSaid("".join(text for text, *_ in pieces), pieces=tuple(pieces))


def _member(number: str, said: Said, *, first: bool) -> Iterator[Piece]:
    """`"7": "answer"`, with the doubt where the answer stands."""
    quoted = json.dumps(said.text, ensure_ascii=False)[1:-1]
    other = None if said.other is None else json.dumps(said.other, ensure_ascii=False)[1:-1]
    yield ("{" if first else ", ") + f'"{number}": "', 0.0, None, 0.0
    yield quoted, said.logprob, other, said.against
    yield '"', 0.0, None, 0.0


def _row(prompt: str, item: str) -> str:
    """The prompt that this row alone would have had; the item alone, where the pack has a template of its own."""
    frame, told = _FRAME.match(prompt), _PLACES.search(prompt)
    if frame is None or told is None:
        return item
    cells = _cells(_PLACE.findall(told["places"]), item)
    return _PLACE.sub(lambda place: cells.get(place[1], place[0]), frame["task"])


def _cells(columns: list[str], item: str) -> Mapping[str, str]:
    """The item's text by column."""
    if len(columns) == 1:
        return {columns[0]: item}
    pattern = "\n".join(f"{re.escape(column)}: (.*{'?' if column != columns[-1] else ''})" for column in columns)
    found = re.fullmatch(pattern, item, re.DOTALL)
    return dict(zip(columns, found.groups(), strict=True)) if found else {}
