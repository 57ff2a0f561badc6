r"""Functions as the user writes them: `smart.Candidate(…)` of a callable or of regular expressions, and as specs.

    function:rules.py:classify?call=0.0001&version=3
    regex:refund|money back=complaint;(?i)\bgreat\b=praise

A regular expression is looked for in the texts of the row, one after the other, a line each. With an answer, that is
what it says; the first one that is found decides, and where none is found nothing is said. One alone says the name of
its group that was found, where its groups have names, else its first group, else all that it found.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from smart_llm.errors import InputError, meant
from smart_llm.ledger import tagged
from smart_llm.providers.functions import Called, Row, model_of
from smart_llm.tasks import Task, patterns
from smart_llm.types import Model

FUNCTION, REGEX = "function:", "regex:"
OPTIONS = ("call", "version")
SHOWN = 40
"""Characters of rules that their name shows."""
_LAST = re.compile(r"(?<!\\)=(?=(?:[^=\\]|\\.)*$)")
"""The = that separates an expression from its answer."""
_BACK = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=|\(\?\(")
"""A reference to a group, on which Python's engine may try more ways than can be tried, and cannot be interrupted."""
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]()]")
"""What a regular expression has in it that finds more than itself."""
_NAME = re.compile(r"[\w.<>+-][\w.<>+ -]*")


@dataclass(frozen=True, slots=True)
class Rules:
    """Regular expressions, each with what it says; None: its groups, or what it found."""

    rules: tuple[tuple[re.Pattern[str], str | None], ...]

    @property
    def told(self) -> bytes:
        """All that decides what they say."""
        return repr([(pattern.pattern, pattern.flags, answer) for pattern, answer in self.rules]).encode()

    @property
    def answers(self) -> tuple[str, ...]:
        """Everything that they may say, as far as that does not depend on the row."""
        return tuple(dict.fromkeys(said for pattern, answer in self.rules for said in _may_say(pattern, answer)))

    def __call__(self, row: Row, /) -> Any:
        """What they say of a row; None where none is found. Of a text so long that Python's engine may take more than
        half a second for it, the beginning is looked at."""
        text = "\n".join(row.values())
        for pattern, answer in self.rules:
            if found := pattern.search(text, 0, patterns.longest(pattern.pattern)):
                return said_by(found) if answer is None else answer
        return None


def _may_say(pattern: re.Pattern[str], answer: str | None) -> Sequence[str]:
    if answer is not None:
        return [answer]
    if pattern.groups:
        return list(pattern.groupindex)
    plain = not _SPECIAL.search(pattern.pattern) and not pattern.flags & ~re.UNICODE
    return pattern.pattern.split("|") if plain else []


def said_by(found: re.Match[str]) -> Any:
    """What a regular expression has found, where it has no answer of its own."""
    if found.re.groupindex:
        return next((name for name, part in found.groupdict().items() if part is not None), None)
    return found[1] if found.re.groups else found[0]


def is_function(given: object) -> bool:
    """Whether a candidate is one of these, and no model's name."""
    return callable(given) or isinstance(given, re.Pattern | Mapping)


def of_given(given: Any, name: str | None, price: float | None, version: str | None) -> Model:
    """A callable, a regular expression, or several with what they say, as a candidate; `InputError` for others."""
    if isinstance(given, type):
        raise InputError(f"Candidate: {given.__name__} is a class; give a function, or an object of it.")
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise InputError(f"Candidate: name={name!r}: letters, digits and .+- only.")
    paid, known = _price("Candidate", "price", price), None if version is None else str(version)
    if callable(given):
        own = getattr(given, "__qualname__", None) or type(_inner(given)).__qualname__
        called = name or own.rpartition("<locals>.")[2].replace("<lambda>", "lambda")
        return model_of(Called.of(given, FUNCTION + called, known), paid)
    rules = _rules_of(given)
    return model_of(Called(rules, REGEX + (name or _short(rules)), tagged(rules.told)), paid, "regular expressions")


def _inner(given: Any) -> Any:
    return getattr(given, "func", given)


def _rules_of(given: Any) -> Rules:
    if isinstance(given, re.Pattern):
        return _checked([(given, None)])
    if not given:
        raise InputError("Candidate: the dict of regular expressions is empty; write {'refund': 'complaint'}.")
    for pattern, answer in given.items():
        if not isinstance(pattern, str | re.Pattern) or not isinstance(answer, str):
            raise InputError(
                f"Candidate: {pattern!r:.60}: a dict holds regular expressions and what each of them says, "
                "{'refund|money back': 'complaint'}."
            )
    return _checked(list(given.items()))


