"""What a function refers to, hashed as far as it can be: the same in every process as long as nothing has changed.

Followed: bytecode, default arguments, captured values, attributes, what a method is bound to, partials, decorators, and
the globals its code names; functions, classes and modules of the user's own in turn. Values count by what they hold,
sets and dicts without regard to order. A library (the standard one, installed packages) counts by name and version.

Not followed, and named: what reads the world outside (files, network, clock, chance), and objects whose state is not
known here (connections, models, frames). Bytecode tells exactly what runs, whatever a source file says by now; another
version of Python has another one, and counts as another function.
"""

from __future__ import annotations

import dis
import functools
import inspect
import re
import sys
from collections import ChainMap, UserDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from hashlib import blake2b
from importlib import metadata, util
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any
from uuid import UUID

PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), type(...), type(NotImplemented), range, slice)
MAPPINGS = (dict, MappingProxyType, UserDict, ChainMap)
TELLING = (Decimal, Fraction, date, time, timedelta, tzinfo, UUID)
"""Values whose `repr` tells all."""
OUTSIDE = frozenset(
    {
        *("os", "io", "pathlib", "tempfile", "shelve", "dbm", "sqlite3", "ctypes"),  # files and memory
        *("socket", "ssl", "urllib", "http", "requests", "httpx", "aiohttp", "subprocess", "multiprocessing"),
        *("random", "secrets", "time", "sys", "gc", "importlib"),
    }
)
"""Modules that read the world outside, or whatever there is in the program."""
READERS = frozenset({"open", "input", "eval", "exec", "compile", "globals", "locals", "vars", "__import__"})
"""Built-in functions that do, or may do anything."""
HARMLESS = frozenset({"logging", "typing", "operator", "dataclasses", "_thread", "threading"})
"""Modules whose objects do not change what a function answers."""
GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
NO_MEMBER = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl"})


