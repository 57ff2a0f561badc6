"""A task: a prompt with columns, an output contract, and what it means for two answers to be the same.

Everything here is pure. A broken contract is a value (None), never an exception; what the user got wrong is an
`InputError` at construction, or at `columns`, when the table is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec

from smart_llm.errors import InputError, named
from smart_llm.tasks import equivalence as equivalences
from smart_llm.tasks import given
from smart_llm.tasks.contracts import Contract, choose
from smart_llm.tasks.functions import describe, name_of
from smart_llm.tasks.numerals import EXACT
from smart_llm.tasks.replies import spoken
from smart_llm.tasks.template import Template, doubts, split
from smart_llm.types import Answer, Json
from smart_llm.types.plan import DescribedTask

CUT_BREAKS = ("text", "number")
"""Contracts that an answer breaks when it is cut off. A label or JSON that is cut off is not read as one."""

SHOWN = 60
"""Characters of a prompt, and of labels, that a task shows of itself."""

_compiled = lru_cache(maxsize=256)(split)


class Task:
    """What to ask about each row, how to read the answer, and when two answers count as the same. Immutable.

    prompt: text with `{column}` places (rules: `smart_llm.tasks.template`).
    One output contract: `labels` (two or more texts, an Enum, or a dict of labels and what they mean, which the system
    message then says), or `answer` ("text", "number", "json"), or `schema` (a JSON schema or a pydantic model; the
    answer is JSON). `parse`, a function of the reply (str) to a value or None, replaces the contract's own
    reading; its values are still checked against the contract, and an exception in it is a broken contract. It may
    stand without a contract.
    equivalence: a name ("label", "exact", "text", "number", "json", "json-exact") or a symmetric function of two
    parsed answers. tolerance: for "number" and "json": |a − b| ≤ t · max(1, |a|, |b|); without one, numbers may differ
    by a millionth of the larger one and by at most 0.000001. Integers in JSON must be equal in any case.
    max_tokens: the longest answer, in tokens; by contract unless given.

    Raises InputError for whatever of this cannot be used.
    """

    __slots__ = (
        "_compared",
        "_described",
        "_made",
        "_members",
        "_parse",
        "_relation",
        "_same",
        "contract",
        "max_tokens",
        "prompt",
        "system",
    )

    prompt: str
    system: str | None
    contract: Contract
    max_tokens: int
    _parse: Callable[[str], Any] | None
    _relation: equivalences.Relation
    _compared: bool
    _same: Callable[[Any, Any], bool] | None
    _described: str
    _made: Callable[[Json], Any] | None
    _members: dict[str, Any]

    @named
    def __init__(
        self,
        prompt: str,
        *,
        labels: Iterable[str] | Iterable[Enum] | Iterable[bool] | Mapping[str, str] | None = None,
        answer: str | None = None,
        schema: Mapping[str, Json] | type | None = None,
        equivalence: str | Callable[[Any, Any], bool] | None = None,
        parse: Callable[[str], Any] | None = None,
        tolerance: float | None = None,
        system: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        _check_prompt(prompt)
        plain, made = given.schema_of(schema)
        contract = choose(given.label_texts(labels), answer, plain, parse)
        name = contract.equivalence if equivalence is None else equivalence
        put = object.__setattr__
        put(self, "prompt", prompt)
        put(self, "system", given.described(labels, system))
        put(self, "_made", made)
        put(self, "_members", given.members(labels))
        put(self, "contract", contract)
        put(self, "max_tokens", _check_tokens(max_tokens, contract))
        put(self, "_parse", _check_function("parse", parse) if parse is not None else None)
        put(self, "_relation", _relation(name, contract.kind, tolerance))
        put(self, "_compared", isinstance(name, str) and contract.kind == "custom")
        put(self, "_same", None if isinstance(name, str) else name)
        put(self, "_described", self._describe(name, tolerance))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a task cannot be changed: make a new one")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """A task that comes from another process."""
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self._described == other._described and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self._described)

    def __repr__(self) -> str:
        contract = self.contract
        kind = f"labels={list(contract.labels)!r}" if contract.labels else f"answer={contract.kind!r}"
        if len(kind) > SHOWN:
            kind = f"{kind[:SHOWN]}…, {len(contract.labels or ())} of them]"
        prompt = " ".join(self.prompt.split())
        return f"Task({prompt if len(prompt) <= SHOWN else prompt[:SHOWN] + '…'!r}, {kind})"

    def template(self, columns: Sequence[str]) -> Template:
        """The prompt split at these columns. InputError: it names an unknown column, or none."""
        return _compiled(self.prompt, tuple(columns))

    def columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Which of a table's columns the prompt uses. InputError: it names an unknown column, or none."""
        return self.template(columns).columns

    def doubts(self, columns: Sequence[str]) -> list[str]:
        """What the prompt sends as it stands, but may be meant otherwise: sentences."""
        return list(doubts(self.prompt, columns))

    def prefix(self, columns: Sequence[str]) -> str:
        """The text before the first cell: the same for every row."""
        return self.template(columns).literals[0]

    def render(self, row: Mapping[str, str]) -> str:
        """The prompt for one row (column → text)."""
        return self.template(tuple(row)).render(row)

    def parse(self, text: str | None) -> Any:
        """The canonical value of a reply; None where there is no reply or it breaks the contract. InputError: the
        task's own `parse` returned what a named equivalence cannot compare."""
        reply = spoken(text) if text is not None else None
        if reply is None:
            return None
        if self._parse is None:
            return self.contract.read(reply)
        try:
            value = self._parse(reply)
        except Exception:  # a parser that stumbles over a reply has not found an answer: fail closed
            return None
        if equivalences.missing(value):
            return None
        return self._comparable(value) if self._compared else self.contract.admit(value)

    def read(self, answer: Answer | None) -> Any:
        """The canonical value of a model's answer; None where there is none, or where it breaks the contract. A text or
        a number that was cut off is broken: "12" may have been the beginning of 1250."""
        if answer is None or (answer.finish == "length" and self.contract.kind in CUT_BREAKS):
            return None
        return self.parse(answer.text)

    def _comparable(self, value: Any) -> Any:
        """What the user's `parse` returned, where there is no contract to check it against. What it returns for one
        reply it returns for all, so a type that cannot be compared is a mistake to tell, not an answer to defer."""
        if not equivalences.shallow(value):
            return None
        if (part := equivalences.incomparable(value)) is not None:
            raise InputError(
                f"parse returned a value of type {_type_name(part)}, which == does not tell from another one: return "
                "text, numbers, lists or dicts, or give the task an equivalence of your own"
            )
        return value

    def value(self, text: str) -> Any:
        """A delivered answer as a value: numbers, truth values, lists and dicts as such, all else as text."""
        member = self._members.get(text)
        return member if isinstance(member, bool) else given.value_of(self.contract, text)

    def made(self, text: str) -> Any:
        """A delivered answer as what the task was given: a member of the Enum of labels, an object of the pydantic
        model, else its `value`."""
        if text in self._members:
            return self._members[text]
        return self.value(text) if self._made is None else self._made(self.value(text))

    def equivalent(self, a: Any, b: Any) -> bool:
        """Whether two parsed answers count as the same. None is equivalent to nothing, not even to None."""
        return a is not None and b is not None and bool(self._relation(a, b))

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The user's own functions, by their roles."""
        given = {"parse": self._parse, "equivalence": self._same}
        return {role: function for role, function in given.items() if function is not None}

    def to_json(self) -> dict[str, Json]:
        """Everything that decides prompts, answers and agreement, for the plan's hash. Functions: name and hash, of
        what they are and refer to at this moment."""
        described: dict[str, Json] = json.loads(self._described)
        return described | {role: describe(function).to_json() for role, function in self.functions.items()}

    @property
    def described(self) -> DescribedTask:
        """The same as a value."""
        return msgspec.convert(self.to_json(), DescribedTask)

    def _describe(self, equivalence: str | Callable[[Any, Any], bool], tolerance: float | None) -> str:
        contract = self.contract
        return json.dumps(
            {
                "prompt": self.prompt,
                "system": self.system,
                "contract": contract.kind,
                "labels": list(contract.labels) if contract.labels else None,
                "schema": contract.schema,
                "equivalence": equivalence if isinstance(equivalence, str) else name_of(equivalence),
                "tolerance": tolerance,
                "parse": None if self._parse is None else name_of(self._parse),
                "max_tokens": self.max_tokens,
            },
            sort_keys=True,
            ensure_ascii=False,
        )


