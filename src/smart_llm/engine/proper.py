"""Candidates whose answers are of no use: calls that fail, answers that break the contract. Said early, and once.

Such a candidate costs little, for its rows go to the reference; but it saves nothing either, and a word on a wrong
address, or on thoughts without an answer, is worth more while the run goes on than a count at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smart_llm.certificates.why import NEVER, SELDOM
from smart_llm.engine.statuses import why_broken
from smart_llm.providers.rules import FUNCTION, REGEX
from smart_llm.text.names import in_short
from smart_llm.types import DEFER, NOT_ASKED, Answer, Answers, Ints

SOON = 10
"""Rows a candidate is asked about before it is said that it answers none of them."""
FEWEST = 3
"""Rows that are enough to say so at the end of profiling."""
HARDLY = 0.5
"""A candidate is of no use where it has a proper answer to less than this share of the rows."""
KEPT, SHOWN = 2000, 40
"""Broken answers that are kept as examples, per candidate, and characters of one that are shown."""
FAILING = "mend its address, key or server (smart doctor MODEL looks at them), or leave it out"
OUT = "or leave it out"


@dataclass(slots=True)
class Tally:
    """One candidate, in order of arrival. failure: what the latest call that failed said. broken: position → why, and
    the beginning of what it said."""

    asked: int = 0
    proper: int = 0
    failure: str = ""
    broken: dict[int, tuple[str, str]] = field(default_factory=dict)


class Proper:
    """What the models of a run have answered so far. tell: is told, once each, of candidates that answer nothing.
    quote: whether answers and errors may be quoted, for they may quote the row. labelled: answers are labels."""

    def __init__(
        self,
        names: Sequence[str],
        tell: Callable[[str], None] = lambda _: None,
        *,
        quote: bool = False,
        labelled: bool = False,
    ) -> None:
        self._names, self._tell, self._quote, self._labelled = names, tell, quote, labelled
        self._tallies, self._said = [Tally() for _ in names], set[int]()

    def see(self, model: int, position: int, value: Any, reply: Answer) -> None:
        """One answer, or one call that failed."""
        tally = self._tallies[model]
        tally.asked += 1
        tally.proper += value is not None
        if reply.error is not None:
            tally.failure = reply.error
        elif value is None and len(tally.broken) < KEPT:
            tally.broken[position] = (why_broken(reply, "leave it out"), (reply.text or "")[:SHOWN])
        if model and tally.asked == SOON and not tally.proper:
            failed = SOON - len(tally.broken)
            why = tally.failure if self._quote else ""
            self._said.add(model)
            self._tell(in_short(self._sentence(model, SOON, 0, failed, tally.broken, why), self._names))

    def notes(self, batches: Sequence[tuple[Ints, Answers]], failed: Collection[tuple[int, int]]) -> list[str]:
        """A sentence on every candidate that was of no use while profiling. It is made of the evidence alone, so that a
        run that was interrupted says the same. failed: (position, model) of calls that did."""
        positions = {row for rows, _ in batches for row in rows.tolist()}
        marks = np.concatenate([np.empty((0, len(self._names)), np.int8), *(sheet.marks for _, sheet in batches)])
        lost, found = Counter(model for _, model in failed), list[str]()
        for model in range(1, len(self._names)):
            asked = int((marks[:, model] != NOT_ASKED).sum())
            proper = asked - lost[model] - int((marks[:, model] == DEFER).sum())
            if asked >= FEWEST and proper < HARDLY * asked:
                broken = {at: told for at, told in self._tallies[model].broken.items() if at in positions}
                found.append(self._sentence(model, asked, proper, lost[model], broken))
        return found

    def told(self, note: str) -> bool:
        """Whether what a note says has been told already."""
        return any(note.startswith(f"{self._names[model]} ") for model in self._said)

    def _sentence(
        self, model: int, asked: int, proper: int, failed: int, broken: dict[int, tuple[str, str]], failure: str = ""
    ) -> str:
        """What is wrong with a candidate, and what to do about it."""
        rows = f"to only {proper:,} of the {asked:,} rows" if proper else f"to any of the {asked:,} rows"
        head = f"{self._names[model]} {SELDOM if proper else NEVER} {rows} it was asked about"
        if failed and failed == asked - proper:
            calls = "the other calls failed" if proper else "every call failed"
            return f"{head}; {calls}{f' ({failure})' if failure else ''}. The reference answers instead: {FAILING}."
        calls = f" ({failed:,} calls failed)" if failed else ""
        position = min(broken, default=None)
        why, said = broken[position] if position is not None else ("", "")
        if why:
            return f"{head}{calls}{why}, {OUT}." if OUT[3:] not in why else f"{head}{calls}{why}."
        shown = f" (to row {position + 1:,} it said {said!r})" if said and self._quote and position is not None else ""
        alone = "with one of the labels alone" if self._labelled else "with nothing but the answer"
        name = self._names[model]
        served = self._labelled and "@" not in name and not name.startswith(("fake:", "local:"))
        enforce = ", let the server enforce the labels (?enforce=schema)" if served else ""
        advice = f"say in the prompt to answer {alone}{enforce}, {OUT}"
        if name.startswith((FUNCTION, REGEX)):
            advice = f"let it return one of the labels, {OUT}" if self._labelled else f"let it return an answer, {OUT}"
        return f"{head}{calls}{shown}. The reference answers instead: {advice}."
