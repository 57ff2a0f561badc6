"""What a run has seen, in the ledger, written once: every ask, what was fixed before it, and what it brought.

Before an ask leaves: what its procedure has fixed by then. While it goes on: the marks of every row, as soon as they
are made. When it is answered: rows, keys, marks, scores and answers, and which calls failed. So a run that is resumed,
or run again, is sent what was seen then, and today's task must read it the same way; where it does not, or the
procedure asks for something else, it is another task (`Changed`), and another run.

A mark is not made again: what failed as evidence stays bad, though it may be answered by now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from smart_llm.engine.live import Live
from smart_llm.errors import InputError
from smart_llm.ledger import Ledger, canonical
from smart_llm.ledger.entries import ASK, ASKS, FIXED, NO_KEY, READINGS, Entry, reading
from smart_llm.tasks.functions import name_of
from smart_llm.types import AGREE, BAD, DEFER, ERROR, LESSON, NOT_ASKED, Answers, Ask, Ints, Json

MEANING = {
    NOT_ASKED: "not compared",
    AGREE: "equivalent",
    BAD: "different",
    DEFER: "broken",
    ERROR: "without an answer",
}
"""Of marks."""

Keys: TypeAlias = Sequence[Sequence[Sequence[str]]]
"""Of requests: by row, model, and draw."""


class Changed(Exception):
    """The task is not what it was when the run was recorded. Says what shows it."""


class Diary:
    """The asks of one run, in order. entries: those that were answered before; number: of the next one."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self._ledger, self._run_id = ledger, run_id
        events = ledger.events(run_id)
        asks = {event.payload["number"]: event.payload for event in events if event.kind == ASK}
        self.entries: list[Entry] = [asks[number] for number in range(len(asks))]
        self._fixed = {event.payload["number"]: event.payload["fixed"] for event in events if event.kind == FIXED}
        self._ended = next((event.payload["asks"] for event in events if event.kind == ASKS), None)
        self._old, self.number = len(self.entries), 0
        self._marked: Mapping[int, Json] = {}

    @property
    def answered(self) -> bool:
        """Whether the reference has answered any row that was asked about."""
        return any(row[0] == AGREE for entry in self.entries if entry["models"][0] == 0 for row in entry["marks"])

    async def opened(self, ask: Ask, live: Live) -> Entry | None:
        """The next ask, before anything of it is sent: what is recorded of it, if it was answered before. `Changed`: it
        is another one, or the rows of it that were marked are read otherwise by now."""
        whole = live.questions.aside.population[ask.positions]
        keys = self.keys(ask, live)
        self._fix(ask)
        if self.number < self._old:
            _same_ask(self.entries[self.number], ask, whole, keys)
            return self.entries[self.number]
        if self._ended is not None:
            raise Changed("more rows are asked for than before")
        self._marked = self._ledger.marks(self._run_id, self.number)
        await self._begun(ask, live, whole, keys)
        return None

    def keys(self, ask: Ask, live: Live) -> Keys:
        """The keys of an ask's requests, by row and model. What is said in a lesson is no request."""
        prompts = live.questions.prompts(live.questions.aside.population[ask.positions])
        if ask.stage == LESSON:
            return [[*live.questions.keys_of(prompt, (0,)), [NO_KEY]] for prompt in prompts]
        return [live.questions.keys_of(prompt, ask.models) for prompt in prompts]

    async def note(self, ask: Ask, live: Live, k: int, keys: Sequence[Sequence[str]], sheet: Answers) -> None:
        """One row of the current ask, as soon as its marks are made."""
        row = int(live.questions.aside.population[ask.positions[k]])
        failed = any(key in live.client.failed for of_model in keys for key in of_model)
        told = {"row": row, "keys": [first for first, *_ in keys], **reading(sheet, k, ask.models), "failed": failed}
        if self._marked.get(k) != told:
            await self._ledger.mark(self._run_id, self.number, k, told)

    def write(self, ask: Ask, live: Live, keys: Keys, sheet: Answers, more: Mapping[str, Json] | None = None) -> None:
        """The current ask, answered. more: what else is to be recorded of it."""
        entry = _entry(self.number, ask, live, keys, sheet) | dict(more or {})
        self._ledger.event(self._run_id, ASK, entry)
        self.entries.append(entry)
        self.number += 1

    def passed(self, entry: Entry, live: Live, sheet: Answers) -> None:
        """The current ask, told again. `Changed`: its rows are read otherwise by now."""
        _same(entry, sheet, live)
        self.number += 1

    def end(self) -> None:
        """The procedure is done asking."""
        if self._ended is None:
            self._ledger.event(self._run_id, ASKS, {"asks": self.number})
        elif self._ended != self.number:
            raise Changed("fewer rows are asked for than before")

    async def check(self, live: Live) -> None:
        """Read everything once more. `InputError`: a function of the user's own says now this, now that, and no promise
        can be made about it."""
        functions = live.task.functions
        for entry in (each for each in self.entries if functions and each["stage"] != LESSON):
            try:
                _same(entry, await self._read(live, np.array(entry["positions"], np.int64), entry["models"]), live)
            except Changed as changed:
                names = " or ".join(f"{role} {name_of(each).rpartition('.')[2]}" for role, each in functions.items())
                raise InputError(
                    f"The {names} does not say the same twice ({changed}). A promise needs one that always does: mend "
                    "it and run again; what was bought is kept."
                ) from None

    # ------------------------------------------------------------------ inside

    def _fix(self, ask: Ask) -> None:
        """What the procedure has fixed before this ask is recorded, once, before anything of it is sent."""
        known = self._fixed.get(self.number)
        if self.number < self._old or known is not None:
            if canonical(known) != canonical(ask.fixed):
                raise Changed("what is fixed before the evidence is not what it was")
        elif ask.fixed is not None:
            self._ledger.event(self._run_id, FIXED, {"number": self.number, "fixed": ask.fixed})

    async def _begun(self, ask: Ask, live: Live, whole: Ints, keys: Keys) -> None:
        """The rows of an ask that was not answered to its end: what was marked stays so, what failed is asked again."""
        marked = self._marked
        places = np.array([k for k in sorted(marked) if not marked[k]["failed"]], np.int64)
        if any(
            k >= len(whole) or (told["row"], told["keys"]) != (int(whole[k]), [first for first, *_ in keys[k]])
            for k, told in marked.items()
        ):
            raise Changed("other rows are asked for than before")
        if len(places):
            entry = {name: [marked[k][name] for k in places.tolist()] for name in READINGS}
            entry |= {"positions": whole[places].tolist(), "models": list(ask.models)}
            _same(entry, await self._read(live, whole[places], ask.models), live)

    async def _read(self, live: Live, positions: Ints, models: Sequence[int]) -> Answers:
        """What these rows look like by today's task, from the ledger alone."""
        sheet = Answers.blank((len(positions), len(live.models)), words=True)
        with live.client.recorded(self._ledger.get):
            for k, (position, prompt) in enumerate(
                zip(positions.tolist(), live.questions.prompts(positions), strict=True)
            ):
                await live.look(sheet, k, position, prompt, models)
        return sheet


