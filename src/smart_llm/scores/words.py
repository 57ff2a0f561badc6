"""What a score is made of, in words that need no explanation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smart_llm.types import Json

TERMS = {
    "own": "{own}",
    "same": "whether {peer} says the same",
    "usual": "whether its answer is the one it gives most often",
    "answer_length": "how long its answer is",
    "text_length": "how long the row is",
    "word": "which words it has",
}
"""The terms of a score in words."""


def judged_by(terms: Iterable[Sequence[Json]], names: Sequence[str], sure: str) -> str:
    """What these terms look at; empty where they are none. names: of all models; sure: as `own` says it."""
    words = [
        TERMS.get(str(name).partition(":")[0], str(name)).format(peer=_peer(str(name), names), own=sure)
        for name, weight in terms
        if weight
    ]
    return (
        words[0]
        if len(words) == 1
        else f"a score learned on the first rows profiled ({', '.join(words)})"
        if words
        else ""
    )


def _peer(term: str, names: Sequence[str]) -> str:
    number = term.partition(":")[2]
    return names[int(number)] if number.isdigit() and int(number) < len(names) else "another candidate"