def home_of(function: Any) -> str:
    """The module a function is of; it is followed there, whoever's it is."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__module__", None) or type(function).__module__)


class Hashing:
    """Digests of values and of what they refer to. unhashed: the names of what could not be hashed, in order. parts:
    the names a function refers to itself, each with a digest, so that it can be said which has changed."""

    def __init__(self, home: str) -> None:
        self.unhashed: dict[str, None] = {}
        self.parts: dict[str, str] = {}
        self._home = home
        self._done: dict[int, bytes] = {}
        self._kept: list[object] = []  # so that no id is used twice
        self._open: set[int] = set()
        self._path: list[str] = []

    def digest(self, value: Any) -> bytes:
        """Of any value."""
        if type(value) in PLAIN:
            return _hash(type(value).__name__, repr(value))
        if (known := self._done.get(id(value))) is not None:
            return known
        if id(value) in self._open:
            return b"itself"
        self._open.add(id(value))
        self._kept.append(value)
        try:
            found = self._done[id(value)] = self._of(value)
        finally:
            self._open.discard(id(value))
        return found

    def _of(self, value: Any) -> bytes:
        try:
            if _top(type(value).__module__) in OUTSIDE:
                self._note()
                return _hash("outside", type(value).__qualname__, _said(value))
            for kinds, make in self._kinds():
                if isinstance(value, kinds):
                    return make(value)
            return self._object(value)
        except RecursionError:
            raise
        except Exception:  # an object that cannot even be looked at
            self._note()
            return b"unknown"

    def _kinds(self) -> Iterator[tuple[Any, Callable[[Any], bytes]]]:
        """Kinds of values, and what each is made of."""
        yield TELLING, lambda value: _hash(type(value).__qualname__, repr(value))
        yield re.Pattern, lambda value: _hash("pattern", repr(value.pattern), value.flags)
        yield Enum, lambda value: _hash(type(value).__qualname__, value.name, self.digest(value.value))
        yield MAPPINGS, self._mapping
        yield (list, tuple, deque), lambda value: self._holder(value, [self.digest(each) for each in value])
        yield (set, frozenset), lambda value: self._holder(value, sorted(self.digest(each) for each in value))
        yield SimpleNamespace, lambda value: _hash("namespace", self._mapping(vars(value)))
        yield ModuleType, lambda value: self._module(value, ())
        yield FunctionType, self._function
        yield MethodType, lambda value: _hash("method", self.digest(value.__self__), self.digest(value.__func__))
        yield (BuiltinFunctionType, MethodWrapperType), self._builtin
        yield (
            functools.partial,
            lambda value: _hash("partial", *map(self.digest, (value.func, value.args, value.keywords))),
        )
        yield CodeType, self._code
        yield (staticmethod, classmethod), lambda value: self.digest(value.__func__)
        yield property, lambda value: _hash("property", *map(self.digest, (value.fget, value.fset, value.fdel)))
        yield functools.cached_property, lambda value: _hash("cached", self.digest(value.func))
        yield type, self._class

    # ------------------------------------------------------------------ values

    def _mapping(self, value: Mapping[Any, Any]) -> bytes:
        return self._holder(value, sorted(self.digest(key) + self.digest(each) for key, each in value.items()))

    def _holder(self, value: Any, parts: Iterable[bytes]) -> bytes:
        """A container, of a class of the user's own perhaps."""
        own = (self._class(type(value)), self._state(value)) if self._is_own(type(value).__module__) else ()
        extra = self.digest(getattr(value, "default_factory", None))
        return _hash(type(value).__name__, *own, extra, *parts)

    def _object(self, value: Any) -> bytes:
        """Anything else: known by its class and state where the class is the user's own."""
        cls = type(value)
        if isinstance(value, functools._lru_cache_wrapper):
            return _hash("cache", self.digest(value.__wrapped__))
        if cls.__module__ == "numpy" and not getattr(getattr(value, "dtype", None), "hasobject", True):
            return _hash("array", str(value.dtype), value.shape, value.tobytes())
        if self._is_own(cls.__module__):
            return _hash("object", self._class(cls), self._state(value))
        if _is_descriptor(value) or hasattr(value, "__qualname__"):  # a function, of whatever kind
            owner = getattr(value, "__objclass__", cls)
            return self._library(str(getattr(value, "__module__", None) or owner.__module__), value.__qualname__)
        if _top(cls.__module__) not in HARMLESS:
            self._note()
        return _hash("object", cls.__module__, cls.__qualname__, _said(value))

    def _state(self, value: Any) -> bytes:
        names = [name for cls in type(value).__mro__ for name in _slots(cls)]
        state = {name: getattr(value, name) for name in names if hasattr(value, name)} | getattr(value, "__dict__", {})
        return self._named(state)

    def _named(self, values: Mapping[str, Any]) -> bytes:
        """Values with names, under which they are told of."""
        parts = []
        for name in sorted(values):
            with self._at(name):
                parts += [name.encode(), self._part(name, self.digest(values[name]))]
        return _hash("named", *parts)

    def _part(self, name: str, digest: bytes) -> bytes:
        if len(self._path) == 1 and not name.startswith("__"):
            self.parts[name] = digest[:4].hex()
        return digest

    # ------------------------------------------------------------------ code

    def _function(self, function: Any) -> bytes:
        """Of a library's function only what it captures: a decorator holds the function it decorates."""
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        captured = self._named({name: cell.cell_contents for name, cell in cells.items() if _filled(cell)})
        module = str(function.__globals__.get("__name__"))
        if vars(sys.modules.get(module, object)) is function.__globals__ and not self._is_own(module):
            return _hash("decorator", self._library(module, function.__qualname__), captured)
        given, state = self._named(_defaults(function)), self._named(vars(function))
        return _hash("function", self._code(function.__code__), given, captured, state, self._globals(function))

    def _code(self, code: CodeType) -> bytes:
        shape = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        constants = [self._code(each) if isinstance(each, CodeType) else self.digest(each) for each in code.co_consts]
        return _hash("code", code.co_code, code.co_exceptiontable, shape, names, *constants)

    def _globals(self, function: Any) -> bytes:
        """What the code names beyond itself. Of modules of the user's own: what in them bears a name of the code."""
        namespace, parts = function.__globals__, []
        codes = list(_codes(function.__code__))
        named = {name for code in codes for name in code.co_names}
        for name in sorted(
            {each.argval for code in codes for each in dis.get_instructions(code) if each.opname in GLOBALS}
        ):
            with self._at(name):
                parts += [name.encode(), self._part(name, self._global(name, namespace, named))]
        for name in sorted(_imports(codes, namespace)):
            with self._at(name):
                parts += [name.encode(), self._part(name, self._imported(name, named))]
        return _hash("globals", *parts)

    def _global(self, name: str, namespace: Mapping[str, Any], named: Iterable[str]) -> bytes:
        if name not in namespace:
            if name in READERS:
                self._note()
            return b"built in"
        value = namespace[name]
        return self._module(value, named) if isinstance(value, ModuleType) else self.digest(value)

    def _imported(self, name: str, named: Iterable[str]) -> bytes:
        module = sys.modules.get(name)
        if module is not None:
            return self._module(module, named)
        if self._is_own(name):
            self._note()
        return self._library(name, "")

    def _module(self, module: ModuleType, named: Iterable[str]) -> bytes:
        """A module, by those of its names that are wanted; one that is passed around as a value, by all."""
        if not self._is_own(module.__name__):
            return self._library(module.__name__, "")
        if id(module) in self._open:
            return b"itself"
        self._open.add(id(module))
        try:
            wanted = set(named) or {name for name in vars(module) if not name.startswith("__")}
            parts = []
            for name in sorted(wanted & vars(module).keys()):
                with self._at(name):
                    value = vars(module)[name]
                    parts += [
                        name.encode(),
                        self._module(value, named) if isinstance(value, ModuleType) else self.digest(value),
                    ]
        finally:
            self._open.discard(id(module))
        return _hash("module", module.__name__, *parts)

    def _builtin(self, function: Any) -> bytes:
        """A function that is not written in Python, or one bound to a value."""
        bound = getattr(function, "__self__", None)
        if bound is None or isinstance(bound, ModuleType):
            if function.__name__ in READERS:
                self._note()
            return self._library(str(function.__module__ or "builtins"), function.__qualname__)
        return _hash("bound", function.__name__, self.digest(bound))

    def _class(self, cls: type) -> bytes:
        """A class of the user's own: its members and those it inherits."""
        if not self._is_own(cls.__module__):
            return self._library(cls.__module__, cls.__qualname__)
        if issubclass(cls, Enum):
            return _hash("enum", cls.__qualname__, *(self.digest(each) for each in cls))
        members = {}
        for name, value in vars(cls).items():
            dunder = name.startswith("__") and not isinstance(value, FunctionType | staticmethod | classmethod)
            if name not in NO_MEMBER and not dunder:
                members[name] = value
        return _hash("class", cls.__qualname__, self._named(members), *(self.digest(base) for base in cls.__bases__))

    # ------------------------------------------------------------------ names

    def _library(self, module: str, name: str) -> bytes:
        if _top(module) in OUTSIDE:
            self._note()
        return _hash("library", module, name, _version(_top(module)))

    def _is_own(self, module: str | None) -> bool:
        return module is None or not _is_library(module) or (module == self._home and not _is_standard(module))

    def _note(self) -> None:
        """What is being looked at cannot be hashed."""
        self.unhashed[".".join(self._path[-2:]) or "something outside"] = None

    @contextmanager
    def _at(self, name: str) -> Iterator[None]:
        self._path.append(name)
        try:
            yield
        finally:
            self._path.pop()


