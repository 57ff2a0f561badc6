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
from smart_llm.providers.functions import SILENT
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
FAILING = "mend its address, key or server (smart doctor MODEL looks at them)"
ADVICE = {
    FUNCTION: "mend the function",
    REGEX: "mend the expression",
    "local:": "see what smart doctor MODEL says of it",
}
"""Where the name of a candidate begins like this, what helps when its calls fail."""


@dataclass(slots=True)
class Tally:
    """One candidate, in order of arrival. silent: rows about which a function said nothing, which is no fault; counted
    in asked. failure: what the latest call that failed said. broken: position → why, what to do about it, and the
    beginning of what it said."""

    asked: int = 0
    silent: int = 0
    proper: int = 0
    failure: str = ""
    broken: dict[int, tuple[str, str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tried:
    """The rows that a candidate was asked about: those it had a proper answer to, those whose call failed, and those
    about which it had nothing to say, as a function may."""

    asked: int
    proper: int
    failed: int
    silent: int

    @property
    def tried(self) -> int:
        """Rows about which it had something to say."""
        return self.asked - self.silent


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
        elif reply.finish == SILENT:
            tally.silent += 1
        elif value is None and len(tally.broken) < KEPT:
            tally.broken[position] = (*why_broken(reply), (reply.text or "")[:SHOWN])
        if model and model not in self._said and tally.asked - tally.silent == SOON and not tally.proper:
            seen = Tried(tally.asked, 0, SOON - len(tally.broken), tally.silent)
            why = tally.failure if self._quote else ""
            self._said.add(model)
            self._tell(in_short(self._sentence(model, seen, tally.broken, why), self._names))

    def notes(self, batches: Sequence[tuple[Ints, Answers]], failed: Collection[tuple[int, int]]) -> list[str]:
        """A sentence on every candidate that was of no use while profiling. It is made of the evidence alone, so that a
        run that was interrupted says the same. failed: (position, model) of calls that did."""
        positions = {row for rows, _ in batches for row in rows.tolist()}
        marks = np.concatenate([np.empty((0, len(self._names)), np.int8), *(sheet.marks for _, sheet in batches)])
        lost, found = Counter(model for _, model in failed), list[str]()
        for model in range(1, len(self._names)):
            asked = int((marks[:, model] != NOT_ASKED).sum())
            deferred = int((marks[:, model] == DEFER).sum())
            broken = {at: told for at, told in self._tallies[model].broken.items() if at in positions}
            own = self._names[model].startswith((FUNCTION, REGEX))
            seen = Tried(asked, asked - lost[model] - deferred, lost[model], deferred - len(broken) if own else 0)
            if seen.tried >= FEWEST and seen.proper < HARDLY * seen.tried:
                found.append(self._sentence(model, seen, broken))
            elif own and asked >= FEWEST and not seen.tried:
                found.append(
                    f"{self._names[model]} had nothing to say about any of the {asked:,} rows it was asked about."
                )
        return found

    def told(self, note: str) -> bool:
        """Whether what a note says has been told already."""
        return any(note.startswith(f"{self._names[model]} ") for model in self._said)

    def _sentence(self, model: int, seen: Tried, broken: dict[int, tuple[str, str, str]], failure: str = "") -> str:
        """What is wrong with a candidate, and what to do about it."""
        name, proper, failed = self._names[model], seen.proper, seen.failed
        rows = f"to only {proper:,} of the {seen.asked:,} rows" if proper else f"to any of the {seen.asked:,} rows"
        silent = f" and had nothing to say about {seen.silent:,} of them" if seen.silent else ""
        head = f"{name} {SELDOM if proper else NEVER} {rows} it was asked about{silent}"
        if failed and failed == seen.tried - proper:
            calls = "the other calls failed" if proper or seen.silent else "every call failed"
            why = f": {failure.rstrip('.')}" if failure else ""
            advice = next((told for kind, told in ADVICE.items() if name.startswith(kind)), FAILING)
            return f"{head}; {calls}{why}. The reference answers instead: {advice}, or leave it out."
        calls = f" ({failed:,} calls failed)" if failed > 1 else " (1 call failed)" if failed else ""
        position = min(broken, default=None)
        why, advice, said = broken[position] if position is not None else ("", "", "")
        shown = f" (to row {position + 1:,} it said {said!r})" if said and self._quote and position is not None else ""
        told = f": {why}" if why else shown
        return f"{head}{calls}{told}. The reference answers instead: {advice or self._asked(name)}, or leave it out."

    def _asked(self, name: str) -> str:
        """What helps a candidate whose answers break the contract."""
        if name.startswith(FUNCTION):
            return f"let it return {'one of the labels' if self._labelled else 'an answer'}"
        if name.startswith(REGEX):
            return f"let it say {'one of the labels' if self._labelled else 'an answer'} (PATTERN=ANSWER)"
        if not self._labelled:
            return "say in the prompt to answer with nothing but the answer"
        served = "@" not in name and not name.startswith(("fake:", "local:"))
        enforce = ", let the server enforce the labels (?enforce=schema)" if served else ""
        return f"say in the prompt to answer with one of the labels alone{enforce}"
