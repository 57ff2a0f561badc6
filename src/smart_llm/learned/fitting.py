"""From texts with labels to a model: logistic regression, its features and how far it is held back by cross-validation.

Every row is judged by a model that was taught without it and without the rows whose text is the same. These judgements
decide what is fitted, calibrate it, and are what the run's forecasts go by: they are honest about rows not seen. The
search is greedy: from what was best with fewer rows, one thing is changed at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.learned.closed import taken_apart
from smart_llm.learned.features import WIDTH, Rows
from smart_llm.learned.model import Fitted, Joint, Said, decided, joined
from smart_llm.learned.space import Singles, Space

FOLDS = 5
MANY = 600
"""Rows from which on two folds are enough to compare recipes."""
HELD = (0.25, 1.0, 4.0, 16.0, 64.0)
"""Inverse strengths of regularisation."""
TOPIC = (0.0, 1.0, 2.0)
"""How much of the topics, against the features themselves."""
EMBEDDED = (0.0, 2.0, 6.0)
"""How much of the texts' vectors, which have length 1."""
WORTH = 0.97
"""× the loss without vectors: what using them must bring it to, since the vector of every further row is paid for."""
SEEN = 2
"""Rows with labels that must hold a feature for it to have a weight of its own."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is fitted. loose: inverse strength of regularisation; topics: their weight; long: runs of three characters
    as well; embedded: the weight of the texts' vectors."""

    loose: float = 4.0
    topics: float = 1.0
    long: bool = False
    embedded: float = 0.0

    def variants(self) -> Iterator[Recipe]:
        """With one thing changed."""
        at = HELD.index(self.loose)
        yield from (replace(self, loose=HELD[k]) for k in (at + 1, at - 1) if 0 <= k < len(HELD))
        yield from (replace(self, topics=weight) for weight in TOPIC if weight != self.topics)
        yield replace(self, long=not self.long)
        yield from (replace(self, embedded=weight) for weight in EMBEDDED if weight != self.embedded)

    @property
    def words(self) -> str:
        """For people."""
        long = ", runs of three" if self.long else ""
        embedded = f"; embeddings × {self.embedded:g}" if self.embedded else ""
        return f"words, characters{long}; topics × {self.topics:g}{embedded}; C = {self.loose:g}"