def _hash(*parts: object) -> bytes:
    """Of parts, each with its length, so that none can pass for two."""
    whole = blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.digest()


def _defaults(function: Any) -> dict[str, Any]:
    """What its arguments are where they are not given."""
    given, code = function.__defaults__ or (), function.__code__
    names = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
    return {**dict(zip(names, given, strict=True)), **(function.__kwdefaults__ or {})}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code and those inside it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def _imports(codes: Iterable[CodeType], namespace: Mapping[str, Any]) -> Iterator[str]:
    """Full names of the modules a code imports when it runs."""
    for code in codes:
        level = 0
        for each in dis.get_instructions(code):
            if each.opname == "LOAD_CONST" and isinstance(each.argval, int):
                level = each.argval
            if each.opname == "IMPORT_NAME":
                package = str(namespace.get("__package__") or "")
                yield util.resolve_name("." * level + each.argval, package) if level and package else each.argval


def _is_library(module: str) -> bool:
    """Whether a module is of the standard library, installed, or this package's."""
    top = _top(module)
    if top == "__main__":
        return False
    if _is_standard(module) or top == "smart_llm":
        return True
    found = sys.modules.get(module) or sys.modules.get(top)
    file = getattr(found, "__file__", None) or ""
    if found is None:
        try:
            spec = util.find_spec(top)
        except (ImportError, ValueError):
            spec = None
        file = (spec.origin if spec else None) or ""
    return "site-packages" in file or "dist-packages" in file


def _is_standard(module: str) -> bool:
    return _top(module) in sys.stdlib_module_names


@functools.lru_cache(maxsize=256)
def _version(top: str) -> str:
    if top in sys.stdlib_module_names:
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return metadata.version(top)
    except (metadata.PackageNotFoundError, ValueError):
        return str(getattr(sys.modules.get(top), "__version__", ""))


def _top(module: str) -> str:
    return module.partition(".")[0]


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  raises where it is empty
    except ValueError:
        return False
    return True


def _is_descriptor(value: Any) -> bool:
    """What a class holds for its slots, or for built-in members: it has no state."""
    return inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value) or inspect.ismethoddescriptor(value)


def _said(value: Any) -> str:
    """The text form of a value where that is stable: no address, no state of its own."""
    kind = type(value).__module__
    return repr(value) if _top(kind) in ("typing", "operator", "pathlib") else ""
