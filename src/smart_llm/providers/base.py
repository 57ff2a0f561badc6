"""The seam between this package and every model: one request in, one answer out."""

from __future__ import annotations

from typing import Protocol

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
