"""The money of a route: a limit for every day (UTC), which what is in flight counts against at its bound."""

from __future__ import annotations

import time
from collections.abc import Callable

from smart_llm.client.budget import Budget
from smart_llm.errors import BudgetExhausted

DAY = 86_400


class Purse(Budget):
    """`spent` since it began, and of that `today`. a_day: USD, None: no limit. today: what was spent before, today."""

    def __init__(self, a_day: float | None, today: float = 0.0, clock: Callable[[], float] = time.time) -> None:
        super().__init__(None)  # calls are announced together, not one by one
        self.a_day, self._today, self._clock = a_day, today, clock
        self._day = int(clock() // DAY)
        self.refused = 0

    @property
    def today(self) -> float:
        """USD spent on this day."""
        self._turn()
        return self._today

    @property
    def left(self) -> float:
        """Seconds until the next day."""
        return DAY - self._clock() % DAY

    def fits(self, bound: float) -> bool:
        """Whether a call of this bound can be paid today."""
        return self.a_day is None or self.today + self._reserved[0] + bound <= self.a_day

    async def reserve(self, bound: float) -> None:
        """Set so much aside. `BudgetExhausted` where it does not fit into what is left of the day."""
        if not self.fits(bound):
            self.refused += 1
            raise BudgetExhausted(f"The budget of ${self.a_day:g} a day is reached: ${self.today:.6g} spent today.")
        self._take(bound)

    def settle(self, bound: float, cost: float) -> None:
        """A call set aside at `bound` has cost `cost`."""
        self._today = self.today + cost
        super().settle(bound, cost)

    def _turn(self) -> None:
        day = int(self._clock() // DAY)
        if day > self._day:  # a clock that is set back begins no new day: what was spent stays spent
            self._day, self._today = day, 0.0
