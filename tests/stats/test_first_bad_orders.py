"""The one look by enumeration: rows that defer, rows without an answer, ties, and a candidate chosen by a pilot."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import combinations, permutations, product

import numpy as np
import pytest

from smart_llm.routing import before
from smart_llm.stats.first_bad import credit_left, error_level, rows_needed, upper_level

GOOD, BAD, DEFERRED, LOST, LOST_TOO = range(5)
"""Kinds of rows: a good and a bad answer, a broken contract, no answer by the reference (and none by the candidate)."""


def kinds(rows: int, count: int) -> np.ndarray:
    """Every pattern of so many kinds of rows, shape (count^rows, rows)."""
    return np.stack(np.unravel_index(np.arange(count**rows), (count,) * rows), axis=1).astype(np.int8)


def draws(rows: int, looked: int) -> np.ndarray:
    """Every draw of so many rows, shape (draws, rows)."""
    found = np.zeros((0, rows), bool)
    for chosen in combinations(range(rows), looked):
        found = np.vstack([found, np.isin(np.arange(rows), chosen)])
    return found


def misses(pattern: np.ndarray, labelled: np.ndarray, credit: int, reserve: int) -> np.ndarray:
    """Shape (patterns,): misses of the whole table for one draw, rows in delivery order, as the ladder walks: the
    candidate's answer counts as bad where the reference has none, and is not delivered where it broke its contract."""
    lost = pattern >= LOST
    bad = (pattern == BAD) | (pattern == LOST)
    left = np.array([credit_left(credit, seen, reserve) for seen in range(pattern.shape[1] + 1)])
    spare = left[(lost & labelled).sum(axis=1)]
    walked = np.cumsum(bad & labelled, axis=1) <= spare[:, None]
    delivered = walked & ~labelled & (spare >= 0)[:, None]
    return np.asarray((lost | (delivered & bad)).sum(axis=1))