def _checked(rules: list[tuple[Any, str | None]]) -> Rules:
    """Compiled; `InputError` for what is no regular expression of texts, or may take for ever."""
    found = []
    for pattern, answer in rules:
        try:
            compiled = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise InputError(f"{REGEX}{pattern[:80]!r} is not a regular expression: {error}.") from None
        if isinstance(compiled.pattern, bytes):
            raise InputError(f"{REGEX} {compiled.pattern!r:.80} is for bytes; texts need one for texts.")
        if patterns.endless(compiled.pattern) or _BACK.search(compiled.pattern):
            raise InputError(
                f"{REGEX}{compiled.pattern[:80]!r} may take for ever: write it without a repetition in a repetition, "
                "without more than two side by side (.*.*.*), and without a reference to a group."
            )
        found.append((compiled, answer))
    return Rules(tuple(found))


def _short(rules: Rules) -> str:
    """What they are called, where nobody says: some of what they look for, and a hash of it all."""
    told = "-".join(pattern.pattern + f"-{answer}" * (answer is not None) for pattern, answer in rules.rules)
    words = re.sub(r"\W+", "-", told)[:SHOWN].strip("-")
    return "-".join(part for part in (words, blake2b(rules.told, digest_size=3).hexdigest()) if part)


def answerable(model: Model, task: Task) -> None:
    """`InputError` where regular expressions say what is no answer of the task: that is a slip of the pen, which would
    otherwise show only once rows are paid for."""
    rules = model.function.function if isinstance(model.function, Called) else None
    for said in rules.answers if isinstance(rules, Rules) else ():
        if task.parse(said) is None:
            labels = task.contract.labels
            known = f"none of the labels {', '.join(labels)}.{meant(said, labels)}" if labels else "no such answer."
            raise InputError(f"Candidate {model.name} says {said!r:.60}, which is {known}")


# --------------------------------------------------------------------------- specs


def resolve(spec: str, name: str | None = None) -> Model | None:
    """The candidate behind a spec; None where it is none of these. name: what a file of models calls it."""
    if spec.startswith(REGEX):
        return of_given(_written(spec.removeprefix(REGEX)), name, None, None)
    return _of_file(spec) if spec.startswith(FUNCTION) else None


def _written(text: str) -> Any:
    r"""`PATTERN=ANSWER;PATTERN=ANSWER`, or one pattern alone; `\;` and `\=` separate nothing."""
    rules = [_LAST.split(each, maxsplit=1) for each in re.split(r"(?<!\\);", text) if each]
    if not rules:
        raise InputError(f"{REGEX} no regular expression; write {REGEX}PATTERN=ANSWER;PATTERN=ANSWER.")
    if len(rules) == 1 and len(rules[0]) == 1:
        return _checked([(rules[0][0], None)]).rules[0][0]
    if alone := next((rule[0] for rule in rules if len(rule) == 1), None):
        raise InputError(f"{REGEX}{alone[:80]!r} has no answer: write {alone[:80]}=ANSWER.")
    return {pattern: re.sub(r"\\([=;])", r"\1", answer) for pattern, answer in rules}


def _of_file(spec: str) -> Model:
    """`function:FILE.py:NAME[?call=USD&version=V]`."""
    body, _, query = spec.removeprefix(FUNCTION).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if odd := next((option for option in options if option not in OPTIONS), None):
        raise InputError(f"Model {FUNCTION}{body}: unknown option {odd!r}; there are {', '.join(OPTIONS)}.")
    place, _, name = body.rpartition(":")
    if not place.endswith(".py") or not name.isidentifier():
        raise InputError(f"Model {spec}: write {FUNCTION}FILE.py:NAME, a file of Python and a function in it.")
    path = Path(place)
    function = _loaded(f"{FUNCTION}{path.name}:{name}", path, name)
    called = Called.of(function, f"{FUNCTION}{path.name}:{name}", options.get("version"))
    return model_of(called, _price(called.name, "call", options.get("call")))


def _loaded(model: str, path: Path, name: str) -> Callable[..., Any]:
    """A function of the user's own file, which is run for it."""
    if not path.is_file():
        raise InputError(f"Model {model}: {path}: no such file.")
    folder, title = str(path.resolve().parent), f"_of_user_{path.stem}"
    if folder not in sys.path:
        sys.path.append(folder)  # for what it imports beside itself, now or when it is called
    described = importlib.util.spec_from_file_location(title, path)
    assert described is not None
    assert described.loader is not None
    module = sys.modules[title] = importlib.util.module_from_spec(described)
    try:
        described.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"Model {model}: {path.name} cannot be run: {type(error).__name__}: {error}.") from None
    function = getattr(module, name, None)
    if not callable(function) or isinstance(function, type):
        known = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise InputError(f"Model {model}: {path.name} has no function {name}.{meant(name, known)}")
    found: Callable[..., Any] = function
    return found


def _price(name: str, option: str, given: Any) -> float:
    """USD a row."""
    try:
        value = float(given or 0)
    except (TypeError, ValueError):
        value = -1.0
    if isinstance(given, bool) or not 0 <= value < float("inf"):
        raise InputError(f"{name}: {option}={given} is not a price; write USD a row, 0 or more.")
    return value
