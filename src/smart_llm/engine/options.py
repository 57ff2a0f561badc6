"""The options of `run`, `arun`, `plan` and `aplan`: their names, their defaults and what they may be, in one place.

`Keywords` is what type checkers see, `Options` what the rest of the package gets: frozen, made once, at the door. This
module is quick to import, because the command line takes its defaults from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Required, TypeAlias, TypedDict

from smart_llm.client.batch.options import BatchOptions
from smart_llm.defaults import CONCURRENCY, PATIENCE, PROCEDURE, TIMEOUT
from smart_llm.errors import InputError, check_names

if TYPE_CHECKING:
    from smart_llm.events import Listener
    from smart_llm.providers.base import Provider
    from smart_llm.providers.candidate import Candidate

Place: TypeAlias = str | os.PathLike[str]
Retry: TypeAlias = Literal["errors", "broken"]
"""What may be asked again: calls that failed; these, and answers that broke the output contract."""


class Keywords(TypedDict, total=False):
    """What `run` and `plan` can be told; `help(smart.run)` says what it means, `Options` has the defaults."""

    output: Place | None
    budget: float | None
    seed: int | None
    per_label: float | str | None
    floor: float | str
    rows: int | None
    procedure: str
    ways: str
    ledger: Place | None
    models: Place | None
    providers: Mapping[str, Provider] | None
    concurrency: int
    timeout: float
    patience: float
    self_check: int
    retry: Retry | str | None
    store_text: bool
    report: Place | None
    safe_csv: bool
    id_column: str | None
    batch: bool | BatchOptions
    on_event: Listener | None
    progress: bool | None
    engine: str
    workers: int | None
    partition: int | None
    encoding: str | None
    quotes: str
    header: bool | None
    answer_column: str
    skip_empty: bool
    explode: bool
    learn_from: Place | Sequence[Place] | None


class Asked(Keywords, total=False):
    """All that they take besides the table and the task."""

    reference: Required[str]
    candidates: Required[Sequence[str | Candidate]]
    agreement: float | str
    confidence: float | str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Options:
    """Everything that `run` and `plan` take besides the table and the task, checked: names, kinds and ranges.

    Raises `InputError` for a value that cannot be used. What needs the table or the models to be checked is checked
    where these are known.
    """

    reference: str
    candidates: Sequence[str | Candidate]
    agreement: float | str = "0.95"
    confidence: float | str = "0.95"
    output: Place | None = None
    budget: float | None = None
    seed: int | None = None
    per_label: float | str | None = None
    floor: float | str = "0.5"
    rows: int | None = None
    procedure: str = PROCEDURE
    ways: str = "given"
    ledger: Place | None = None
    models: Place | None = None
    providers: Mapping[str, Provider] | None = None
    concurrency: int = CONCURRENCY
    timeout: float = TIMEOUT
    patience: float = PATIENCE
    self_check: int = 0
    retry: Retry | str | None = None
    store_text: bool = True
    report: Place | None = None
    safe_csv: bool = False
    id_column: str | None = None
    batch: bool | BatchOptions = False
    on_event: Listener | None = None
    progress: bool | None = None
    engine: str = "local"
    workers: int | None = None
    partition: int | None = None
    encoding: str | None = None
    quotes: str = "auto"
    header: bool | None = None
    answer_column: str = "answer"
    skip_empty: bool = False
    explode: bool = False
    learn_from: Place | Sequence[Place] | None = None

    def __post_init__(self) -> None:
        check_models(self.reference, self.candidates)
        for field in fields(self):
            _check_kind(field, getattr(self, field.name))
        _check_providers(self.providers)
        for name, holds, needed in _RANGES:
            if (value := getattr(self, name)) is not None and not holds(value):
                raise InputError(f"--{name.replace('_', '-')} {value}: {needed}.")
        self._check_batch()

    def _check_batch(self) -> None:
        if self.batch and self.engine != "local":
            raise InputError("--batch and --engine ray: workers on Ray ask by calls; give one of the two.")
        if isinstance(self.batch, BatchOptions) and not (self.batch.poll > 0 and self.batch.rows >= 1):
            raise InputError("--batch-poll, --batch-rows: give seconds, more than 0, and at least 1 row.")

    def __repr__(self) -> str:
        """Those that are not as they are by default."""
        changed = {name: value for name in OPTIONS if (value := getattr(self, name)) != DEFAULT[name]}
        return f"Options({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    @classmethod
    def of(cls, given: Mapping[str, Any], *also: str) -> Options:
        """The options in these keywords. `TypeError`: one that is unknown, with the nearest that is known (also: those
        of the caller's own), or a model that is missing; an option nobody looks at would be a silent mistake."""
        check_names(given, [*OPTIONS, *also])
        if missing := [name for name in ("reference", "candidates") if name not in given]:
            raise TypeError(f"no {' and no '.join(missing)}: give reference='provider:model', candidates=['…'].")
        return cls(**given)

    @property
    def taught_by(self) -> list[str]:
        """Where labels are learned from, beside the ledger."""
        if self.learn_from is None:
            return []
        return list(map(str, [self.learn_from] if isinstance(self.learn_from, str | os.PathLike) else self.learn_from))

    @property
    def batches(self) -> BatchOptions:
        """How batches are made, where there are any."""
        return self.batch if isinstance(self.batch, BatchOptions) else BatchOptions()


OPTIONS: Mapping[str, Field[Any]] = {field.name: field for field in fields(Options)}


DEFAULT: Mapping[str, Any] = {name: field.default for name, field in OPTIONS.items()}
"""What an option is, unless it is given."""


_RANGES: Sequence[tuple[str, Callable[[Any], bool], str]] = (
    ("budget", lambda value: 0 < value < float("inf"), "give USD, more than 0"),
    ("timeout", lambda value: value > 0, "give seconds, more than 0"),
    ("patience", lambda value: value > 0, "give seconds, more than 0"),
    ("self_check", lambda value: value >= 0, "give a number of rows"),
    ("ways", lambda value: value in ("auto", "given"), "give auto or given"),
    ("retry", lambda value: value in ("errors", "broken"), "give errors or broken"),
    ("concurrency", lambda value: value >= 1, "give at least 1 call in flight"),
)


def check_whole(name: str, value: object) -> None:
    """`InputError` unless the value is a whole number, or None."""
    if value is not None and not _whole(value):
        raise InputError(f"--{name} {value!r:.80}: give a whole number.")


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _place(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _places(value: object) -> bool:
    return isinstance(value, Sequence) and all(map(_place, value))


_TEXTS = ("procedure", "ways", "retry", "engine", "encoding", "quotes", "answer_column", "id_column")
_SWITCHES = ("store_text", "safe_csv", "progress", "header", "skip_empty", "explode")
_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(("seed", "rows", "concurrency", "self_check", "workers", "partition"), (_whole, "a whole number")),
    **dict.fromkeys(("budget", "timeout", "patience"), (_number, "a number")),
    **dict.fromkeys(("output", "ledger", "models", "report"), (_place, "a path")),
    **dict.fromkeys(_TEXTS, (_text, "a text")),
    **dict.fromkeys(_SWITCHES, (_truth, "True or False")),
    "learn_from": (lambda value: _place(value) or _places(value), "a ledger, or FILE:COLUMN, or a list of them"),
    "batch": (lambda value: isinstance(value, bool | BatchOptions), "True, False or BatchOptions"),
    "on_event": (callable, "a function that takes an event"),
}
"""Of every option: what it must be, unless it is None by default and is None."""


def _check_kind(field: Field[Any], value: object) -> None:
    fits, kind = _KINDS.get(field.name, (None, ""))
    if fits is None or (value is None and field.default is None) or fits(value):
        return
    raise InputError(f"--{field.name.replace('_', '-')} {value!r:.80}: give {kind}.")


def check_models(reference: object, candidates: object) -> None:
    """The mistakes that would otherwise be taken for models with odd names."""
    if not isinstance(reference, str):
        raise InputError(
            f"reference: give one model as a text, such as 'openai:gpt-4.1', not {type(reference).__name__}."
        )
    if isinstance(candidates, str):
        raise InputError(f"candidates: give a list of models, candidates=[{candidates!r}], not a text.")
    if not isinstance(candidates, Sequence | set | frozenset):
        raise InputError(f"candidates: give a list of models, not {type(candidates).__name__}.")
    from smart_llm.providers.candidate import Candidate  # what it is made of takes a while to load

    if wrong := [each for each in candidates if not isinstance(each, str | Candidate)]:
        hint = f" Write smart.Candidate({getattr(wrong[0], '__name__', '…')})." if callable(wrong[0]) else ""
        raise InputError(
            "candidates: every model is a text, such as 'openai:gpt-4.1-mini', or a smart.Candidate, not "
            f"{wrong[0]!r:.80}.{hint}"
        )


def _check_providers(providers: object) -> None:
    """Providers by the names of their models; a function or a class is what people bring instead."""
    if providers is None:
        return
    if not isinstance(providers, Mapping):
        raise InputError(
            "providers: give a dict of them by the names of their models, {'fake:big': smart.FakeProvider(answer)}, "
            f"not {type(providers).__name__}."
        )
    for name, each in providers.items():
        if not isinstance(name, str):
            raise InputError(f"providers: the name of a model is a text, such as 'fake:big', not {name!r:.80}.")
        if isinstance(each, type):
            raise InputError(f"providers: {name} has the class {each.__name__}: give an object of it.")
        if not all(callable(getattr(each, method, None)) for method in ("complete", "close")):
            hint = f": give smart.FakeProvider({getattr(each, '__name__', 'answer')})" if callable(each) else ""
            raise InputError(
                f"providers: {name} has a {type(each).__name__}, which has no complete() and close(){hint}."
            )
