"""Naming a user's function so that a changed function changes the plan: its name, and a hash of what it does.

What a function does is its bytecode and everything it refers to (`referred`). What cannot be hashed is named, so that
the user can be told: if that changes, only the recorded marks of profiled rows can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from smart_llm.tasks.referred import Hashing, home_of
from smart_llm.types.plan import DescribedFunction, DescribedTask


def describe(function: Callable[..., Any]) -> DescribedFunction:
    """What a plan says of a function, method, partial or callable object."""
    hashing = Hashing(home_of(function))
    try:
        digest = hashing.digest(function)
    except RecursionError:
        digest, hashing.unhashed = b"deep", {"something that is nested too deeply": None}
    return DescribedFunction(
        name=name_of(function),
        hash=f"b2:{digest.hex()}",
        parts=dict(hashing.parts),
        unhashed=tuple(sorted(hashing.unhashed)),
    )


def name_of(function: Callable[..., Any]) -> str:
    """Module and qualified name, or those of its type; of a partial, those of its function."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


def bare(described: DescribedTask) -> DescribedTask:
    """A task's description with the names of its functions only."""
    named = {role: replace(function, hash="", parts={}, unhashed=()) for role, function in described.functions.items()}
    return replace(described, **named)


def differing(before: DescribedTask, now: DescribedTask) -> list[str]:
    """Of two descriptions of one task: its functions, and what they refer to, that are not what they were."""
    found = []
    for role, new in now.functions.items():
        old = before.functions.get(role)
        if old is not None and old != new:
            names = old.parts.keys() | new.parts.keys()
            changed = sorted(name for name in names if old.parts.get(name) != new.parts.get(name))
            found.append(f"{role} {new.name.rpartition('.')[2]}" + f" ({', '.join(changed)})" * bool(changed))
    return found


def beyond(described: DescribedTask) -> list[str]:
    """Of a task's description: one sentence for each of its functions that refers to what cannot be hashed."""
    return [
        f"The {role} {function.name.rpartition('.')[2]} refers to {', '.join(function.unhashed)}, which cannot be "
        "hashed: if that changes, only the marks recorded while profiling can tell, and --seed alone does not fix the "
        "order."
        for role, function in described.functions.items()
        if function.unhashed
    ]