Recipes: TypeAlias = tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What there is to learn from. rows: features of the texts; topics: shape (n, TOPICS); label: shape (n,), numbers;
    kinds: how many labels; fold: shape (n,); vectors: shape (n, numbers), none where texts have none; known: what was
    computed by `without`."""

    rows: Rows
    topics: Singles
    label: NDArray[np.int64]
    kinds: int
    fold: NDArray[np.int64]
    vectors: Singles
    known: dict[tuple[int, bool], tuple[NDArray[np.int64], Rows]] = field(default_factory=dict)

    def without(self, fold: int, long: bool) -> tuple[NDArray[np.int64], Rows]:
        """The features that have a weight of their own where this fold is held back (−1: none is), runs of three
        characters among them or not, and the rows taught by these. Few recipes differ in it, so that of a small lesson
        is kept; many copies of a large one might not fit into memory."""
        if (fold, long) in self.known:
            return self.known[fold, long]
        rows = self.rows[np.flatnonzero(self.fold != fold)]
        columns = np.flatnonzero(np.bincount(rows.indices, minlength=rows.shape[1]) >= SEEN)
        if not long:
            columns = columns[(columns < WIDTH) | (columns >= 2 * WIDTH)]
        found = columns, rows[:, columns]
        if len(self.label) < MANY:
            self.known[fold, long] = found
        return found

    def dense(self, recipe: Recipe) -> NDArray[np.float64]:
        """Shape (n, …): what is no feature of a text by itself, by its weight."""
        return np.hstack([recipe.topics * self.topics, recipe.embedded * self.vectors]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Learned:
    """A model, the recipe it was made by, and what is said of the rows it was taught with, each by one that had not
    seen it."""

    fitted: Fitted
    recipe: Recipe
    said: Said


def learn(
    space: Space, taught: Rows, labels: Sequence[str], same: NDArray[np.int64], recipe: Recipe,
    vectors: Singles | None = None,
) -> Learned:  # fmt: skip
    """Fit. taught: features of texts; labels: theirs; same: equal numbers for equal texts; recipe: to begin with;
    vectors: of the texts, if they have any."""
    from threadpoolctl import threadpool_limits

    kinds, label = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    names = tuple(map(str, kinds))
    if len(names) == 1:
        return _constant(names, len(labels), space, recipe)
    topics = np.asarray(taught[:, space.common] @ space.topics) if len(space.common) else np.empty((len(labels), 0))
    vectors = np.empty((len(labels), 0), np.float32) if vectors is None else vectors
    lesson = Lesson(taught, topics.astype(np.float32), label, len(names), _folds(same), vectors)
    with threadpool_limits(1):
        recipe = _searched(lesson, recipe if len(space.common) else replace(recipe, topics=0.0))
        margins = _across(lesson, recipe, range(FOLDS))
        heat = _heat(margins, label)
        columns, weights, offset = _fit(lesson, recipe, -1)
    weights, dense = np.split(weights, [len(weights) - vectors.shape[1] * bool(recipe.embedded)])
    columns, weights = _folded(space, recipe, columns[: len(weights)], weights)
    dense = (recipe.embedded * heat * dense).astype(np.float32)
    fitted = Fitted(names, columns, (weights * heat).astype(np.float32), offset * heat, space.steps, recipe.words,
                    len(labels), dense)  # fmt: skip
    return Learned(fitted, recipe, decided(margins * heat))


def learn_fields(
    space: Space, rows: Rows, answers: Sequence[str], same: NDArray[np.int64], recipes: Recipes, names: Sequence[str],
    vectors: Singles | None = None,
) -> tuple[Joint, Recipes, Said]:  # fmt: skip
    """Fit a model for every field. answers: JSON; recipes: to begin with, one a field, or one for all."""
    told = list(zip(*(taken_apart(answer, names) for answer in answers), strict=True))
    begun = recipes if len(recipes) == len(names) else recipes[:1] * len(names)
    learned = [learn(space, rows, labels, same, recipe, vectors) for labels, recipe in zip(told, begun, strict=True)]
    parts = tuple(each.fitted for each in learned)
    said = joined([each.said for each in learned], [len(part.labels) for part in parts])
    return Joint(tuple(names), parts), tuple(each.recipe for each in learned), said


def _constant(names: tuple[str, ...], rows: int, space: Space, recipe: Recipe) -> Learned:
    """All rows have one label."""
    odds = np.full(rows, np.log(2 * rows + 1.0))
    none = np.empty(0, np.int32), np.empty((0, 1), np.float32)
    fitted = Fitted(names, *none, np.zeros(1), space.steps, "always the same", rows)
    return Learned(fitted, recipe, Said(np.zeros(rows, np.int64), np.round(odds, 6)))


def _folds(same: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shape (n,): a fold for each row, the same for equal texts."""
    _, first, place = np.unique(same, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[place] % FOLDS)


def _searched(lesson: Lesson, recipe: Recipe) -> Recipe:
    """The best that is found by changing one thing after another."""
    folds = range(FOLDS) if len(lesson.label) < MANY else range(2)
    best = _loss(lesson, recipe, folds)
    tried = {recipe}
    for _ in range(2):
        before = recipe
        for other in list(recipe.variants()):
            lacks = (other.topics and not lesson.topics.shape[1]) or (other.embedded and not lesson.vectors.shape[1])
            if other in tried or lacks:
                continue
            tried.add(other)
            fresh = bool(other.embedded) and not recipe.embedded
            if (loss := _loss(lesson, other, folds)) < best * (WORTH if fresh else 1.0):
                best, recipe = loss, other
        if recipe == before:
            break
    return recipe


def _loss(lesson: Lesson, recipe: Recipe, folds: Sequence[int]) -> float:
    """Mean loss on rows not seen, at the best calibration."""
    margins, here = _across(lesson, recipe, folds), np.isin(lesson.fold, folds)
    margins, label = margins[here], lesson.label[here]
    return _log_loss(margins * _heat(margins, label), label)


