"""Output contracts: what a reply must be to count as an answer.

A contract reads a reply and returns its canonical value, or None: the contract is broken, and the answer is never
delivered. It also tells the provider what it may enforce (labels, a schema) and how many tokens the answer needs.

| kind   | value                                        | default equivalence |
|--------|----------------------------------------------|---------------------|
| labels | the label as the user wrote it               | label               |
| number | `Decimal`, exactly as written                | number              |
| json   | dict, list, str, float, int, bool            | json                |
| text   | the reply, stripped; never empty             | text                |
| custom | whatever the user's `parse` returns          | exact               |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol

from smart_llm.errors import InputError
from smart_llm.tasks.labels import LabelReader, check_labels
from smart_llm.tasks.numerals import LARGEST_EXPONENT
from smart_llm.tasks.replies import spoken
from smart_llm.tasks.structured import Check, checker, read_json
from smart_llm.types import Json

KINDS = ("text", "number", "json")


class Contract(Protocol):
    """What a task asks of a reply. `labels` and `schema` (JSON text) are what a provider may enforce."""

    @property
    def kind(self) -> str:
        """Name of the contract, as in the table above."""

    @property
    def equivalence(self) -> str:
        """Name of the equivalence used when the user names none."""

    @property
    def max_tokens(self) -> int:
        """How many tokens an answer may take when the user does not say."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The closed set of answers, if there is one."""

    @property
    def schema(self) -> str | None:
        """The JSON schema as text, if there is one."""

    def read(self, reply: str) -> Any:
        """The value of a reply without thoughts; None = contract broken."""

    def admit(self, value: Any) -> Any:
        """The canonical form of a value a user's `parse` returned; None = contract broken."""


@dataclass(frozen=True)
class _Open:
    labels: ClassVar[tuple[str, ...] | None] = None
    schema: ClassVar[str | None] = None


@dataclass(frozen=True)
class TextContract(_Open):
    """Any text that is not empty."""

    kind: ClassVar[str] = "text"
    equivalence: ClassVar[str] = "text"
    max_tokens: ClassVar[int] = 1024

    def read(self, reply: str) -> str | None:
        """The reply, stripped."""
        return reply.strip() or None

    def admit(self, value: Any) -> str | None:
        """Texts that are not empty."""
        return spoken(value) if isinstance(value, str) else None


@dataclass(frozen=True)
class NumberContract(_Open):
    """One number."""

    kind: ClassVar[str] = "number"
    equivalence: ClassVar[str] = "number"
    max_tokens: ClassVar[int] = 64

    def read(self, reply: str) -> Decimal | None:
        """The number the reply means."""
        from smart_llm.tasks.numbers import read_number  # its patterns take a while to compile, and few tasks need them

        return read_number(reply)

    def admit(self, value: Any) -> Decimal | None:
        """Finite numbers; a float counts as its shortest decimal form."""
        if isinstance(value, bool) or not isinstance(value, Real | Decimal):
            return None
        try:
            number = Decimal(int(value)) if isinstance(value, Integral) else Decimal(str(value))
        except (ArithmeticError, ValueError):  # a fraction, say, has no decimal form
            return None
        return number if number.is_finite() and abs(number.adjusted()) <= LARGEST_EXPONENT else None


@dataclass(frozen=True)
class LabelContract:
    """One of a closed set of labels. `max_tokens`: a token is at least one byte, and a few words around are common."""

    labels: tuple[str, ...]
    kind: ClassVar[str] = "labels"
    equivalence: ClassVar[str] = "label"
    schema: ClassVar[str | None] = None

    @cached_property
    def _reader(self) -> LabelReader:
        return LabelReader(self.labels)

    @property
    def max_tokens(self) -> int:
        """Enough for the longest label in bytes."""
        return max(len(label.encode()) for label in self.labels) + 16

    def read(self, reply: str) -> str | None:
        """The label the reply means."""
        return self._reader.read(reply)

    def admit(self, value: Any) -> str | None:
        """One of the labels, as the user wrote it or in a form that folds to it."""
        return self._reader.read(value) if isinstance(value, str) and value.strip() else None


@dataclass(frozen=True)
class JsonContract:
    """A JSON value that satisfies a schema (any JSON value where there is none)."""

    schema: str | None
    kind: ClassVar[str] = "json"
    equivalence: ClassVar[str] = "json"
    max_tokens: ClassVar[int] = 1024
    labels: ClassVar[tuple[str, ...] | None] = None

    @cached_property
    def _valid(self) -> Check:
        return (lambda value: True) if self.schema is None else checker(json.loads(self.schema))

    def read(self, reply: str) -> Json | None:
        """The one valid value in the reply."""
        return read_json(reply, self._valid)

    def admit(self, value: Any) -> Json | None:
        """Values that can be written as JSON and satisfy the schema."""
        try:
            return read_json(json.dumps(value, allow_nan=False), self._valid)
        except (TypeError, ValueError, RecursionError):
            return None


@dataclass(frozen=True)
class CustomContract(_Open):
    """Whatever the user's own `parse` accepts."""

    kind: ClassVar[str] = "custom"
    equivalence: ClassVar[str] = "exact"
    max_tokens: ClassVar[int] = 1024

    def read(self, reply: str) -> str:
        """The reply itself (the user's `parse` reads it)."""
        return reply

    def admit(self, value: Any) -> Any:
        """Anything."""
        return value


def choose(
    labels: object, answer: str | None, schema: Mapping[str, Json] | None, parse: Callable[[str], Any] | None
) -> Contract:
    """The contract the user asked for. InputError: none, two, or one that cannot be used."""
    if answer is not None and answer not in KINDS:
        raise InputError(f"unknown answer kind {answer!r}: use text, number or json (or give labels)")
    if labels is not None:
        if answer is not None or schema is not None:
            raise InputError("a task has one output contract: give labels, or an answer kind, not both")
        return LabelContract(check_labels(labels))
    if schema is not None:
        return _json(schema, answer)
    if answer == "json":
        return JsonContract(None)
    if answer is not None:
        return NumberContract() if answer == "number" else TextContract()
    if parse is None:
        raise InputError(
            "the task does not say what an answer is: give --labels, or an --answer kind (text, number or json)"
        )
    return CustomContract()


def _json(schema: Mapping[str, Json], answer: str | None) -> Contract:
    if answer not in (None, "json"):
        raise InputError(f"a schema goes with answer json, not {answer}: drop one of them")
    checker(schema)
    return JsonContract(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
