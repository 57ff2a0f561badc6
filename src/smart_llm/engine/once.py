"""One outcome for a request: what finally failed has failed for every row that asks the same.

`Live` asks through this. A request that failed is not sent again in this session, so that equal rows fare alike and
what was evidence stays what it was. A run that is resumed, or run again, says which failures still stand (`hold`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from smart_llm.errors import LedgerError
from smart_llm.ledger import request_key
from smart_llm.types import Answer, Request

STANDS = "it had no answer when it was asked"
"""The error of a request that failed in an earlier session."""
NOTHING: Mapping[str, float] = {}


class Client(Protocol):
    """What the driver needs of `client.client.Client`."""

    async def ask(self, request: Request) -> Answer:
        """The answer to a request, from the ledger or bought."""
        ...

    async def held(self, request: Request) -> int | None:
        """The number of the recorded answer in the ledger's order, if there is one."""
        ...

    def alive(self, model: str) -> bool:
        """Whether this model has reacted to anything yet."""
        ...


class Once:
    """A client that remembers failures, by the ledger's keys. failed: the errors of what failed here, or failed before
    and still stands; paid: USD that was paid for it all the same, at most."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._recorded: Callable[[str], Answer | None] | None = None
        self._heard: set[str] = set()  # models of which there was any answer, also a recorded one
        self.failed: dict[str, str] = {}
        self.paid: dict[str, float] = {}

    async def ask(self, request: Request) -> Answer:
        """The answer to a request; what has failed once fails again at once."""
        if (known := self._known(request)) is not None:
            return known
        answer = await self._asked(request)
        if answer.error is not None:
            self.failed.setdefault(request_key(request), answer.error)
            self.paid.setdefault(request_key(request), answer.cost)
        else:
            self._heard.add(request.model)
        return self._known(request) or answer  # an equal row may have been told meanwhile that there is none

    async def held(self, request: Request) -> int | None:
        """The number of the recorded answer in the ledger's order, if there is one."""
        return await self._client.held(request)

    def alive(self, model: str) -> bool:
        """Whether this model has reacted to anything yet, or had when what is told again was recorded."""
        return self._recorded is not None or model in self._heard or self._client.alive(model)

    def hold(self, failed: Mapping[str, str], paid: Mapping[str, float] = NOTHING) -> None:
        """These requests have failed before, with these errors, and that stands. paid: USD, by key."""
        self.failed.update(failed)
        self.paid.update(paid)

    def release(self, keys: Iterable[str]) -> None:
        """These may be asked again."""
        for key in keys:
            self.failed.pop(key, None)
            self.paid.pop(key, None)

    @contextmanager
    def recorded(self, get: Callable[[str], Answer | None]) -> Iterator[None]:
        """As long as the block lasts nothing is bought: every answer is one that `get` has."""
        self._recorded = get
        try:
            yield
        finally:
            self._recorded = None

    def _known(self, request: Request) -> Answer | None:
        error = self.failed.get(key := request_key(request)) if self.failed else None
        return None if error is None else Answer(None, error=error, cost=self.paid.get(key, 0.0))

    async def _asked(self, request: Request) -> Answer:
        if self._recorded is None:
            return await self._client.ask(request)
        answer = self._recorded(request_key(request))
        if answer is None:
            raise LedgerError(
                f"The ledger has lost an answer of {request.model} that this run has recorded as evidence: restore the "
                "ledger, or begin with another one."
            )
        return answer
