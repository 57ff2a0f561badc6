"""Options that several verbs share: a frozen dataclass whose fields are the options, spread over a command's signature.

A command that takes `task: TaskOptions` is shown to typer as if it took every field of `TaskOptions` as an option of
its own, and is called with the dataclass put together again. So the options of `run` and `plan` are written once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The command with its dataclass parameters spread into options; fields without a default are required."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)}
    shown = [
        parameter
        for each in inspect.signature(command).parameters.values()
        for parameter in (_options(groups[each.name]) if each.name in groups else [_plain(each, hints[each.name])])
    ]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        whole = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)}) for name, kind in groups.items()
        }
        command(**given, **whole)

    called.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in shown}
    return called


def _options(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in fields(kind)
    ]


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _plain(parameter: inspect.Parameter, hint: Any) -> inspect.Parameter:
    return parameter.replace(annotation=hint)
