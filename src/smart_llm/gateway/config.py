"""The file that says what a gateway serves, read strictly: `InputError` for whatever cannot be used."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from smart_llm.errors import InputError, meant
from smart_llm.providers import making, specs
from smart_llm.providers.enforced import AUTO
from smart_llm.tasks import Task
from smart_llm.types import Json, Model
from smart_llm.types.share import decimal, share

PROMPT = "{request}"
"""What stands for the prompt of a route's task: whatever a client says."""
MODES = ("behind", "before")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOP = ("listen", "ledger", "models", "store_text", "timeout", "max_body", "route")
_ROUTE = (
    "labels",
    "answer",
    "schema",
    "equivalence",
    "tolerance",
    "max_tokens",
    "reference",
    "candidates",
    "agreement",
    "confidence",
    "window",
    "audit",
    "budget_per_day",
    "tokens_env",
    "learn_from",
)
_NEEDED = ("reference", "candidates")
LISTEN = "127.0.0.1:8080"
TIMEOUT = 60.0
"""Seconds within which a request is answered or refused."""
MAX_BODY = 4 * 2**20
"""Bytes of a request."""
WINDOW = 10_000
LARGEST_WINDOW = 10_000_000
FEWEST = 16
"""Characters of a token that says who may call."""


FORMAT = "smart-stream/2"
"""Of what is recorded of a series of windows."""


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """What clients ask for as `smart/NAME`. models: the reference first. window: requests. budget: USD a day (UTC), or
    None. tokens: who may call; none: whoever is on this machine. learn_from: the ledger of a table run."""

    name: str
    task: Task
    models: tuple[Model, ...]
    agreement: Fraction
    confidence: Fraction
    window: int
    audit: str
    budget: float | None
    tokens: tuple[bytes, ...]
    learn_from: Path | None = None

    def __repr__(self) -> str:  # no tokens
        return f"RouteConfig({self.name!r})"

    @property
    def described(self) -> dict[str, Json]:
        """Everything that a window's promise is about, for the ledger."""
        return {
            "format": FORMAT,
            "route": self.name,
            "task": self.task.to_json(),
            "models": [{"name": model.name, **model.settings} for model in self.models],
            "agreement": decimal("agreement", self.agreement),
            "confidence": decimal("confidence", self.confidence),
            "window": self.window,
            "audit": self.audit,
        }


@dataclass(frozen=True, slots=True)
class Config:
    """What a gateway serves, and where. timeout: seconds for a request; max_body: bytes of one."""

    host: str
    port: int
    ledger: Path
    routes: Mapping[str, RouteConfig]
    store_text: bool = True
    timeout: float = TIMEOUT
    max_body: int = MAX_BODY


