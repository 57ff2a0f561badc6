"""The look with a promise per label: limits by enumeration, the promise over every order of every small population."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from smart_llm.stats.label_look import lower_count, misses_allowed, most_credit


@given(st.integers(2, 40), st.data())
def test_lower_count_is_exact(rows: int, data: st.DataObject) -> None:
    """The limit is the smallest count the draw does not exclude, by direct search."""
    looked = data.draw(st.integers(1, rows))
    seen = data.draw(st.integers(0, looked))
    alpha = data.draw(st.sampled_from([0.01, 0.1, 0.3]))
    possible = [k for k in range(seen, rows - looked + seen + 1) if hypergeom.sf(seen - 1, rows, k, looked) > alpha]
    assert lower_count(rows, looked, seen, alpha) == min(possible)


@given(st.integers(4, 60), st.data())
def test_most_credit_is_the_largest_that_keeps_the_level(rows: int, data: st.DataObject) -> None:
    """One more credit would break the level (where there are rows enough for it to matter)."""
    looked, allowance = data.draw(st.integers(1, rows)), data.draw(st.integers(0, rows))
    credit = most_credit(rows, allowance, looked, 0.1)

    def level(c: int) -> float:
        return float(hypergeom.cdf(c, rows, allowance + 1 + c, looked))

    if allowance >= rows:
        assert credit == looked
        return
    if credit >= 0:
        assert level(credit) <= 0.1 + 1e-9
    if credit + 1 <= min(looked, rows - allowance - 1):
        assert level(credit + 1) > 0.1 - 1e-9


lower, credits_ = lru_cache(maxsize=None)(lower_count), lru_cache(maxsize=None)(most_credit)


def broken(marks: tuple[str, ...], looked: tuple[int, ...], share: float, alpha: float) -> bool:
    """Does this look deliver too many bad rows of label a? marks: the rows in delivery order; "A" a bad row of the
    label, "a" a good one, "." a row of another label. As the procedure does it, for one label alone."""
    rows = len(marks)
    seen = sum(marks[i] in "aA" for i in looked)
    allowed = misses_allowed(lower(rows, len(looked), seen, alpha / 2), share)
    credit = credits_(rows, allowed, len(looked), alpha / 2)
    bad = [i for i in looked if marks[i] == "A"]
    stop = 0 if credit < 0 else bad[credit] if len(bad) > credit else rows
    delivered = sum(marks[i] == "A" and i not in looked for i in range(stop))
    return delivered > misses_allowed(sum(mark in "aA" for mark in marks), share)


@pytest.mark.parametrize(("rows", "n", "share", "alpha"), [(7, 3, 0.5, 0.6), (8, 4, 0.5, 0.5), (8, 4, 0.7, 0.9)])
def test_the_promise_per_label_holds_for_every_population(rows: int, n: int, share: float, alpha: float) -> None:
    """Over every population in every delivery order and every look: broken with probability at most alpha."""
    looks = list(combinations(range(rows), n))
    worst = max(
        sum(broken(marks, look, share, alpha) for look in looks) / len(looks) for marks in product("aA.", repeat=rows)
    )
    assert worst <= alpha
    assert worst > alpha / 8, "hardly anything ever went wrong: the test would prove nothing"
