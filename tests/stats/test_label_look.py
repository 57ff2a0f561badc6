"""The look with a promise per label: limits by enumeration, all promises together over every small population."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from smart_llm.stats.label_look import credit, enough, label_credit


@given(st.integers(1, 60), st.data())
def test_credit_is_the_largest_that_keeps_the_level(rows: int, data: st.DataObject) -> None:
    """The table's credit keeps the level, one more would not; none where nothing may be missed, any where all may."""
    looked, misses = data.draw(st.integers(1, rows)), data.draw(st.integers(-1, rows))
    found = credit(rows, misses, looked, 0.1)
    if misses < 0 or misses >= rows:
        assert found == (-1 if misses < 0 else looked)
        return
    assert found < 0 or hypergeom.cdf(found, rows, misses + 1, looked) <= 0.1 + 1e-9
    assert hypergeom.cdf(found + 1, rows, misses + 1, looked) > 0.1 - 1e-9


@settings(max_examples=300)
@given(st.integers(1, 60), st.fractions("1/10", "19/20", max_denominator=40), st.sampled_from([0.02, 0.1, 0.3, 0.5]))
def test_a_labels_credit_keeps_the_level_however_common_it_is(seen: int, share: Fraction, alpha: float) -> None:
    """For every number of rows with the label, and the fewest bad ones that break the promise, so few labelled bad rows
    are improbable; no larger credit keeps the binomial level, but where the binomial says nothing."""
    found = label_credit(seen, share, alpha)
    carried = np.array([*range(seen, 4 * seen + 20), 1000, 100_000])
    bad = np.array([int((1 - share) * rows) + 1 for rows in carried.tolist()])
    there = bad <= carried
    if found >= 0:
        assert (hypergeom.cdf(found, carried[there], bad[there], seen) <= alpha * (1 + 1e-9)).all()
    level = binom.cdf(found + 1, seen, float(1 - share))
    assert level > alpha * (1 - 1e-6) or Fraction((found + 1) * seen, max(1, seen - 1)) + 1 > (1 - share) * (seen + 1)


@given(st.integers(2, 40), st.data())
def test_a_common_label_shows_often_enough(rows: int, data: st.DataObject) -> None:
    """Fewer rows than that are improbable for any label at least so common; one more would not be."""
    looked, carried = data.draw(st.integers(1, rows)), data.draw(st.integers(0, rows))
    found = enough(rows, carried, looked, 0.1)
    if carried == 0:
        assert found == 0
        return
    assert all(hypergeom.cdf(found - 1, rows, k, looked) <= 0.1 + 1e-9 for k in range(carried, rows + 1))
    assert found > looked or hypergeom.cdf(found, rows, carried, looked) > 0.1 - 1e-9


# --------------------------------------------------------------------------- all promises of a run together


def broken_together(rows: int, n: int, misses: tuple[int, int], credits: tuple[int, int], *, paid: bool) -> float:
    """How often at most, over every delivery order of rows that are bad for promise A, for B, or good, more than its
    misses stand before the earliest stopping row for either. paid: labelled bad rows do not count among them."""
    marks = np.array(list(product("AB.", repeat=rows)))
    bad = [marks == kind for kind in "AB"]
    over = np.any([each.sum(axis=1) > most for each, most in zip(bad, misses, strict=True)], axis=0)
    bad = [each[over] for each in bad]
    looks, count = list(combinations(range(rows), n)), np.zeros(over.sum(), np.int64)
    for look in looks:
        seen = np.isin(np.arange(rows), look)
        ahead = np.all([(each & seen).cumsum(axis=1) <= c for each, c in zip(bad, credits, strict=True)], axis=0)
        gone = [(each & ahead & ~(paid & seen)).sum(axis=1) for each in bad]
        count += np.any([each > most for each, most in zip(gone, misses, strict=True)], axis=0)
    return float(count.max() / len(looks))


@pytest.mark.parametrize(
    ("rows", "n", "misses", "credits"),
    [(7, 3, (1, 1), (0, 0)), (7, 4, (1, 2), (0, 1)), (7, 4, (2, 1), (1, 1)), (8, 4, (2, 2), (1, 1))],
)
def test_the_earliest_of_two_stopping_rows_errs_as_rarely_as_one(
    rows: int, n: int, misses: tuple[int, int], credits: tuple[int, int]
) -> None:
    """Over every population in every order, either promise is broken no more often than the less safe of the two alone,
    and in the worst population just as often: nothing has to be divided between them."""
    levels = [hypergeom.cdf(c, rows, most + 1, n) for most, c in zip(misses, credits, strict=True)]
    assert broken_together(rows, n, misses, credits, paid=False) == pytest.approx(max(levels))


def test_with_credit_for_labelled_bad_rows_the_errors_add_up() -> None:
    """Why labelled bad rows count: if they did not, two promises would be broken more often than either alone."""
    alone = hypergeom.cdf(2, 8, 1 + 1 + 2, 5)
    assert broken_together(8, 5, (1, 1), (2, 2), paid=True) > 1.2 * alone


ABSENT = 0.1
credit_, enough_ = lru_cache(maxsize=None)(credit), lru_cache(maxsize=None)(enough)


def broken(marks: str, looked: tuple[int, ...], misses: int, share: Fraction, least: int, alpha: float) -> bool:
    """Is a promise broken, by the procedure's rule? marks: rows in delivery order; "A", "B" bad rows of either label,
    "a", "b" good ones, "!" no answer by the reference."""
    rows, shown = len(marks), [marks[i] for i in looked]
    allowed = [credit_(rows, misses, len(looked), alpha) - shown.count("!")]
    for label in "ab":
        seen = shown.count(label) + shown.count(label.upper())
        rare = seen < enough_(rows, least, len(looked), ABSENT * alpha)
        allowed.append(seen if rare else label_credit(seen, share, (1 - ABSENT) * alpha))
    if min(allowed) < 0:
        return False
    seen_bad = [[i for i in looked if marks[i] in kind] for kind in ("AB", "A", "B")]
    stop = min(each[c] if len(each) > c else rows for each, c in zip(seen_bad, allowed, strict=True))
    wrong = [marks[i] for i in range(stop) if i not in looked and marks[i] in "AB"]
    carried = {label: marks.count(label) + marks.count(label.upper()) for label in "ab"}
    few = [wrong.count(x.upper()) <= int((1 - share) * count) for x, count in carried.items() if count >= least]
    return len(wrong) + marks.count("!") > misses or not all(few)


@pytest.mark.parametrize(
    ("rows", "n", "misses", "share", "alpha", "kinds"),
    [
        (6, 2, 1, "0.4", 0.6, "aAbB"),
        (6, 3, 1, "0.5", 0.8, "aAbB"),
        (6, 2, 2, "0.4", 0.8, "aAbB"),
        (5, 2, 1, "0.4", 0.8, "aAbB!"),
    ],
)
def test_all_promises_of_a_run_hold_for_every_population(
    rows: int, n: int, misses: int, share: str, alpha: float, kinds: str
) -> None:
    """Over every population in every delivery order, with rows without an answer and labels nobody counted beforehand:
    the table's or a label's promise is broken with probability at most alpha."""
    looks = list(combinations(range(rows), n))
    worst = max(
        sum(broken("".join(marks), look, misses, Fraction(share), 2, alpha) for look in looks) / len(looks)
        for marks in product(kinds, repeat=rows)
        if marks[0] not in "bB"  # both labels are treated alike, so with them swapped it is the same
    )
    assert worst <= alpha
    assert worst > alpha / 8, "hardly anything ever went wrong: the test would prove nothing"
