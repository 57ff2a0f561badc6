"""Where a run is, in a few lines that fit the screen and do not jump about. Pure: clock and width come from outside.

Only what can be relied on moves. Profiling goes on until there is proof, so it has no bar: nobody knows how long it
takes. Rows are counted upwards, whatever is asked again in between, and once delivery has begun there is no way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smart_llm.events import Decided, Delivering, Profiling
from smart_llm.text.names import short_names
from smart_llm.text.numbers import count, percent, usd
from smart_llm.types import Outlook, Standing

SURE = 2.0
"""Seconds of a phase after which its speed is worth a word."""
SOME = 20
"""Rows after which it is worth saying what is expected."""
SLOW = 1.5
"""Rows a second, below which they are counted by the minute."""
AGAIN = "again"
"""How the stages end in which rows are asked that were counted before."""
SMALLEST, WIDEST = 10, 60
"""Columns of a model's name at least, and of a bar at most."""


class Speed:
    """Rows a second, over the whole phase so far."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start: tuple[float, int] | None = None
        self.rate = 0.0

    def count(self, done: int) -> None:
        """So many rows are settled by now."""
        now = self._clock()
        if self._start is None:
            self._start = (now, done)
        elif now >= self._start[0] + SURE:
            self.rate = (done - self._start[1]) / (now - self._start[0])

    def words(self) -> str:
        """In rows a second, or a minute where that is less than one; empty while unknown."""
        if not self.rate:
            return ""
        if self.rate >= SLOW:
            return f"{self.rate:,.0f} rows/s"
        return f"{self.rate * 60:.{0 if self.rate * 60 >= SLOW else 1}f} rows/min"

    def left(self, rows: int) -> str:
        """Time that the rows left will take, in words; empty while unknown."""
        return f"{clock(rows / self.rate)} left" if self.rate else ""


class Picture:
    """A run so far. `phase` only goes forward; `rows` never fall."""

    def __init__(self, time: Callable[[], float], budget: float | None = None) -> None:
        self._time, self._budget, self._began = time, budget, time()
        self._cheaper = True
        self.now: Profiling | Delivering | None = None
        self.outlook: Outlook | None = None
        self.rows = 0
        self.speed = Speed(time)

    def decided(self, event: Decided) -> None:
        """Where the reference answers everything that is left, nothing will have been saved in the end."""
        self._cheaper = bool(event.models)

    def see(self, event: Profiling | Delivering) -> None:
        """What is new."""
        if isinstance(event, Delivering):
            self.now, self.rows = event, event.done
            self.speed.count(event.done)
        elif not isinstance(self.now, Delivering):
            fresh = 0 if event.stage.endswith(AGAIN) else event.done
            self.now, self.rows = event, max(self.rows, event.settled + fresh)
            self.outlook = event.outlook or self.outlook

    @property
    def share(self) -> float | None:
        """How much of the rows is delivered; None while nobody knows how long it takes."""
        return self.now.done / max(1, self.now.rows) if isinstance(self.now, Delivering) else None

    def head(self) -> str:
        """The line above the bar."""
        if self.now is None:
            return f"Waiting for the first answers, {clock(self._time() - self._began)}"
        if isinstance(self.now, Profiling):
            return f"Profiling: {count(self.rows, 'row')} asked, {clock(self._time() - self._began)}"
        left = self.speed.left(self.now.rows - self.now.done)
        return _joined(f"Delivering: {self.now.done:,} of {self.now.rows:,} rows", self.speed.words(), left)

    def foot(self) -> str:
        """The line below it."""
        now = self.now
        if now is None:
            return ""
        before = f" + {usd(now.earlier)} by a run given up" if now.earlier else ""
        share = f" ({percent((now.spent + now.earlier) / self._budget)} of the budget)" if self._budget else ""
        money = f"{usd(now.spent)} spent{before}{share}{reused(now)}"
        if isinstance(now, Delivering):
            lost = f"{now.errors:,} without an answer" if now.errors else ""
            worth = now.spent if now.worth is None else now.worth
            times = now.alone / worth if worth and self._cheaper else 0.0
            return _joined(
                f"{usd(now.spent)} spent{before}{share}{reused(now)}",
                lost,
                f"{times:.2f}× cheaper so far" if times > 1 else "",
            )
        ratio = self.outlook.expected_cost_ratio if self.outlook and self.rows >= SOME else 1.0
        return _joined(money, f"expecting {1 / ratio:.2f}× cheaper" if 0 < ratio < 1 else "")

    def table(self, width: int) -> list[str]:
        """Per candidate, while profiling: on how many rows it agreed. Only names are ever cut."""
        standings = self.outlook.standings if self.outlook and isinstance(self.now, Profiling) else ()
        return _table(standings, width) if standings else []


def reused(event: Profiling | Delivering) -> str:
    """What the answers cost that other runs have paid for, where there are any; only what is certain while a run that
    is resumed has yet to read its own again."""
    free = (event.worth or 0.0) - event.spent
    return f", answers for {usd(free)} re-used" if free > 1e-9 * event.spent and free >= 5e-7 else ""


def clock(seconds: float) -> str:
    """Hours, minutes, seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def cut(text: str, width: int) -> str:
    """Its beginning, where it does not fit."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def _table(standings: Sequence[Standing], width: int) -> list[str]:
    names = short_names([each.model for each in standings])
    figures = [_figures(each) for each in standings]
    widths = [max(len(row[k]) for row in [HEADS, *figures]) for k in range(len(HEADS))]
    room = max(SMALLEST, width - sum(widths) - 2 * len(widths))
    longest = min(room, max(len("candidate"), *map(len, names.values())))
    rows = [("candidate", HEADS), *((names[each.model], row) for each, row in zip(standings, figures, strict=True))]
    return [
        "  ".join([cut(name, longest).ljust(longest), *map(str.ljust, row, widths)]).rstrip()[:width]
        for name, row in rows
    ]


HEADS = ("agreed on", "share, 90 % limits", "")


def _figures(each: Standing) -> tuple[str, str, str]:
    if not each.profiled:
        return "–", "", ""
    share = f"{each.agreeing / each.profiled:.3f} ({each.lower:.3f} … {each.upper:.3f})"
    return f"{each.agreeing:,} of {each.profiled:,}", share, "" if each.in_play else "dropped"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
