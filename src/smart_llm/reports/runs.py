"""What a prompt and a notebook show of a finished run."""

from __future__ import annotations

from typing import Any

from smart_llm.certificates.certificate import Certificate, head
from smart_llm.text.names import in_short
from smart_llm.text.numbers import percent, usd
from smart_llm.text.rich_html import card

ROWS = 5
"""Of the answered table that are shown."""


def brief(c: Certificate, run: str) -> str:
    """For a prompt: one line."""
    return f"<Run {run}: {head(c)}; {usd(c.cost.total)} paid{_times(c)}>"


def html(c: Certificate, run: str, table: Any) -> str:
    """For a notebook: what is promised, what it cost, and the first answers."""
    cost, by = c.cost, c.delivered.by
    rows = sum(by.values()) - by.get(c.claim.reference, 0)
    figures = [
        ("paid", usd(cost.total), f"instead of about {usd(cost.reference_only)}"),
        ("answered by candidates", percent(rows / max(1, sum(by.values()))), f"{rows:,} rows"),
        ("without an answer", f"{c.errors.rows:,}", "of " + f"{c.claim.rows:,} rows"),
    ]
    words = in_short(c.claim.words, c.plan.names)
    return card(head(c), words, figures, c.text()) + _first(table) + f"<div>run {run}</div>"


def _times(c: Certificate) -> str:
    return f", {c.cost.saving:.2f}× cheaper than the reference alone" if c.cost.saving > 1 else ""


def _first(table: Any) -> str:
    """A frame shows itself; of anything else there is a path or a list, which needs no picture."""
    top = table.head(ROWS) if hasattr(table, "head") and hasattr(table, "_repr_html_") else None
    shown: str = top._repr_html_() if top is not None else ""
    return shown
