"""What a run tells while it goes on: frozen events, handed to `on_event`. Showing them is somebody else's job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from smart_llm.errors import Interrupted
from smart_llm.types import Outlook


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence the user should see: a candidate dropped, a run resumed, how to go on."""

    text: str


@dataclass(frozen=True, slots=True)
class Profiling:
    """While profiling. done, asked: rows of the current ask; settled: rows profiled before it. spent: USD that this
    run has paid, earlier sessions included. worth: USD that the answers it uses cost, whoever paid; None: the same.
    earlier: USD that runs of this command have paid which were given up before; the budget is for them as well."""

    stage: str
    done: int
    asked: int
    settled: int
    outlook: Outlook | None
    spent: float
    worth: float | None = None
    earlier: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivering:
    """While delivering. done, rows: settled rows and all rows of the table. errors: rows without an answer. alone: what
    the reference alone would have cost for the rows settled so far, estimated. spent: what this
    run has paid. worth: what the answers it uses cost, whoever paid; None: the same. earlier: what runs of this command
    have paid which were given up before. USD."""

    done: int
    rows: int
    errors: int
    spent: float
    alone: float = 0.0
    worth: float | None = None
    earlier: float = 0.0


@dataclass(frozen=True, slots=True)
class Decided:
    """Profiling is over. models: the candidates whose answers may be delivered from now on; none: the reference answers
    everything. saving: reference-only cost ÷ expected cost, where the procedure says."""

    reference: str
    models: tuple[str, ...]
    profiled: int
    saving: float | None
    spent: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Every row is settled. status: the certificate's. errors: rows without an answer. saving: reference-only cost ÷
    cost. spent: USD that this run has paid or may have paid; failed: the part of it for calls that brought no answer,
    at most. reused: USD that the answers cost which it took from earlier runs."""

    status: str
    rows: int
    errors: int
    saving: float
    spent: float
    reused: float = 0.0
    failed: float = 0.0


Event: TypeAlias = Said | Profiling | Decided | Delivering | Ended
Listener: TypeAlias = Callable[[Event], None]


def nobody(event: Event) -> None:
    """The listener that does not listen."""


class Stop:
    """Set by a signal: no new row is started, what is in flight is finished."""

    def __init__(self) -> None:
        self.requested = False
        self._then: list[Callable[[], None]] = []

    def request(self) -> None:
        """Ask for a clean stop."""
        self.requested = True
        for call in self._then:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Have this called, in the event loop, when a stop is asked for."""
        self._then.append(call)

    def check(self) -> None:
        """Raises `Interrupted` once a stop was asked for."""
        if self.requested:
            raise Interrupted("Stopped. What was bought is kept: run the same command again to go on.")
