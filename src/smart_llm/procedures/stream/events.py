"""What is recorded of a stream. Everything else, counts and beliefs, follows from these events in their order.

When a request is decided, `Accepted` or `Deferred` is written. An accepted one gets its coin after that (`Tossed`,
written before the answer goes out). What becomes of a deferral, or of an audit, is `Settled`. A gateway that starts
again writes `Restarted` first. Times, texts and who asked are the gateway's own affair and stand elsewhere.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from smart_llm.procedures.stream.promise import WindowTerms


class Tried(Struct, frozen=True, array_like=True):
    """What a way has tried of one request. way: its number. usable: its answer keeps to the output contract. score: how
    sure it is, higher is surer (None: it cannot say). cost: USD of the call. key: the same number for answers that are
    the same (0: none, or not known). traits: other numbers a learned score may look at, always as many for a way."""

    way: int
    usable: bool = True
    score: float | None = None
    cost: float = 0.0
    key: int = 0
    traits: tuple[float, ...] = ()


class Taught(Struct, frozen=True, tag="taught"):
    """What is known from elsewhere, a table run of the same task, say: what a way has shown of a request, and whether
    it agreed with the reference. beside: USD of the reference's call."""

    tried: Tried
    agreed: bool
    beside: float = 0.0


class Opened(Struct, frozen=True, tag="opened"):
    """A window begins, or its terms are set anew; that may be done until something is accepted in it."""

    window: int
    terms: WindowTerms


class Accepted(Struct, frozen=True, tag="accepted"):
    """The answer of the way that was asked last is to be delivered, unless it is audited first: it needs a coin now."""

    window: int
    request: int
    tried: tuple[Tried, ...]

    @property
    def way(self) -> int:
        """Whose answer it is."""
        return self.tried[-1].way


class Deferred(Struct, frozen=True, tag="deferred"):
    """The reference answers. tried: the ways that were asked before. known: the ledger has the reference's own answer
    already."""

    window: int
    request: int
    tried: tuple[Tried, ...] = ()
    known: bool = False


class Tossed(Struct, frozen=True, tag="tossed"):
    """The coin of an accepted request. audit: the reference is asked too (mode before: and its answer is delivered)."""

    window: int
    request: int
    audit: bool


class Settled(Struct, frozen=True, tag="settled"):
    """What became of a deferral or of an audit. answered: the reference gave an answer that keeps to the contract.
    agreed: by way, whether its answer is equivalent to the reference's, for the ways tried as far as that is known.
    cost: USD of the reference's call."""

    window: int
    request: int
    answered: bool
    agreed: tuple[tuple[int, bool], ...] = ()
    cost: float = 0.0


class Restarted(Struct, frozen=True, tag="restarted"):
    """The gateway starts again: whatever was under way is uncertain, and counts as a miss. lost: accepted requests that
    may have been tossed without having been written (none where `Accepted` is written before the coin is drawn)."""

    window: int
    lost: int = 0


Event: TypeAlias = Taught | Opened | Accepted | Deferred | Tossed | Settled | Restarted
_READ = msgspec.json.Decoder(Event)
_READ_ALL = msgspec.json.Decoder(list[Event])
_WRITE = msgspec.json.Encoder()


def write_event(event: Event) -> bytes:
    """As JSON, for the ledger."""
    return _WRITE.encode(event)


def read_event(text: bytes | str) -> Event:
    """From the ledger; `msgspec.ValidationError` for anything else."""
    event: Event = _READ.decode(text)
    return event


def read_events(text: bytes | str) -> list[Event]:
    """Several, from a list."""
    events: list[Event] = _READ_ALL.decode(text)
    return events
