"""`learned` on recorded answers: taught with the reference's, by the very code that live runs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smart_llm.errors import InputError
from smart_llm.learned.earlier import NOTHING, Earlier
from smart_llm.learned.learner import Learner, Shelf
from smart_llm.learned.model import Fitted, Said
from smart_llm.scores.traits import answer_key
from smart_llm.simulation.drive import Population
from smart_llm.types import AGREE, BAD, DEFER, LESSON, Answers, Ask, Ints, Least

KINDS = 100
"""Different answers of the reference, at most: more are no closed set of labels."""


@dataclass(frozen=True, slots=True)
class School:
    """What a candidate is taught from: texts, and the reference's answers. column: the candidate's number; known: the
    different answers; agrees: shape (known, known), whether one (first axis) counts as the same as the reference's.
    earlier: what was known before."""

    shelf: Shelf
    answers: tuple[str | None, ...]
    column: int
    known: tuple[str, ...]
    agrees: np.ndarray
    earlier: Earlier = NOTHING

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        answers: Sequence[str | None],
        column: int,
        equivalent: Callable[[str, str], bool] | None,
    ) -> School:
        """Of a recorded table; `InputError` where its answers are no labels."""
        known = tuple(sorted({answer for answer in answers if answer is not None}))
        if len(known) > KINDS:
            raise InputError(
                f"--candidate learned: the reference gives {len(known):,} different answers; it learns labels, at most "
                f"{KINDS}."
            )
        same = equivalent or (lambda a, b: a == b)
        agrees = np.array([[same(a, b) for b in known] for a in known], bool).reshape(len(known), len(known))
        kept = np.array(texts, dtype=object)
        return cls(Shelf(len(texts), lambda at: kept[at].tolist()), tuple(answers), column, known, agrees)


class Taught:
    """A population one of whose candidates is taught as the run goes on."""

    def __init__(self, population: Population, school: School) -> None:
        self.population = replace(
            population,
            marks=population.marks.copy(),
            score=population.score.copy(),
            traits=population.traits and replace(population.traits, key=population.traits.key.copy()),
        )
        self._school, self._learner, self._stale = school, Learner(school.shelf, earlier=school.earlier), True
        index = {answer: number for number, answer in enumerate(school.known)}
        self._truth = np.array([-1 if answer is None else index[answer] for answer in school.answers], np.int64)
        self._keys = np.array([answer_key(answer) for answer in school.known], np.int64)
        self._index = index

    def answer(self, ask: Ask) -> Answers:
        """What the models asked would have said."""
        column = self._school.column
        if ask.stage == LESSON:
            labels = [self._school.answers[row] for row in ask.positions.tolist()]
            said, self._stale = self._learner.teach(ask.positions, labels), True
            self._write(ask.positions, said)
            least = Least(*self._learner.least_sure(ask.positions, ask.least), self._learner.named_of)
            return replace(self.population.answer(ask), least=least, like=self._like(ask.positions))
        if column in ask.models and self._stale:
            self._write_all()
        return self.population.answer(ask)

    def _like(self, asked: Ints) -> Answers | None:
        """Rows known before that are like those left, and what is said of them."""
        sheet, of_earlier, fitted = self._school.earlier.sheet, self._learner.of_earlier, self._learner.fitted
        if sheet is None or of_earlier is None or fitted is None:
            return None
        at, column = self._learner.like_left(asked), self._school.column
        labels = [self._school.earlier.labels[row] for row in at.tolist()]
        label = np.array([self._index[fitted.answer(number)] for number in of_earlier.label[at].tolist()], np.int64)
        truth = np.array([self._index[each] for each in labels], np.int64)
        found = sheet.rows(at)
        found.marks[:, column] = np.where(self._school.agrees[label, truth], AGREE, BAD)
        found.score[:, column] = of_earlier.odds[at]
        if found.traits is not None:
            found.traits.key[:, column] = self._keys[label]
        return found

    def said(self, texts: Sequence[str]) -> tuple[Said, list[str]]:
        """What the model of the last lesson says of any texts, and its labels for them."""
        assert self._learner.fitted is not None
        said = self._learner.fitted.said(texts)
        return said, list(map(self._learner.fitted.answer, said.label.tolist()))

    def _write_all(self) -> None:
        rows, self._stale = np.arange(len(self._truth)), False
        if self._learner.fitted is not None:
            self._write(rows, self._learner.said(rows))

    def _write(self, rows: Ints, said: Said | None) -> None:
        """What is said of these rows, as marks, scores and keys."""
        column, population = self._school.column, self.population
        if said is None or not isinstance(self._learner.fitted, Fitted):
            population.marks[rows, column] = DEFER
            return
        names = np.array([self._index[label] for label in self._learner.fitted.labels] + [-1], np.int64)
        label, truth = names[said.label], self._truth[rows]
        same = self._school.agrees[label, truth] & (label >= 0) & (truth >= 0)
        population.marks[rows, column] = np.where(same, AGREE, BAD)
        population.score[rows, column] = said.odds
        if population.traits is not None:
            population.traits.key[rows, column] = np.where(label >= 0, self._keys[label], 0)
