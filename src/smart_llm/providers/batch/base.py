"""The seam between this package and every batch API: put together, submit, look, read. One attempt per call, no policy.

A batch goes out under an id of ours. Every request in it carries `custom_id` = our id and its place (`OURS-17`), so
that a result names its batch whoever reads it, and a batch can be told from all others after a crash:

    upload ─► submit ─► look … look ─► results        find: is a batch of this id there already?
                                                       fence: make sure that a lost submission cannot arrive any more
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from smart_llm.errors import ProviderError, Refused
from smart_llm.types import Answer, Request

State = Literal["running", "ended", "failed"]
"""ended: results can be read, for some requests at least. failed: nothing ran, nothing is billed."""


class Gone(Refused):
    """What was asked for is not there (404): a batch, or a file of it, that was deleted or is past its time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may hold: requests, and bytes of their encoded form."""

    requests: int
    size: int


@dataclass(frozen=True, slots=True)
class Look:
    """A batch as the provider sees it. status: in its own word. done, total: requests. files: where results are.

    Of a failed one: `error` says why it did not run; `lines` are the requests (by place) that are to blame, where the
    provider names them; `queue_full` that it would have run at a quieter time.
    """

    remote: str
    state: State
    status: str
    done: int = 0
    total: int = 0
    files: tuple[str, ...] = ()
    error: ProviderError | None = None
    lines: tuple[int, ...] = ()
    queue_full: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request, by its place in the batch: an answer without a cost, or why there is none."""

    place: int
    outcome: Answer | ProviderError


@dataclass(frozen=True, slots=True)
class Found:
    """remote: the batch that bears our id. undecided: batches that may be it, but cannot be told apart yet."""

    remote: str | None = None
    undecided: int = 0


class BatchApi(Protocol):
    """The batch API at one address. All methods raise `Retryable` when trying again may help, else `Refused`.

    `Retryable.paid` after `submit` means: the provider may have taken it all the same, look for it before trying again.
    """

    url: str
    host: str
    limits: Limits

    def line(self, custom_id: str, request: Request) -> bytes:
        """One request as it stands in the batch, without a newline."""
        ...

    async def available(self) -> bool:
        """Whether there is a batch API at this address."""
        ...

    async def upload(self, batch_id: str, lines: Sequence[bytes]) -> str | None:
        """Bring the requests there, where that is a step of its own; nothing runs yet. Returns the file's id."""
        ...

    async def submit(self, batch_id: str, file: str | None, lines: Sequence[bytes]) -> str:
        """Have it run; returns the provider's id for it."""
        ...

    async def find(self, batch_id: str, *, since: float, total: int, known: frozenset[str]) -> Found:
        """Look for a batch of ours. since: when it was submitted (seconds since 1970); known: ids that are others'."""
        ...

    async def fence(self, file: str | None) -> bool:
        """Make a submission that may still be on its way fail. False where the API has no means to."""
        ...

    async def look(self, remote: str) -> Look:
        """How far it is."""
        ...

    def results(self, look: Look, batch_id: str) -> AsyncIterator[Result]:
        """What became of the requests, in any order, each at most once; of a batch that ended early, of some."""
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...


def is_ours(custom_id: str, batch_id: str) -> int | None:
    """The place of a request in the batch of this id; None where it is not of this batch."""
    ours, _, place = custom_id.rpartition("-")
    return int(place) if ours == batch_id and place.isdecimal() else None
