"""A prompt with places for cells: split once per table, joined once per row.

The rules, on one page:

* `{column}` is replaced by the cell, where `column` is exactly the name of a column (spaces, dots, dashes and any
  script included). There is no attribute access and no format specification.
* A single word in braces that is no column (`{word}`) is an `InputError`: most likely a typing mistake, found before
  anything is spent. So is a column's name in other capitals. `{{word}}` writes `{word}` where that is meant.
* All other braces are literal, so JSON examples need no care: `{"a": {"b": 1}}` stays as it is.
* Cells are never looked at: `{other}` inside a cell stays text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smart_llm.errors import InputError, meant

_WORD = re.compile(r"\{([^\W\d]\w*)\}")
_ESCAPED = re.compile(r"\{(\{[^\W\d]\w*\})\}")
_BRACED = re.compile(r"\{([^{}]*)\}")


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
    names = sorted(set(columns), key=len, reverse=True)
    if not names:
        raise InputError("the table has no columns: give it a header or named fields")
    parts = re.split(r"\{(" + "|".join(map(re.escape, names)) + r")\}", prompt)
    literals, fields = tuple(_literal(text, columns) for text in parts[0::2]), tuple(parts[1::2])
    if not fields:
        raise InputError(f"the prompt uses no column: put one in braces, such as {{{columns[0]}}}; {_listed(columns)}")
    return Template(literals, fields, "%s".join(text.replace("%", "%%") for text in literals))


def _literal(text: str, columns: Sequence[str]) -> str:
    bare = _ESCAPED.sub("", text)
    unknown = _WORD.search(bare) or next((m for m in _BRACED.finditer(bare) if _looks_like(m[1], columns)), None)
    if unknown:
        raise InputError(
            f"the prompt names {unknown[0]}, but there is no such column; {_listed(columns)}."
            f"{meant(unknown[1], columns)}\nUse one of them, or write {{{unknown[0]}}} if the braces are meant as text."
        )
    return _ESCAPED.sub(r"\1", text)


def _looks_like(name: str, columns: Sequence[str]) -> bool:
    return name.strip().casefold() in {column.strip().casefold() for column in columns}


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
    return f"columns: {shown}"