def _across(lesson: Lesson, recipe: Recipe, folds: Sequence[int]) -> NDArray[np.float64]:
    """Shape (n, lines): margins of the rows of these folds, by models taught without them."""
    lines = 1 if lesson.kinds == 2 else lesson.kinds
    margins = np.zeros((len(lesson.label), lines))
    for fold in folds:
        held = lesson.fold == fold
        if not held.any() or held.all():
            continue
        columns, weights, offset = _fit(lesson, recipe, fold)
        cut = int(np.searchsorted(columns, lesson.rows.shape[1]))
        margins[held] = lesson.rows[np.flatnonzero(held)][:, columns[:cut]] @ weights[:cut] + offset
        if cut < len(columns):
            margins[held] += lesson.dense(recipe)[held][:, columns[cut:] - lesson.rows.shape[1]] @ weights[cut:]
    return margins


def _fit(lesson: Lesson, recipe: Recipe, held: int):  # type: ignore[no-untyped-def]
    """columns (those of topics stand last), weights of shape (columns, lines), offset of shape (lines,). held: the fold
    that is held back, or −1."""
    from scipy.sparse import csr_array, hstack
    from sklearn.linear_model import LogisticRegression

    at = np.flatnonzero(lesson.fold != held)
    label = lesson.label[at]
    columns, design = lesson.without(held, recipe.long)
    used = np.r_[np.full(lesson.topics.shape[1], recipe.topics), np.full(lesson.vectors.shape[1], recipe.embedded)]
    if len(kept := np.flatnonzero(used)):
        design = hstack([design, csr_array(lesson.dense(recipe)[at][:, kept])], format="csr")
        columns = np.r_[columns, lesson.rows.shape[1] + kept]
    lines, kinds = (1 if lesson.kinds == 2 else lesson.kinds), np.unique(label)
    weights, offset = np.zeros((len(columns), lines)), np.zeros(lines)
    if len(kinds) < 2 or not len(columns):
        offset[:] = -20.0
        if lines == 1:
            offset[0] = 20.0 if kinds[0] == 1 else -20.0
        else:
            offset[kinds] = 0.0
        return columns, weights, offset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hundreds of labels are usual, and recipes are compared as they come out
        model = LogisticRegression(C=recipe.loose, tol=1e-4, max_iter=200).fit(design.astype(np.float64), label)
    if lines == 1:
        return columns, model.coef_.T, model.intercept_
    if len(kinds) == 2:
        weights[:, kinds[1]], offset[:] = model.coef_[0], -20.0
        offset[kinds] = 0.0, model.intercept_[0]
        return columns, weights, offset
    weights[:, kinds] = model.coef_.T
    offset[:] = -20.0
    offset[kinds] = model.intercept_
    return columns, weights, offset


def _folded(space: Space, recipe: Recipe, columns, weights):  # type: ignore[no-untyped-def]
    """Topics are sums of features, so their weights are weights of these."""
    from smart_llm.learned.features import FAMILIES

    width = len(FAMILIES) * WIDTH
    cut = int(np.searchsorted(columns, width))
    if cut == len(columns):
        return columns.astype(np.int32), weights
    whole = np.union1d(columns[:cut], space.common).astype(np.int32)
    total = np.zeros((len(whole), weights.shape[1]))
    total[np.searchsorted(whole, columns[:cut])] += weights[:cut]
    total[np.searchsorted(whole, space.common)] += recipe.topics * (space.topics @ weights[cut:])
    return whole, total


def _heat(margins: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """The factor that calibrates margins best."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda log: _log_loss(margins * np.exp(log), label), bounds=(-4, 3), method="bounded")
    return float(np.exp(found.x))


def _log_loss(margins: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    if margins.shape[1] == 1:
        return float(np.logaddexp(0.0, np.where(label == 1, -margins[:, 0], margins[:, 0])).mean())
    top = margins.max(axis=1, keepdims=True)
    total = top[:, 0] + np.log(np.exp(margins - top).sum(axis=1))
    return float((total - margins[np.arange(len(label)), label]).mean())
