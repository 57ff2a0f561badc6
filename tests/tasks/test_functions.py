"""What a function refers to belongs to it, as far as it can be hashed; what cannot is named."""

from __future__ import annotations

import functools
import json
import logging
import math
import operator
import random
import re
import subprocess
import sys
import textwrap
import threading
import types
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smart_llm.tasks import Task
from smart_llm.tasks.functions import beyond, describe, differing

Relation = Callable[[Any, Any], bool]
STATE: Any = set()
LOG, LOCK, PATTERN = logging.getLogger("x"), threading.Lock(), re.compile("a+")


def plain(a: Any, b: Any) -> bool:
    """Looks at a global."""
    LOG.debug("asked")
    with LOCK:
        return (a, b) in STATE or bool(PATTERN.match(a))


def nested(a: Any, b: Any) -> bool:
    """Looks at a global from inside, through another function."""

    def inner() -> bool:
        return any(plain(x, b) for x in (a,))

    return inner()


def imported(a: Any, b: Any) -> bool:
    """Looks at a module of the user's own that it imports itself."""
    import _own_module

    return bool(_own_module.SETTINGS[a] == b)


@dataclass
class Judge:
    """A relation with fields."""

    known: set[Any] = field(default_factory=set)
    limit: float = 0.0

    def __call__(self, a: Any, b: Any) -> bool:
        """Whether they count as the same."""
        return (a, b) in self.known or self.helper(a) == b

    def helper(self, a: Any) -> Any:
        """Part of it."""
        return a if self.limit else None


class Slotted:
    """A relation without a `__dict__`."""

    __slots__ = ("known",)

    def __init__(self, known: Any) -> None:
        self.known = known

    def __call__(self, a: Any, b: Any) -> bool:
        """Whether they count as the same."""
        return (a, b) in self.known


class Colour(Enum):
    """Some values."""

    RED = 1
    BLUE = 2


def over(value: Any) -> Relation:
    """A relation over a captured value."""
    return lambda a, b: value == (a, b)


def decorated(function: Relation) -> Relation:
    """The same, through a decorator."""

    @functools.wraps(function)
    def wrapper(a: Any, b: Any) -> bool:
        return function(a, b)

    return wrapper


def hashed(function: Any) -> str:
    """The hash; all of it could be made."""
    described = describe(function)
    assert not described.unhashed, described
    return described.hash


VALUES: list[Any] = [
    *(1, 1.0, True, "1", b"1", None, (1,), [1], {1}, {1: 1}, Decimal(1), Colour.RED, Colour.BLUE, range(1), 1j),
    *(
        {"a": {"b": 1}},
        {"a": {"b": 2}},
        deque([1]),
        Counter("a"),
        np.arange(3),
        np.arange(3.0),
        np.float64(1),
        math.nan,
    ),
    *(re.compile("a"), re.compile("a", re.I), types.SimpleNamespace(a=1), Judge(), Judge({1}), Slotted(1), Slotted(2)),
    *(math.sin, math.cos, str.lower, str.upper, "x".join, "y".join, operator.itemgetter(1), operator.itemgetter(2)),
    *(functools.partial(plain, 1), functools.partial(plain, 2), over(1), over(2), decorated(over(1)), Judge, Slotted),
]


def test_captured_values_tell_functions_apart() -> None:
    """Whatever a function captures is part of it, by what it holds and not by where it stands in memory."""
    found = [hashed(over(value)) for value in VALUES]
    assert len(set(found)) == len(found)
    assert hashed(over({"b": 1, "a": 2})) == hashed(over({"a": 2, "b": 1}))
    assert hashed(over(Judge({1}))) == hashed(over(Judge({1})))


