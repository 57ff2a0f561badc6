"""The pilot of the routed ladder: rows with all that a score could be made of, used freely and never as evidence."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from smart_llm.procedures.ladder import forecast
from smart_llm.procedures.money import CAP, FAR_OFF, PURSE, at_most, may_try, price_of
from smart_llm.types import ERROR, NOT_ASKED, Answers, Ask, Floats, Ints, Problem


@dataclass(frozen=True)
class Pilot:
    """What was asked so far, ask by ask; the rows, their answers (arrays of shape (n, 1 + m)) and the candidates asked
    about all of them."""

    problem: Problem
    told: tuple[tuple[Ask, Answers], ...]
    rows: Ints
    answers: Answers
    asked: tuple[int, ...]

    @classmethod
    def of(cls, problem: Problem, told: Sequence[tuple[Ask, Answers]]) -> Pilot:
        """Several asks as one sheet."""
        if not told:
            return cls(problem, (), np.empty(0, np.int64), Answers.blank((0, len(problem.rates))), ())
        rows, first = np.unique(np.concatenate([ask.positions for ask, _ in told]), return_index=True)
        rows = rows[np.argsort(first)]
        place = {int(row): k for k, row in enumerate(rows)}
        known = told[0][1].traits
        words = known is not None and known.words is not None
        sheet = Answers.blank((len(rows), len(problem.rates)), traits=known is not None, words=words)
        for ask, answers in told:
            sheet.fill(np.array([place[int(row)] for row in ask.positions]), ask.models, answers)
        asked = tuple(j for j in sorted(problem.by_price) if (sheet.marks[:, j] != NOT_ASKED).all())
        return cls(problem, tuple(told), rows, sheet, asked)

    def after(self, ask: Ask) -> Generator[Ask, Answers, Pilot]:
        """With what another ask brings."""
        return Pilot.of(self.problem, (*self.told, (ask, (yield ask))))

    @property
    def left(self) -> int:
        """N: rows that are not pilot rows."""
        return self.problem.rows - len(self.rows)

    @cached_property
    def errors(self) -> int:
        """Pilot rows the reference has no answer for: misses already."""
        return int((self.answers.marks[:, 0] == ERROR).sum())

    @property
    def allowance(self) -> int:
        """B: misses still allowed among the rows left, without what is still reserved for errors; negative: none."""
        return self.problem.allowance - max(0, self.errors - self.problem.reserve)

    @property
    def reserve(self) -> int:
        """Misses still set aside for rows without an answer."""
        return max(0, self.problem.reserve - self.errors)

    @property
    def weights(self) -> Floats:
        """For forecasts: see `procedures.ladder.forecast.row_weights`."""
        return forecast.row_weights(self.problem.seed, len(self.rows))

    def price(self, models: Sequence[int]) -> float:
        """Of asking these candidates about one row, in reference calls, by what their calls have cost."""
        return sum(self._prices[model] for model in models)

    @cached_property
    def _prices(self) -> list[float]:
        return [self._price(model) for model in range(len(self.problem.rates))]

    def _price(self, model: int) -> float:
        asked, cost = self.answers.marks[:, model] != NOT_ASKED, self.answers.cost
        guess = self.problem.rates[model] / self.problem.rates[0]
        spent, beside = float(cost[asked, model].sum()), float(cost[asked, 0].sum())
        return price_of(guess, int(asked.sum()), spent, beside)

    @cached_property
    def spent(self) -> float:
        """What candidate calls have cost so far, in reference calls."""
        marks = self.answers.marks
        rows = (marks != NOT_ASKED).sum(axis=0).tolist()
        return sum(self.problem.bought(model, rows[model]) * self._prices[model] for model in range(1, len(rows)))

    def doubtful(self, candidate: int) -> bool:
        """Whether a call of a candidate not asked yet may cost more than there is room for, where another's calls have
        cost far more than was guessed."""
        guesses = [rate / self.problem.rates[0] for rate in self.problem.rates]
        asked = (self.answers.marks != NOT_ASKED).any(axis=0)
        if asked[candidate] or at_most(self.problem, candidate) <= self.room:
            return False
        return not may_try(self.problem, candidate) or any(
            asked[j] and self._prices[j] > FAR_OFF * guesses[j] for j in range(1, len(guesses))
        )

    @property
    def room(self) -> float:
        """What further pilot rows may cost in candidate calls."""
        return PURSE * self.problem.alone - self.spent

    @property
    def most(self) -> float:
        """What candidate calls may yet cost before anything is certified."""
        return max(0.0, CAP * self.problem.alone - self.spent)
