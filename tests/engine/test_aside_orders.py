"""Rows set aside, by enumeration: whoever reads a pilot and then chooses the prompt cannot break the promise.

A prompt is a table of marks: which rows the candidate would get wrong under it. The look is the shipped one
(`stats.first_bad`); rows stand in delivery order. A whole procedure is enumerated in
`tests/procedures/test_default_orders.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from smart_llm.procedures import get
from smart_llm.simulation.drive import Population, simulate
from smart_llm.stats.first_bad import rows_needed, upper_level
from smart_llm.types import BAD, Problem

ROWS, ALLOWANCE, LOOKED = 9, 2, 4

Rows = tuple[int, ...]


def missed(prompt: int, labelled: frozenset[int], rows: Rows, credit: int) -> int:
    """Bad rows delivered by the candidate: of `rows`, those that stand before the (credit + 1)-th labelled bad one.
    prompt: its bad rows as bits."""
    wrong = 0
    for row in rows:
        bad = prompt >> row & 1
        if row in labelled:
            credit -= bad
            if credit < 0:
                break
        else:
            wrong += bad
    return wrong


def chance(prompt: int, looks: list[frozenset[int]], rows: Rows, credit: int) -> Fraction:
    """How often more is missed than allowed, over all looks."""
    return Fraction(sum(missed(prompt, look, rows, credit) > ALLOWANCE for look in looks), len(looks))


def pilots(size: int) -> Iterator[tuple[frozenset[int], Rows]]:
    """Every pilot, and the rows it leaves."""
    for pilot in combinations(range(ROWS), size):
        yield frozenset(pilot), tuple(row for row in range(ROWS) if row not in pilot)


def level(credit: int) -> float:
    """What a look at so many rows of the whole table promises."""
    return float(upper_level(ROWS, ALLOWANCE, credit, np.array([LOOKED]))[0])


def tuned(size: int, credit: int, *, counted: bool) -> Fraction:
    """The chance of a broken promise for somebody who reads the pilot under every prompt there is and then takes the
    one that will do most harm, averaged over all pilots. counted: the pilot is part of the look at the whole table;
    else its rows are set aside, and as many others are looked at as that level needs."""
    looked = LOOKED if counted else rows_needed(ROWS - size, ALLOWANCE, credit, level(credit))
    assert looked is not None
    worst = []
    for pilot, left in pilots(size):
        fresh = looked - size if counted else looked
        looks = [frozenset(look) | (pilot if counted else frozenset()) for look in combinations(left, fresh)]
        rows = tuple(range(ROWS)) if counted else left
        worst.append(max(chance(prompt, looks, rows, credit) for prompt in range(2**ROWS)))
    return Fraction(sum(worst), len(worst))


@pytest.mark.parametrize(("size", "credit"), [(1, 0), (2, 0), (1, 1)])
def test_whatever_prompt_is_chosen_after_the_pilot_keeps_the_promise(size: int, credit: int) -> None:
    """Every prompt, every pilot, every look: with the pilot's rows set aside the worst choice breaks the promise about
    as often as it may and no more; with the pilot's rows counted as evidence, more often."""
    alpha = level(credit)
    assert alpha / 2 < tuned(size, credit, counted=False) <= alpha
    assert tuned(size, credit, counted=True) > alpha + 0.01


@pytest.mark.parametrize("name", ["ladder"])
def test_the_allowance_is_the_whole_tables(name: str) -> None:
    """B counts the rows set aside: a candidate that is bad on all B rows the whole table may miss, and on none of the
    hundred set aside, gets every row; one more row without an answer among those set aside takes one away."""
    marks = np.zeros((1000, 2), np.int8)
    marks[:110, 1] = BAD
    population = Population(marks, np.tile([1.0, 0.02], (1000, 1)), np.full(marks.shape, np.nan))
    task = Problem(1000, Fraction("0.9"), Fraction("0.95"), "r", ("c",), (1.0, 0.02), 7, set_aside=100)
    assert (task.promised, task.allowance) == (110, 110)
    fewer = Problem(1000, Fraction("0.9"), Fraction("0.95"), "r", ("c",), (1.0, 0.02), 7, set_aside=100, lost=60)
    assert fewer.allowance == 50
    outcomes = [simulate(get(name), each, population) for each in (task, fewer)]
    assert outcomes[0].reference_rows < outcomes[1].reference_rows
    assert outcomes[0].misses <= 110
    assert outcomes[1].misses <= 50
