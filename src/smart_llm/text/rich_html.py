"""What a notebook shows of a value: a sentence, a few figures, and the whole text behind a click.

Everything is escaped, nothing is fetched, no script runs, and colours follow the notebook's own, light or dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape


def card(head: str, sentence: str, figures: Sequence[tuple[str, str, str]], text: str) -> str:
    """head: what it is; figures: (name, value, note); text: all of it, for people."""
    cells = "".join(
        f'<div style="margin-right:2em"><div style="opacity:.7">{escape(name)}</div>'
        f'<div style="font-size:1.4em">{escape(value)}</div><div style="opacity:.7">{escape(note)}</div></div>'
        for name, value, note in figures
    )
    return (
        f'<div><div style="font-weight:bold">{escape(head)}</div><div style="max-width:60em">{escape(sentence)}</div>'
        f'<div style="display:flex;flex-wrap:wrap;margin:.5em 0">{cells}</div>'
        f'<details><summary>all of it</summary><pre style="white-space:pre-wrap">{escape(text)}</pre></details></div>'
    )


def listed(head: str, values: Mapping[str, object]) -> str:
    """head: what it is; under it every value by its name, figures in four digits."""
    cell = '<td style="text-align:left">'
    rows = "".join(
        f"<tr>{cell}{escape(name)}</td>{cell}{escape(_short(value))}</td></tr>" for name, value in values.items()
    )
    return f'<div><div style="font-weight:bold">{escape(head)}</div><table>{rows}</table></div>'


def _short(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