@pytest.mark.parametrize(
    "function", [plain, nested, decorated(plain), functools.cache(plain), functools.partial(nested, 1)]
)
def test_a_global_that_changes_is_seen_at_any_remove(function: Relation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through nested functions, helpers, decorators, caches and partials."""
    before = hashed(function)
    monkeypatch.setitem(globals(), "STATE", {("a", "b")})
    assert hashed(function) != before
    monkeypatch.setitem(globals(), "STATE", set())
    assert hashed(function) == before


def test_a_module_of_ones_own_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only as far as its names are named: what else changes in it is nobody's business."""
    module: Any = types.ModuleType("_own_module")
    module.SETTINGS, module.STARTED = {"x": 1}, 1
    monkeypatch.setitem(sys.modules, "_own_module", module)
    before = hashed(imported)
    module.STARTED = 2
    assert hashed(imported) == before
    module.SETTINGS["x"] = 2
    assert hashed(imported) != before


def test_a_method_has_the_state_of_its_object() -> None:
    """Its fields, slots, and the methods it calls."""
    judge = Judge()
    before = hashed(judge), hashed(judge.helper)
    judge.known.add(1)
    assert all(old != new for old, new in zip(before, (hashed(judge), hashed(judge.helper)), strict=True))
    other = type("Judge", (Judge,), {"helper": lambda self, a: 3})
    assert hashed(other()) != hashed(Judge())


def test_attributes_and_defaults_count() -> None:
    """Also those set after a function was made."""

    def same(a: Any, b: Any, *, known: Any = frozenset()) -> bool:
        return a == b or (a, b) in known

    before = hashed(same)
    same.limit = 1  # type: ignore[attr-defined]
    after = hashed(same)
    assert after != before
    same.__kwdefaults__["known"] = frozenset({1})
    assert hashed(same) != after


def test_two_functions_of_one_line_differ() -> None:
    """What runs is hashed, not the line it was written on."""
    one, two = (lambda a, b: a == b), (lambda a, b: a != b)
    assert hashed(one) != hashed(two)


def test_a_function_that_refers_to_itself_ends() -> None:
    """Recursion, and values that hold themselves."""

    def depth(a: Any, b: Any) -> bool:
        return bool(a) and depth(a[1:], b)

    loop: list[Any] = []
    loop.append(loop)
    assert hashed(depth) == hashed(depth)
    assert hashed(over(loop)) == hashed(over(loop))


FOLDER = Path()
CONNECTION: Any = object.__new__(type("Connection", (), {"__module__": "sqlite3"}))


def reads_a_file(a: Any, b: Any) -> bool:
    """Opens it by itself."""
    with open("accepted.txt") as file:
        return f"{a},{b}" in file.read()


def reads_a_path(a: Any, b: Any) -> bool:
    """Through a path."""
    return a in (FOLDER / "accepted.txt").read_text()


def asks_a_database(a: Any, b: Any) -> bool:
    """Over a connection."""
    return bool(CONNECTION.execute(a) == b)


def draws(a: Any, b: Any) -> bool:
    """By chance."""
    return random.random() < 0.5


def looks_around(a: Any, b: Any) -> bool:
    """Whatever the program holds."""
    return bool(globals()["STATE"] == a)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (reads_a_file, "open"),
        (reads_a_path, "FOLDER"),
        (asks_a_database, "CONNECTION"),
        (draws, "random"),
        (looks_around, "globals"),
        (over(iter([1])), "value"),
        (over(Judge(known=open(__file__))), "value.known"),  # type: ignore[arg-type]  # noqa: SIM115
    ],
)
def test_what_cannot_be_hashed_is_named(function: Relation, name: str) -> None:
    """By the name the function has for it, in one sentence."""
    described = describe(function)
    assert described.unhashed == (name,)
    (sentence,) = beyond(Task("{t}", answer="text", equivalence=function).described)
    assert f"refers to {name}, which cannot be hashed" in sentence


def test_a_library_counts_by_name_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is not looked at, and a function that merely says it is of a library is not believed."""
    assert hashed(json.loads) != hashed(json.dumps)

    def same(a: Any, b: Any) -> bool:
        return (a, b) in STATE

    same.__module__ = "json"
    before = hashed(same)
    monkeypatch.setitem(globals(), "STATE", {1})
    assert hashed(same) != before


def test_what_has_changed_is_named() -> None:
    """Two descriptions of one task say which name of a function is another by now."""
    known: set[Any] = set()
    task = Task("{t}", answer="text", equivalence=lambda a, b: a == b or (a, b) in known, parse=str.strip)
    before = task.described
    assert differing(before, task.described) == []
    known.add(1)
    assert differing(before, task.described) == ["equivalence <lambda> (known)"]


def test_hashes_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Whatever the seed of Python's own hashes."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import re
            from smart_llm.tasks.functions import describe
            KNOWN = {("a", "b"), ("c", "d"), ("e", "f")}
            TABLE = {name: frozenset("abcdef") for name in "xyz"}
            class Judge:
                def __init__(self): self.words = {"one", "two", "three"}
                def __call__(self, a, b): return a in self.words or (a, b) in KNOWN or a in {"p", "q", "r"}
            print(describe(Judge()).hash, describe(lambda a, b: TABLE[a] == re.split("x", b)).hash)
            """
        )
    )
    found = {
        subprocess.run(
            [sys.executable, script], env={"PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True
        ).stdout
        for seed in range(3)
    }
    assert len(found) == 1
