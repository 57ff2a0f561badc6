"""What a report is laid out from: sections made of blocks. Values only; the template says how each kind looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from markupsafe import Markup

Cell: TypeAlias = str | Markup


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True, slots=True)
class Listing:
    """Sentences under one another."""

    items: Sequence[str]
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True, slots=True)
class Code:
    """Text to be read or copied as it stands."""

    text: str
    caption: str = ""
    kind: ClassVar[str] = "code"


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture and what it is of. colour: of the mark before the caption, where there is one."""

    picture: Markup
    caption: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Plots:
    """Pictures side by side, as many as fit. legend: (name, colour). wide: each takes the whole width."""

    plots: Sequence[Plot]
    legend: Sequence[tuple[str, str]] = ()
    wide: bool = False
    kind: ClassVar[str] = "plots"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. The first cell of a row names it. numbers: which columns hold numbers. more: what was left out."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[int] = frozenset()
    more: str = ""
    kind: ClassVar[str] = "grid"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names and values."""

    items: Sequence[tuple[str, Cell]]
    kind: ClassVar[str] = "pairs"


@dataclass(frozen=True, slots=True)
class Case:
    """A row on which models disagree. cells: (column, text); empty where text was not stored. answers: (model, what it
    said, colour)."""

    row: str
    cells: Sequence[tuple[str, str]]
    answers: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Cases:
    """Such rows under a heading. hidden: those behind a click."""

    heading: str
    cases: Sequence[Case]
    hidden: Sequence[Case] = ()
    more: str = ""
    kind: ClassVar[str] = "cases"


@dataclass(frozen=True, slots=True)
class Download:
    """A file inside the page. href: a data: address."""

    text: str
    name: str
    href: str
    kind: ClassVar[str] = "download"


Block: TypeAlias = Prose | Listing | Code | Plots | Grid | Pairs | Cases | Download


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page. lead: what to know before looking at it."""

    ident: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that matters, and what it is."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class View:
    """A whole report. tone: a class of the style sheet that goes with the status. when: the day; question: what was
    asked; summary: what came of it, in everyday words."""

    title: str
    badge: str
    tone: str
    claim: str
    promise: str
    when: str
    question: str
    summary: str
    figures: Sequence[Figure]
    cautions: Sequence[str]
    sections: Sequence[Section]
    foot: str
