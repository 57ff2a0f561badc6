"""What the pilot of a run with a taught candidate shows of the rows that are left.

Rows that were chosen are unlike those left, and so are random rows that would have been chosen; a `View` leaves them
out. Where labels were known before the run, some of these are like the rows left (`Answers.like`): they stand in the
view as if they had been drawn, as long as the rows that were drawn do not say otherwise.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.stats.special import betainc
from smart_llm.types import BAD, NOT_ASKED, Answers, Ints

ENOUGH = 30
"""Rows known before the run that a candidate must have been asked about, to count on what they show."""
DOUBT = 0.02
"""How improbable the mistakes on rows that were drawn may be, for rows known before to be like them."""


class View(Pilot):
    """The rows of a pilot that others were asked about, too."""

    whole: Pilot

    @classmethod
    def showing(cls, whole: Pilot, rows: Ints, models: tuple[int, ...]) -> View:
        """Of these rows, and what these models said of them."""
        place = {int(row): k for k, row in enumerate(whole.rows)}
        some = whole.answers.rows(np.array([place[int(row)] for row in rows], np.int64))
        view = cls(whole.problem, whole.told, rows, some, models)
        object.__setattr__(view, "whole", whole)
        return view

    @classmethod
    def of_others(cls, whole: Pilot, random: Ints, gone: NDArray[np.bool_], like: Answers | None) -> View | None:
        """The first of the random rows, as far as any other candidate was asked about them, but for those that are
        gone, and rows like those left that were asked about the same; None where there are none."""
        taught = whole.problem.learned
        asked = cls.showing(whole, random, ()).answers.marks != NOT_ASKED
        asked[:, [0, taught]] = False
        rows = int(asked.any(axis=1).sum())
        if rows and not asked[:rows].any(axis=1).all():
            return None
        if not rows:
            return None if like is None else cls.of_earlier(whole, like)
        models = tuple(j for j in sorted(whole.problem.by_price) if j == taught or asked[:rows, j].all())
        found = cls.showing(whole, random[:rows][~gone[:rows]], models)
        return found if like is None else found.beside(like)

    @classmethod
    def of_earlier(cls, whole: Pilot, like: Answers) -> View | None:
        """Of rows like those left alone, the candidates that were asked about enough of them."""
        problem, asked = whole.problem, like.marks != NOT_ASKED
        others = [j for j in problem.by_price if j != problem.learned and asked[:, j].sum() >= ENOUGH]
        if not others:
            return None
        models = tuple(j for j in sorted(problem.by_price) if j == problem.learned or j in others)
        return cls.showing(whole, np.empty(0, np.int64), models).beside(like)

    def beside(self, like: Answers) -> View:
        """With those of these rows that all of its models were asked about, as if they had been drawn."""
        there = np.flatnonzero((like.marks[:, list(self.asked)] != NOT_ASKED).all(axis=1))
        rows = np.r_[-1 - there, self.rows]
        found = type(self)(self.problem, self.told, rows, Answers.joined(like.rows(there), self.answers), self.asked)
        object.__setattr__(found, "whole", self.whole)
        return found

    @property
    def left(self) -> int:
        """As of the whole."""
        return self.whole.left

    @cached_property
    def errors(self) -> int:
        """As of the whole."""
        return self.whole.errors

    @cached_property
    def spent(self) -> float:
        """As of the whole."""
        return self.whole.spent


def borne_out(random: View, like: Answers) -> bool:
    """Whether rows that were drawn show no clearly larger share of mistakes than those that are said to be like them:
    labels of other people, or of other times, may be of another kind."""
    taught = random.problem.learned
    rows, wrong = len(random.rows), int((random.answers.marks[:, taught] == BAD).sum())
    if not len(like.marks):
        return False
    share = (int((like.marks[:, taught] == BAD).sum()) + 1) / (len(like.marks) + 2)
    return not wrong or float(betainc(wrong, rows - wrong + 1, share)) >= DOUBT
