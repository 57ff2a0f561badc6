"""Naming a user's function so that a changed function changes the plan: its name, and a hash of what it does.

What a function does is its bytecode and everything it refers to (`referred`). What cannot be hashed is named, so that
the user can be told: if that changes, only the recorded marks of profiled rows can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from smart_llm.tasks.referred import Hashing, home_of
from smart_llm.types import Json


def describe(function: Callable[..., Any]) -> dict[str, Json]:
    """`{"name", "hash", "parts"}` of a function, method, partial or callable object; with `"unhashed"`, the names of
    what it refers to that could not be hashed, where there are such. parts: short hashes of what it names itself."""
    hashing = Hashing(home_of(function))
    try:
        digest = hashing.digest(function)
    except RecursionError:
        digest, hashing.unhashed = b"deep", {"something that is nested too deeply": None}
    unhashed = {"unhashed": sorted(hashing.unhashed)} if hashing.unhashed else {}
    return {"name": name_of(function), "hash": f"b2:{digest.hex()}", "parts": hashing.parts, **unhashed}


def name_of(function: Callable[..., Any]) -> str:
    """Module and qualified name, or those of its type; of a partial, those of its function."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


def bare(described: Json) -> dict[str, Json]:
    """A task's description with the names of its functions only."""
    return {name: value["name"] if isinstance(value, dict) else value for name, value in described.items()}


def differing(before: Json, now: Json) -> list[str]:
    """Of two descriptions of one task: its functions, and what they refer to, that are not what they were."""
    found = []
    for role in ("parse", "equivalence"):
        old, new = before[role], now[role]
        if old != new and isinstance(old, dict) and isinstance(new, dict):
            names = old["parts"].keys() | new["parts"].keys()
            changed = sorted(name for name in names if old["parts"].get(name) != new["parts"].get(name))
            found.append(f"{role} {new['name'].rpartition('.')[2]}" + f" ({', '.join(changed)})" * bool(changed))
    return found


def beyond(described: Json) -> list[str]:
    """Of a task's description: one sentence for each of its functions that refers to what cannot be hashed."""
    return [
        f"The {role} {described[role]['name'].rpartition('.')[2]} refers to {', '.join(names)}, which cannot be "
        "hashed: if that changes, only the marks recorded while profiling can tell, and --seed alone does not fix the "
        "order."
        for role in ("parse", "equivalence")
        if isinstance(described[role], dict) and (names := described[role].get("unhashed"))
    ]
