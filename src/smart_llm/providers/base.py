"""The seam between this package and every model: one request in, one answer out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from smart_llm.types import Answer, Request


class Provider(Protocol):
    """Something that answers requests. It makes one attempt per call: retries, pacing and money are the client's."""

    async def complete(self, request: Request) -> Answer:
        """One attempt. The answer's `usage` is filled in, its `cost` is not.

        A model that declined to answer is an answer without text (`finish` says why): it was paid and it stands.
        Raises `Retryable` when trying again may help, `Refused` when it will not.
        """
        ...

    async def close(self) -> None:
        """Give up connections; closing twice does no harm."""
        ...


Told: TypeAlias = Callable[[str, Mapping[str, str]], None]
"""Is told a model's name and the headers of a reply, while `complete` is still awaited."""


@runtime_checkable
class Telling(Protocol):
    """A provider whose replies say how its limits stand: it calls `told`, if set, with every reply it gets."""

    told: Told | None