def _entry(number: int, ask: Ask, live: Live, keys: Keys, sheet: Answers) -> dict[str, Json]:
    """An ask as it is recorded. failed: (place, model) of calls without an answer; draws: keys of further draws, by row
    and model; undrawn: of those that failed; paid: what failed calls cost all the same, USD by key; text: characters
    of the rows' prompts, for scores made of them."""
    gone = live.client.failed
    rows = [reading(sheet, k, ask.models) for k in range(len(keys))]
    draws = [[further for _, *further in row] for row in keys]
    undrawn = sorted({key for row in draws for of in row for key in of if key in gone})
    paid = {key: cost for row in keys for of in row for key in of if (cost := live.client.paid.get(key, 0.0))}
    return {
        "number": number,
        "stage": ask.stage,
        "positions": live.questions.aside.population[ask.positions].tolist(),
        "models": list(ask.models),
        "keys": [[first for first, *_ in row] for row in keys],
        **{name: [row[name] for row in rows] for name in READINGS},
        "text": [] if sheet.traits is None else sheet.traits.text.astype(int).tolist(),
        "failed": [
            [k, m] for k, row in enumerate(keys) for m, (key, *_) in zip(ask.models, row, strict=True) if key in gone
        ],
        **({"draws": draws} if any(map(any, draws)) else {}),
        **({"undrawn": undrawn} if undrawn else {}),
        **({"paid": paid} if paid else {}),
    }


def _same_ask(entry: Entry, ask: Ask, whole: Ints, keys: Keys) -> None:
    asked = {
        "stage": ask.stage,
        "positions": whole.tolist(),
        "models": list(ask.models),
        "keys": [[first for first, *_ in row] for row in keys],
    }
    for name, value in asked.items():
        if entry[name] != value:
            raise Changed(
                "other rows are asked for than before" if name != "keys" else "models are asked otherwise than before"
            )


def _same(entry: Entry, sheet: Answers, live: Live) -> None:
    """Today's readings are those that were recorded."""
    names = [model.name for model in live.models]
    for k, position in enumerate(entry["positions"]):
        now = reading(sheet, k, entry["models"])
        for name in READINGS:
            for m, before, after in zip(entry["models"], entry[name][k], now[name], strict=True):
                if before != after:
                    what = f"was {MEANING[before]}, is {MEANING[after]}" if name == "marks" else "is read otherwise"
                    raise Changed(f"row {position + 1:,}: the answer of {names[m]} {what} now")