@pytest.mark.parametrize(("rows", "count"), [(5, 5), (7, 4), (9, 2)])
@pytest.mark.parametrize("reserve", [0, 1])
def test_every_pattern_of_every_kind_keeps_its_level(rows: int, count: int, reserve: int) -> None:
    """Good, bad, deferred and lost rows in every arrangement, every draw: the table misses more than it may never more
    often than the level for its number of lost rows says, and without lost rows the level is attained."""
    pattern = kinds(rows, count)
    lost = (pattern >= LOST).sum(axis=1)
    for looked, credit in product({2, rows // 2}, (0, 1)):
        total = np.stack([misses(pattern, draw, credit, reserve) for draw in draws(rows, looked)])
        for allowance in range(rows - credit - reserve):
            failed = (total > allowance + reserve).mean(axis=0)
            for errors in range(min(allowance + reserve, int(lost.max())) + 1):
                level = error_level(rows, allowance, credit, looked, errors=errors, reserve=reserve)
                assert failed[lost == errors].max() <= level + 1e-12
        level = upper_level(rows, 1, credit, np.array([looked]))[0]
        assert (total > 1).mean(axis=0)[lost == 0].max() == pytest.approx(level, abs=1e-9)


def test_lost_rows_must_be_paid_for() -> None:
    """The enumeration above can fail: walking on as if lost rows were good ones passes every level there is."""
    rows, looked, credit, allowance, lost = 9, 4, 1, 3, 2
    pattern = kinds(rows, 2)
    gone = np.isin(np.arange(rows), range(rows - lost, rows))
    failed = np.zeros(len(pattern))
    for draw in draws(rows, looked):
        walked = np.cumsum((pattern == BAD) & draw & ~gone, axis=1) <= credit
        failed += (walked & (pattern == BAD) & ~draw & ~gone).sum(axis=1) + lost > allowance
    levels = [error_level(rows, allowance, credit, looked, errors=e, reserve=0) for e in range(allowance + 1)]
    assert failed.max() / len(draws(rows, looked)) > max(levels) + 0.1


# --------------------------------------------------------------------------- ties


def strict(score: tuple[int, ...], u: tuple[int, ...]) -> list[int]:
    """The rows in delivery order, sorted plainly."""
    return sorted(range(len(score)), key=lambda row: (-score[row], u[row]))


def test_what_stands_before_a_row_is_a_prefix_of_one_fixed_order() -> None:
    """Every way to tie, every order of the blank score, every stopping row: `before` is the strict order's prefix."""
    for score, u in product(product(range(3), repeat=4), permutations(range(4))):
        order = strict(score, u)
        places, blank = np.array(score, float), np.array(u, np.uint64)
        for rank, row in enumerate(order):
            accepted = before(places, blank, (float(score[row]), u[row]))
            assert sorted(order[:rank]) == np.flatnonzero(accepted).tolist()


@pytest.mark.parametrize("whole", [False, True])
def test_ties_broken_by_the_blank_score_keep_the_level_and_whole_groups_do_not(whole: bool) -> None:
    """Every way to tie six rows, every number of bad rows in each group, over all draws and orders of the blank score.
    Delivering the whole group in which the look stops breaks what stopping inside it keeps."""
    rows, looked, credit, allowance = 6, 3, 0, 1
    level = upper_level(rows, allowance, credit, np.array([looked]))[0]
    worst = max(tied(groups, looked, allowance, whole) for groups in compositions(rows))
    if whole:
        assert worst > level + 0.05
    else:
        assert worst == pytest.approx(level, abs=1e-9)


def compositions(rows: int) -> list[tuple[int, ...]]:
    """Every way to cut an order into groups of equal scores, as sizes."""
    if rows == 0:
        return [()]
    return [(first, *rest) for first in range(1, rows + 1) for rest in compositions(rows - first)]


def tied(groups: tuple[int, ...], looked: int, allowance: int, whole: bool) -> float:
    """The worst chance, over numbers of bad rows per group, that a look without credit delivers too many of them."""
    rows, group = sum(groups), np.repeat(np.arange(len(groups)), groups)
    labelled = draws(rows, looked)
    worst = 0.0
    for counts in product(*(range(size + 1) for size in groups)):
        chances = [
            failed(np.isin(np.arange(rows), bad), group, labelled, allowance, whole) for bad in choices(groups, counts)
        ]
        worst = max(worst, float(np.mean(chances)))
    return worst


def choices(groups: tuple[int, ...], counts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every set of places, so many in each group: equally likely, as the blank score is independent of all answers."""
    starts = np.cumsum([0, *groups[:-1]]).tolist()
    parts = [
        combinations(range(start, start + size), count)
        for start, size, count in zip(starts, groups, counts, strict=True)
    ]
    return [tuple(place for part in chosen for place in part) for chosen in product(*parts)]


def failed(bad: np.ndarray, group: np.ndarray, labelled: np.ndarray, allowance: int, whole: bool) -> float:
    """Share of draws in which more than `allowance` unlabelled bad rows are delivered."""
    stops = labelled & bad
    walked = np.cumsum(stops, axis=1) == 0
    if whole:
        first = np.where(stops.any(axis=1), group[stops.argmax(axis=1)], group[-1])
        walked = group[None, :] <= first[:, None]
    return float(((walked & ~labelled & bad).sum(axis=1) > allowance).mean())


# --------------------------------------------------------------------------- two candidates


@cache
def walk(pattern: int, look: tuple[int, ...], rows: tuple[int, ...], credit: int) -> tuple[int, int]:
    """(rows delivered, bad ones among them) of one candidate; pattern: its bad rows as bits; rows: those not in the
    pilot, surest first."""
    count = wrong = 0
    for row in rows:
        bad = pattern >> row & 1
        if row in look:
            credit -= bad
            if credit < 0:
                break
        else:
            count, wrong = count + 1, wrong + bad
    return count, wrong


@pytest.mark.parametrize("by_pilot", [True, False])
def test_choosing_between_two_candidates_belongs_to_the_pilot(by_pilot: bool) -> None:
    """Two candidates with opposite orders of the rows, every pair of patterns, every pilot, every look: the candidate
    with the fewest bad rows in the pilot keeps the promise; the one with which the look delivers most does not.
    Rungs are no further case: a rung delivers a part of what stands before the stopping row."""
    rows, piloted, allowance, alpha = 6, 1, 1, Fraction(2, 5)
    looked = rows_needed(rows - piloted, allowance, 0, float(alpha))
    assert looked is not None
    plans = [
        (pilot, look)
        for pilot in combinations(range(rows), piloted)
        for look in combinations([row for row in range(rows) if row not in pilot], looked)
    ]
    worst = max(chance(pair, plans, rows, allowance, by_pilot) for pair in product(range(2**rows), repeat=2))
    assert (worst <= alpha) == by_pilot
    assert worst > alpha / 2, "hardly anything ever went wrong: the test would prove nothing"


def chance(
    pair: tuple[int, int], plans: list[tuple[tuple[int, ...], ...]], rows: int, allowance: int, by_pilot: bool
) -> Fraction:
    """How often too many bad rows are delivered, over all pilots and looks."""
    broken = 0
    for pilot, look in plans:
        left = tuple(row for row in range(rows) if row not in pilot)
        found = [walk(pattern, look, order, 0) for pattern, order in zip(pair, (left, left[::-1]), strict=True)]
        shown = [sum(pattern >> row & 1 for row in pilot) for pattern in pair]
        best = shown.index(min(shown)) if by_pilot else int(found[1][0] > found[0][0])
        broken += found[best][1] > allowance
    return Fraction(broken, len(plans))
