"""Naming a user's function so that a changed function changes the plan: qualified name and a hash of what it does.

The source text is hashed where it can be had, else the bytecode; with it go default arguments and captured values that
are plain, since they change what the function does. What a function calls is not followed.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

_PLAIN = (str, bytes, int, float, bool, type(None))


def describe(function: Callable[..., Any]) -> dict[str, str]:
    """`{"name", "hash"}` of a function, method, partial or callable object."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None) or type(function).__module__
    digest = hashlib.blake2b(repr(_essence(function)).encode(), digest_size=16).hexdigest()
    return {"name": f"{module}.{name}", "hash": f"b2:{digest}"}


def _essence(function: Any) -> tuple[Any, ...]:
    if isinstance(function, functools.partial):
        return "partial", _essence(function.func), _plain(function.args), _plain(function.keywords)
    if inspect.ismethod(function):
        return "method", _essence(function.__func__)
    if inspect.isbuiltin(function) or not hasattr(function, "__code__"):
        return _source(function if inspect.isclass(function) else type(function)), getattr(function, "__name__", "")
    cells = tuple(cell.cell_contents for cell in function.__closure__ or () if _filled(cell))
    return _source(function), _plain(function.__defaults__), _plain(function.__kwdefaults__), _plain(cells)


def _source(thing: Any) -> Any:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        return getattr(thing, "__qualname__", "") if code is None else _bytecode(code)


def _bytecode(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_bytecode(c) if isinstance(c, CodeType) else _plain(c) for c in code.co_consts)
    return code.co_code.hex(), constants, code.co_names, code.co_varnames


def _plain(value: Any) -> Any:
    """The value if its text form is stable, else the name of its type (an address must not get into a hash)."""
    if isinstance(value, dict):
        return tuple((str(key), _plain(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, set | frozenset):
        return tuple(sorted(repr(_plain(each)) for each in value))
    return (
        value if isinstance(value, _PLAIN) else _essence(value) if inspect.isfunction(value) else type(value).__name__
    )


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