def format_value(value: Any) -> str:
    """How a parsed answer is written in the `answer` column: texts as they are, numbers plainly, the rest as JSON. The
    same in every process: sets are sorted, and no object shows its address."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and value.is_finite():
        return _plain_number(value)
    if isinstance(value, dict | list | tuple | set | frozenset | bool | int | float):
        return json.dumps(
            value if not isinstance(value, set | frozenset) else _plain(value), ensure_ascii=False, default=_plain
        )
    return "" if value is None else str(_plain(value))


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, set | frozenset):
        return sorted(map(format_value, value))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))


def _plain_number(value: Decimal) -> str:
    short = value.normalize(EXACT)
    return f"{short:f}" if -12 <= short.adjusted() <= 20 else str(short)


def _check_prompt(prompt: object) -> None:
    if not isinstance(prompt, str):
        raise InputError(f"the prompt must be a text, not {type(prompt).__name__}")
    if not prompt.strip():
        raise InputError("the prompt is empty: write what to ask, with a {column} of the table in it")
    if "{" not in prompt:
        raise InputError("the prompt uses no column: put the name of one in braces, such as {text}")


def _check_tokens(max_tokens: int | None, contract: Contract) -> int:
    if max_tokens is None:
        return contract.max_tokens
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        raise InputError(f"max_tokens must be a whole number of at least 1, not {max_tokens!r}")
    return max_tokens


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:  # a value of the user's own may not even show itself
        return f"a {_type_name(value)}"


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _check_function(role: str, function: object) -> Callable[..., Any]:
    if not callable(function):
        raise InputError(f"{role} must be a function, not {type(function).__name__}")
    return function


def _relation(equivalence: object, kind: str, tolerance: float | None) -> equivalences.Relation:
    if isinstance(equivalence, str):
        return equivalences.named(equivalence, kind, tolerance)
    equivalences.check_tolerance(tolerance, None)
    return _guarded(_check_function("equivalence", equivalence))


def _guarded(function: Callable[[Any, Any], Any]) -> equivalences.Relation:
    """A user's equivalence; a failure in it must be seen, for it would look like disagreement and cost money."""

    def relation(a: Any, b: Any) -> bool:
        try:
            return bool(function(a, b))
        except Exception as error:
            name = getattr(function, "__qualname__", type(function).__name__)
            raise InputError(f"the equivalence {name} failed on {_shown(a)} and {_shown(b)}: {error}") from error

    return relation