def read_config(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in a TOML file. Files it names are looked for beside it."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"The configuration {path} cannot be read: {why}.") from None
    try:
        return _Reading(path.parent, os.environ if environ is None else environ).config(told)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def told(config: Config, *, listen: str | None, ledger: Path | None, store_text: bool) -> Config:
    """The configuration with what the command line says."""
    host, port = _address(listen) if listen is not None else (config.host, config.port)
    return replace(
        config, host=host, port=port, ledger=ledger or config.ledger, store_text=config.store_text and store_text
    )


class _Reading:
    """Reads one file. folder: where it lies."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._environ = folder, environ
        self._book: Mapping[str, str] = {}

    def config(self, told: Mapping[str, Any]) -> Config:
        """All of it."""
        _check_known(told, _TOP, "")
        routes = told.get("route", {})
        if not isinstance(routes, dict) or not routes:
            raise InputError("there is no route; add one: [route.NAME] with labels, reference and candidates.")
        if "models" in told:
            self._book = specs.read_book(self._folder / _text(told, "models", ""))
        host, port = _address(_text(told, "listen", LISTEN))
        return Config(
            host,
            port,
            self._folder / _text(told, "ledger", "gateway.db"),
            {name: self._route(name, table) for name, table in routes.items()},
            _truth(told, "store_text", True),
            _positive(told, "timeout", TIMEOUT),
            int(_positive(told, "max_body", MAX_BODY)),
        )

    def _route(self, name: str, table: object) -> RouteConfig:
        if not isinstance(table, dict):
            raise InputError(f"route {name} is not a table; write [route.{name}] and its keys below.")
        if not _NAME.fullmatch(name):
            raise InputError(f"route {name!r}: a name is letters, digits, dots, dashes and underscores, 64 at most.")
        where = f"[route.{name}] "
        _check_known(table, _ROUTE, where)
        for key in _NEEDED:
            if key not in table:
                raise InputError(f"{where}{key} is missing.")
        try:
            return self._checked(name, table)
        except InputError as error:
            raise InputError(f"{where}{error}") from None

    def _checked(self, name: str, table: Mapping[str, Any]) -> RouteConfig:
        audit = _text(table, "audit", MODES[0])
        if audit not in MODES:
            raise InputError(f"audit = {audit!r}: write behind or before.{meant(audit, MODES)}")
        budget = _positive(table, "budget_per_day", 0.0) if "budget_per_day" in table else None
        return RouteConfig(
            name,
            self._task(table),
            self._models(table),
            share("agreement", _number(table, "agreement", 0.95)),
            share("confidence", _number(table, "confidence", 0.95)),
            _whole(table, "window", WINDOW, LARGEST_WINDOW),
            audit,
            budget,
            self._tokens(table),
            self._folder / _text(table, "learn_from", "") if "learn_from" in table else None,
        )

    def _task(self, table: Mapping[str, Any]) -> Task:
        """The output contract; prompts are the clients' own."""
        given: dict[str, Any] = {key: table[key] for key in ("labels", "answer", "equivalence") if key in table}
        if "tolerance" in table:
            given["tolerance"] = _number(table, "tolerance", 0.0)
        if "max_tokens" in table:
            given["max_tokens"] = table["max_tokens"]
        if "schema" in table:
            given["schema"] = _schema(table["schema"], self._folder)
        return Task(PROMPT, **given)

    def _models(self, table: Mapping[str, Any]) -> tuple[Model, ...]:
        candidates = table["candidates"]
        if not isinstance(candidates, list) or not candidates or not all(isinstance(each, str) for each in candidates):
            raise InputError('candidates: write a list of models, such as ["openai:gpt-4.1-nano"].')
        given = [_text(table, "reference", ""), *candidates]
        models = tuple(making.placed(specs.resolve(each, book=self._book)) for each in given)
        for model in models:
            _check_model(model)
        names = [model.name for model in models]
        if doubled := next((each for each in names if names.count(each) > 1), None):
            raise InputError(f"the model {doubled} is named twice.")
        return models

    def _tokens(self, table: Mapping[str, Any]) -> tuple[bytes, ...]:
        if "tokens_env" not in table:
            return ()
        variable = _text(table, "tokens_env", "")
        tokens = re.split(r"[\s,]+", self._environ.get(variable, "").strip())
        if tokens == [""]:
            raise InputError(f"tokens_env: the environment variable {variable} has no tokens; set it, or leave it out.")
        if any(len(token) < FEWEST or not token.isascii() for token in tokens):
            raise InputError(f"tokens_env: a token in {variable} has fewer than {FEWEST} characters, or an odd one.")
        return tuple(token.encode() for token in tokens)


def _check_model(model: Model) -> None:
    """A request is passed on as it came, alone and once."""
    if not model.way.plain or model.draws:
        raise InputError(
            f"the model {model.name}: a gateway passes requests on as they come, so pack, head, tail, prompt, system, "
            "max_tokens and draws have no use here; leave them out."
        )
    if model.provider == specs.LEARNED:
        raise InputError("the model learned: it is taught in a run over a table; name models that are asked.")
    if model.function is not None:
        raise InputError(f"the model {model.name}: functions answer rows of a table; name models that are asked.")
    if model.enforce == AUTO:
        raise InputError(f"the model {model.name}: say what its server takes: enforce=choice, schema or none.")


def _check_known(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            near = meant(key, known) or f" There are {', '.join(known)}."
            raise InputError(f"{where}there is no key {key!r}.{near}")


def _schema(given: object, folder: Path) -> dict[str, Json]:
    """A JSON schema, written here or in a file."""
    if isinstance(given, dict):
        return given
    if not isinstance(given, str):
        raise InputError("schema: write the name of a file, or the schema as a table.")
    try:
        schema = json.loads((folder / given).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or "it is not JSON"
        raise InputError(f"schema: {given} cannot be read: {why}.") from None
    if not isinstance(schema, dict):
        raise InputError(f"schema: {given} holds no JSON schema.")
    return schema


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InputError(f"listen = {listen!r}: write HOST:PORT, such as {LISTEN}.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _text(table: Mapping[str, Any], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} = {value!r}: write a text.")
    return value


def _truth(table: Mapping[str, Any], key: str, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise InputError(f"{key} = {value!r}: write true or false.")
    return value


def _number(table: Mapping[str, Any], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{key} = {value!r}: write a number.")
    return value


def _positive(table: Mapping[str, Any], key: str, default: float) -> float:
    value = _number(table, key, default)
    if not 0 < value < math.inf:
        raise InputError(f"{key} = {value!r}: write a number above 0.")
    return value


def _whole(table: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"{key} = {value!r}: write a whole number from 1 to {most:,}.")
    return value
