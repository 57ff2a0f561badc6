"""A function of the user's own as a candidate: any callable, or regular expressions (`rules`), in this process.

A function is given a row, never a prompt: the texts of the columns that the task's prompt shows, so rows that the
reference cannot tell apart no function can either. What it returns is read as a model's reply would be. None is "I
cannot say", and an exception is a failure of that row; both rows go on to the next candidate or the reference.

What it is decides its answers, so the hash of the function and of all it refers to (`tasks.referred`) is part of the
plan and of the ledger's keys, in the place of a model's address. Where it refers to what cannot be hashed, its answers
are good for this process alone, unless the user says which version it is.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from traceback import walk_tb
from typing import Any

from smart_llm.errors import InputError, Refused
from smart_llm.tasks.equivalence import missing
from smart_llm.tasks.functions import describe
from smart_llm.tasks.given import label_text
from smart_llm.tasks.task import format_value
from smart_llm.types import Answer, Model, Rate, Request

PROVIDER = "function"
SESSION = f"session {secrets.token_hex(8)}"
"""In the place of what cannot be hashed: this process."""
SILENT = "nothing said"
"""How an answer ends where a function has nothing to say about a row."""
LEAST = 1e-12
"""The smallest probability that a function may be sure with."""

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """A function that answers rows. at: what it is, as the ledger's keys have it; unhashed: the names of what it refers
    to that cannot be hashed, where nothing stands for them."""

    function: Callable[..., Any]
    name: str
    at: str
    unhashed: tuple[str, ...] = ()

    @classmethod
    def of(cls, function: Callable[..., Any], name: str, version: str | None = None) -> Called:
        """Any callable. version: what stands for what cannot be hashed."""
        described = describe(function)
        if described.unhashed and version is None:
            return cls(function, name, f"{SESSION} {described.hash}", described.unhashed)
        return cls(function, name, described.hash + (f" version {version}" if version is not None else ""))

    def wants(self, columns: Sequence[str]) -> tuple[str, ...] | None:
        """The columns that it is given by the names of its parameters; None: it is given the row as a whole.
        `InputError`: it asks for what there is not."""
        try:
            parameters = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):  # built in, and says nothing of itself
            return None
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        needed = [p for p in named if p.default is p.empty]
        if beyond := [p.name for p in needed if p.name not in columns or p.kind is p.POSITIONAL_ONLY]:
            if len(needed) == 1 and named[0] is needed[0] and needed[0].kind is not needed[0].KEYWORD_ONLY:
                return None
            raise InputError(
                f"Model {self.name}: the function wants {beyond[0]}, which the prompt does not show (it shows "
                f"{', '.join(columns)}); name its parameters as columns, or let it take one, the row as a dict."
            )
        if not named and parameters:
            return None
        return tuple(p.name for p in named if p.name in columns and p.kind is not p.POSITIONAL_ONLY)

    def doubt(self, columns: Sequence[str]) -> str | None:
        """What to know where it is given the row as a whole, and its parameter is almost called like a column."""
        if not columns or self.wants(columns) is not None:
            return None
        try:
            first = next(iter(inspect.signature(self.function).parameters), "")
        except (TypeError, ValueError):
            return None
        near = next((column for column in columns if _plain(column) == _plain(first) != ""), None)
        if near is None or first == near:
            return None
        return (
            f"{self.name}: its parameter {first} is no column, so it is given the row as a dict. Did you mean {near}? "
            "Parameters get a column's text only if they are spelt like the column."
        )

    def __call__(self, row: Row) -> Any:
        """What it says of a row."""
        columns = self.wants(tuple(row))
        return self.function(dict(row)) if columns is None else self.function(**{c: row[c] for c in columns})


def model_of(called: Called, price: float = 0.0, source: str = "a function of your own") -> Model:
    """A function as a candidate. price: USD a row."""
    rate = Rate(call=price or None, source=source)
    return Model(called.name, PROVIDER, called.name, rate, at=called.at, function=called)


def _plain(name: str) -> str:
    """A name without what is easily mistaken: upper case, and what separates words."""
    return re.sub(r"[\W_]+", "", name).casefold()


def unhashed(models: Sequence[Model]) -> list[str]:
    """One sentence for each function that refers to what cannot be hashed."""
    return [
        f"{each.name} refers to {', '.join(each.unhashed)}, which cannot be hashed: its answers are good for this "
        "process alone, and a run cannot be resumed by another, unless you say version='…' and change that with it."
        for each in (model.function for model in models)
        if isinstance(each, Called) and each.unhashed
    ]


class Functions:
    """A function as a provider. One row at a time, in a thread, so that others are asked meanwhile."""

    def __init__(self, model: Model) -> None:
        assert isinstance(model.function, Called)
        self._called, self._turn = model.function, asyncio.Lock()

    async def complete(self, request: Request) -> Answer:
        """What it says of the row in the request; `Refused`: it raised something, which fails this row alone."""
        row = json.loads(request.prompt)
        async with self._turn:
            if not _awaited(self._called.function):
                return await asyncio.to_thread(self._said, row)
            try:
                return answer(await self._called(row))
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # the call was given up, by us
                    raise
                raise self._refused(error) from None
            except (Exception, SystemExit, GeneratorExit) as error:
                raise self._refused(error) from None

    def _said(self, row: Row) -> Answer:
        """In a thread. Nothing but `Refused` leaves it: a future cannot hold a StopIteration, and what is no Exception
        would end the worker that waits for it."""
        try:
            return answer(self._called(row))
        except BaseException as error:
            raise self._refused(error) from None

    def _refused(self, error: BaseException) -> Refused:
        return Refused(f"{self._called.name} raised {_where(error)}.", row_only=True)

    async def close(self) -> None:
        """Nothing to give up."""


def _awaited(function: Callable[..., Any]) -> bool:
    """Whether what it returns is awaited: it is async, or an object whose call is."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def request_of(model: Model, cells: Row, columns: Sequence[str], room: int) -> Request:
    """What a function is asked about a row: these columns, as JSON."""
    row = json.dumps({column: cells[column] for column in columns}, ensure_ascii=False)
    return Request(model.name, row, room, logprobs=True, **model.settings)


def answer(said: Any) -> Answer:
    """What a function returned, as a reply. A pair is an answer and how probable it is that it is right."""
    sure = None
    if isinstance(said, tuple) and len(said) == 2 and _probability(said[1]):
        said, sure = said[0], float(said[1])
    if missing(said):
        return Answer(None, finish=SILENT)
    text = _text(said)
    return Answer(text, logprobs=() if sure is None else ((text.strip(), math.log(max(sure, LEAST))),))


def _probability(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value <= 1


def _text(said: Any) -> str:
    """As a model would have written it."""
    if type(said).__module__ == "numpy" and hasattr(said, "item"):
        said = said.item()
    if isinstance(said, Enum | bool):
        return label_text(said)
    if isinstance(said, str):
        return str.__str__(said)  # of a library's own kind of text, its letters
    return format_value(said.model_dump(mode="json") if hasattr(said, "model_dump") else said)


def _where(error: BaseException) -> str:
    """What was raised, and where; its words are left out, since they may hold a row's text."""
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    file, line = frames[-1] if frames else ("?", 0)
    return f"{type(error).__name__} ({Path(file).name}, line {line})"
