"""A prompt with places for cells: split once per table, joined once per row.

The rules, on one page:

* `{column}` is replaced by the cell, where `column` is exactly the name of a column (spaces, dots, dashes and any
  script included; spaces at its ends may be left out). There is no attribute access and no format specification.
* A single word in braces that is no column (`{word}`) is an `InputError`: most likely a typing mistake, found before
  anything is spent. So is a column's name in other capitals. `{{word}}` writes `{word}` where that is meant; a prompt
  whose only places are columns in doubled braces is refused, for other template languages write a place so.
* All other braces are literal, so JSON examples need no care: `{"a": {"b": 1}}` stays as it is.
* Cells are never looked at: `{other}` inside a cell stays text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from smart_llm.errors import InputError, meant

_WORD = re.compile(r"\{([^\W\d]\w*)\}")
_ESCAPED = re.compile(r"\{(\{[^\W\d]\w*\})\}")
_BRACED = re.compile(r"\{([^{}]*)\}")
_BLANK = re.compile(r"\{\s*\d*\s*\}")
"""Braces that name nothing, as Python's own templates have them."""


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt split at its columns: literals[0] + row[fields[0]] + literals[1] + … ; one literal more than fields."""

    literals: tuple[str, ...]
    fields: tuple[str, ...]
    pattern: str

    def render(self, row: Mapping[str, str]) -> str:
        """The prompt for one row (column → text)."""
        return self.pattern % tuple([row[field] for field in self.fields])

    def cells(self, prompt: str) -> list[tuple[str, str]] | None:
        """The cells a prompt was made of, for showing them: (column, text); None where it is not of this template.

        A cell that holds what stands between two places may be told from its neighbour in the wrong place.
        """
        place, end = len(self.literals[0]), len(prompt) - len(self.literals[-1])
        if end < place or not (prompt.startswith(self.literals[0]) and prompt.endswith(self.literals[-1])):
            return None
        found = []
        for field, literal in zip(self.fields[:-1], self.literals[1:-1], strict=True):
            at = prompt.find(literal, place, end)
            if at < 0:
                return None
            found.append((field, prompt[place:at]))
            place = at + len(literal)
        return [*found, (self.fields[-1], prompt[place:end])]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns used, each once, in order of first use."""
        return tuple(dict.fromkeys(self.fields))

    @property
    def prefix(self) -> str:
        """The text before the first cell: the same for every row."""
        return self.literals[0]


def split(prompt: str, columns: Sequence[str]) -> Template:
    """Split a prompt at the columns of a table. InputError: an unknown word in braces, or no column at all."""
    if not columns:
        raise InputError("the table has no columns: give it a header or named fields")
    named = _named(columns)
    parts = re.split(r"\{(" + _any(named) + r")\}", prompt)
    literals, fields = (
        tuple(_literal(text, columns) for text in parts[0::2]),
        tuple(named[part] for part in parts[1::2]),
    )
    if not fields:
        raise InputError(_none(prompt, columns))
    doubled = re.compile(r"\{\{(" + _any(named) + r")\}\}")
    if (found := doubled.search(prompt)) and "{" not in doubled.sub("", prompt):
        raise InputError(
            f"the prompt has {found[0]}: for the cell of a column write {found[0][1:-1]}, in single braces"
        )
    return Template(literals, fields, "%s".join(text.replace("%", "%%") for text in literals))


def doubts(prompt: str, columns: Sequence[str]) -> Iterator[str]:
    """What a prompt sends as it stands, but its writer may have meant otherwise: a sentence each."""
    named = _named(columns)
    some = _any(named)
    if found := re.search(r"\{(\{(?:" + some + r")\})\}", prompt):
        yield f"The prompt has {found[0]}: the cell is sent in braces. If the cell alone is meant, write {found[1]}."
    if found := re.search(r"\$(\{(?:" + some + r")\})", prompt):
        yield (
            f"The prompt has {found[0]}: a dollar sign is sent before every cell. If the cell alone is meant, write "
            f"{found[1]}."
        )
    rest = re.sub(r"\{(?:" + some + r")\}", "", prompt)
    if (found := _BLANK.search(rest)) and "{" not in _BLANK.sub("", rest):
        yield f"The prompt has {found[0]}, which is sent as it stands: a column goes by its name, {{{columns[0]}}}."
    if found := re.search(r"\{\s*(" + some + r")\s*(?:![rsa]|:[<>=^+\-#0-9,.]+[a-zA-Z%]?|\.\w+\(.*?\))\}", rest):
        yield f"The prompt has {found[0]}, which is sent as it stands: the cell of a column is {{{found[1]}}}, no more."


def _named(columns: Sequence[str]) -> dict[str, str]:
    """What may stand in braces → the column: its name, or the name without spaces around it where no other is so."""
    bare = Counter(column.strip() for column in columns)
    spaced = {column.strip(): column for column in columns if bare[column.strip()] == 1 and column.strip()}
    return {**spaced, **{column: column for column in columns}}


def _any(names: Iterable[str]) -> str:
    """A pattern of these names, the longest first."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


def _none(prompt: str, columns: Sequence[str]) -> str:
    shown = f" (a column goes by its name, not {found[0]})" if (found := _BLANK.search(prompt)) else ""
    return f"the prompt uses no column: put one in braces, such as {{{columns[0]}}}{shown}; {_listed(columns)}"


def _literal(text: str, columns: Sequence[str]) -> str:
    bare = _ESCAPED.sub("", text)
    unknown = _WORD.search(bare) or next((m for m in _BRACED.finditer(bare) if _looks_like(m[1], columns)), None)
    if unknown and len(same := [name for name in columns if re.fullmatch(rf"{re.escape(unknown[1])}_\d+", name)]) > 1:
        raise InputError(f"the prompt names {unknown[0]}, and there are several: write {_either(same)}.")
    if unknown:
        raise InputError(
            f"the prompt names {unknown[0]}, but there is no such column; {_listed(columns)}."
            f"{meant(unknown[1], columns)}{_by_place(unknown[1])}\n"
            f"Use one of them, or write {{{unknown[0]}}} if the braces are meant as text."
        )
    return _ESCAPED.sub(r"\1", text)


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"{{{name}}}" for name in names)


def _by_place(name: str) -> str:
    if not re.fullmatch(r"column_\d+", name):
        return ""
    return " Columns go by their place where a file has no header line: --no-header says so."


def _looks_like(name: str, columns: Sequence[str]) -> bool:
    return name.strip().casefold() in {column.strip().casefold() for column in columns}


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
    return f"columns: {shown}"
