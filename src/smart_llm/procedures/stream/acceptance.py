"""Which way is asked and whether its answer is accepted: a matter of cost alone, never of the promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from smart_llm.procedures.stream.events import Accepted, Deferred, Event, Tried
from smart_llm.procedures.stream.promise import WindowTerms
from smart_llm.procedures.stream.window import Window


class Another(Struct, frozen=True):
    """Not decided yet: this way is to be asked as well."""

    way: int


class Acceptance(Protocol):
    """What a stream asks of it. It may look at everything that has happened, and at nothing that has not."""

    def terms(self, window: Window | None) -> WindowTerms:
        """Of the next window; or of this one, in which nothing has been accepted yet: its own, or other ones."""

    def first(self, window: Window, draw: float) -> int | None:
        """The way to ask first; None: the reference at once."""

    def next(self, window: Window, tried: Sequence[Tried], draw: float) -> Another | bool:
        """True: accept the last answer, if the window allows it; False: defer."""

    def learn(self, event: Event, decided: Accepted | Deferred | None) -> None:
        """What has happened. decided: the request that it is about, where it goes on with one."""
