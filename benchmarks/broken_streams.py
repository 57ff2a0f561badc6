"""Streams that are broken on purpose, for `stream.py` and the tests: what tests of the promise must find out."""

from __future__ import annotations

from msgspec.structs import replace

from smart_llm.procedures.stream import Accepted, Counts, Opened, Replay, Stream, Tossed


class CarelessCounts(Counts, frozen=True):
    """Audits that are not back do not count as caught."""

    @property
    def caught(self) -> int:
        """Audited misses known so far."""
        return self.missed + self.failed + self.lost


class CarelessReplay(Replay):
    """Begins every window with such counts."""

    def _open(self, event: Opened) -> None:
        super()._open(event)
        window = self.windows[event.window]
        if not window.counts.decided:
            self.windows[event.window] = replace(window, counts=CarelessCounts())


class Careless(Stream):
    """Accepts while audits known to be misses are within the credit."""

    fold = CarelessReplay


class Peeking(Stream):
    """Its coin is there before the decision: the traffic sees it as `coming`, and the decision comes after it."""

    coming: int | None = None

    def toss(self, accepted: Accepted, coin: int) -> Tossed:
        """With the coin that was there; the one drawn now is for the next request."""
        told = super().toss(accepted, coin if self.coming is None else self.coming)
        self.coming = coin
        return told


BROKEN: dict[str, type[Stream]] = {"peeking": Peeking, "careless": Careless}
