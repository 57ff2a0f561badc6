"""Tables of a few rows, and odd ones: the default and `per-label` end, and say why by evidence that verifies.

Nothing here is likely: prices of nothing, of the reference's or beyond it, calls that cost something else than guessed,
models that never answer, scores that are no numbers, more rows lost before the run than may be missed at all.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import told
from odd import labelled, odd

from smart_llm import procedures
from smart_llm.certificates import checks as verifying
from smart_llm.simulation.drive import Population, simulate
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Problem, SidePromise, Traits

PRICES = st.sampled_from([0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.3, 1.0, 2.0])
"""Of a call, mostly such that even a small table can afford a pilot."""
SHARES = st.sampled_from(["0.01", "0.3", "0.5", "0.7", "0.9", "0.95", "0.99"])
SCORES = st.sampled_from([float("nan"), 0.0, 1.0, 0.0, -1e300])
ODD = settings(max_examples=150)


@st.composite
def sheets(draw: st.DrawFn, rows: int, models: int) -> Population:
    """Any marks, scores and answers that a driver can bring. Where the reference has no answer none agrees with it."""
    every = st.sampled_from([[AGREE], [BAD], [DEFER], [AGREE, BAD], [AGREE, AGREE, AGREE, BAD, DEFER]])
    columns = [draw(st.sampled_from([[AGREE], [AGREE], [AGREE, AGREE, AGREE, ERROR], [ERROR]]))]
    columns += [draw(every) for _ in range(models - 1)]
    marks = np.array([[draw(st.sampled_from(each)) for each in columns] for _ in range(rows)], np.int8)
    marks[:, 1:] = np.where((marks[:, :1] == ERROR) & (marks[:, 1:] == AGREE), BAD, marks[:, 1:])
    prices = [draw(PRICES) for _ in range(models)]
    told = draw(st.sampled_from(["none", "same", "any"]))
    score = np.full(marks.shape, {"none": np.nan, "same": 0.5, "any": 0.0}[told])
    if told == "any":
        score = np.array([[draw(SCORES) for _ in range(models)] for _ in range(rows)])
    return Population(marks, np.broadcast_to(prices, marks.shape), score, draw(st.sampled_from([None, traits(marks)])))


def traits(marks: np.ndarray) -> Traits:
    """Two labels in turn; a bad answer is the other label; a broken contract is no answer."""
    label = 1 + np.arange(len(marks))[:, None] % 2
    key = np.where(marks == AGREE, label, np.where(marks == BAD, 3 - label, 0))
    return Traits(key.astype(np.int64), np.ones(marks.shape), np.arange(len(marks), dtype=float))


@st.composite
def problems(draw: st.DrawFn, rows: int, models: int) -> Problem:
    """What may be asked for of a table of so many rows. Rates are guesses: they need not be what calls cost."""
    aside = draw(st.integers(0, 6))
    names = tuple("abcdefgh"[: models - 1])
    rates = (draw(st.sampled_from([0.0, 1.0, 1.0, 1.0])), *(draw(PRICES) for _ in names))
    return Problem(
        rows,
        Fraction(draw(SHARES)),
        Fraction(draw(SHARES)),
        "reference",
        names,
        rates,
        draw(st.integers(0, 99)),
        reserve=draw(st.integers(0, rows + 2)),
        set_aside=aside,
        lost=draw(st.integers(0, aside)),
        floor=Fraction(draw(st.sampled_from(["0", "0.5", "0.9"]))),
    )


@st.composite
def cases(draw: st.DrawFn, most: int = 12) -> tuple[Problem, Population]:
    """A table and what is asked of it."""
    rows, models = draw(st.integers(1, most)), draw(st.integers(2, 5))
    return draw(problems(rows, models)), draw(sheets(rows, models))


def with_labels(problem: Problem, people: Population, share: str, least: int) -> tuple[Problem, Population]:
    """The same with a promise for each of its two labels."""
    side = SidePromise(Fraction(share), least, (1, 2))
    return replace(problem, side=side), replace(people, traits=traits(people.marks))


def examined(name: str, problem: Problem, people: Population) -> None:
    """Runs it; fails where it crashes, where its evidence does not survive a file or does not verify, and where it
    promises something that cannot be kept."""
    run = told(name, problem, people)
    assert run.outcome is not None
    assert run.problems(run.evidence) == []
    rule = verifying.rule(run.procedure, run.evidence)
    assert bool(rule.get("tiers") or rule.get("shares")) == run.verdict.granted
    assert not run.verdict.granted or problem.promised >= problem.lost
    if not run.verdict.granted and not (people.marks[:, 0] == ERROR).any():
        assert run.outcome.misses == 0
    if run.fixed is None:  # nothing was evidence: what was handed over could not be too many
        late = int((people.marks[:, 0] == ERROR).sum())
        assert run.outcome.misses <= max(problem.promised, late)


@ODD
@given(cases())
def test_the_default(case: tuple[Problem, Population]) -> None:
    """One to twelve rows."""
    examined("ladder", *case)


@ODD
@given(cases(), SHARES, st.integers(0, 8))
def test_per_label(case: tuple[Problem, Population], share: str, least: int) -> None:
    """One to twelve rows, and two labels."""
    examined("per-label", *with_labels(*case, share, least))


@settings(max_examples=50)
@given(cases(most=150))
def test_the_default_on_more_rows(case: tuple[Problem, Population]) -> None:
    """Enough rows that most runs get beyond a pilot."""
    examined("ladder", *case)


@settings(max_examples=50)
@given(cases(most=150), SHARES, st.integers(0, 60))
def test_per_label_on_more_rows(case: tuple[Problem, Population], share: str, least: int) -> None:
    """The same with two labels."""
    examined("per-label", *with_labels(*case, share, least))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ladder", "per-label"])
def test_many_tables_of_every_sort(name: str) -> None:
    """Made-up tables of one to twelve rows, and larger ones, with candidates that are like each other in nothing."""
    made = {"ladder": odd, "per-label": labelled}[name]
    for seed in range(100):
        examined(name, *made(seed, 12))
    for seed in range(25):
        examined(name, *made(seed, 250))


# --------------------------------------------------------------------------- found once


@pytest.mark.parametrize("rows", [4, 5])
@pytest.mark.parametrize("agreement", ["0.5", "0.7", "0.9"])
def test_two_candidates_that_cost_nothing_on_four_rows(rows: int, agreement: str) -> None:
    """No ask for no rows: where all rows are asked about at once there is nothing left to lengthen a pilot by."""
    for prices, bad, seed in product([(1.0, 0.0001, 0.001), (1.0, 0.0, 0.0)], range(4), range(8)):
        rng = np.random.default_rng(seed)
        marks = np.zeros((rows, 3), np.int8)
        marks[:, 1:] = np.arange(rows)[:, None] < bad
        people = Population(marks, np.broadcast_to(prices, marks.shape), rng.normal(size=marks.shape), traits(marks))
        problem = Problem(rows, Fraction(agreement), Fraction("0.7"), "r", ("a", "b"), prices, seed)
        for task in (problem, replace(problem, confidence=Fraction("0.99"))):
            simulate(procedures.get("ladder"), task, people)


@pytest.mark.parametrize("lost", [40, 110, 140, 151, 200])
def test_rows_set_aside_without_an_answer_leave_nothing_to_promise(lost: int) -> None:
    """Of 1,500 rows 150 may be missed, and 500 were set aside, so many of them without an answer; 50 misses are kept
    for late ones. Whatever is promised per label, all misses together are no more than 150 or nothing is granted."""
    marks = np.zeros((1000, 2), np.int8)
    marks[[17, 400, 803], 1] = BAD
    people = Population(marks, np.broadcast_to((1.0, 0.001), marks.shape), np.full(marks.shape, np.nan))
    task = Problem(
        1000, Fraction("0.9"), Fraction("0.95"), "r", ("a",), (1.0, 0.001), 3, reserve=50, set_aside=500, lost=lost
    )
    task, people = with_labels(task, people, "0.5", 50)
    outcome = simulate(procedures.get("per-label"), task, people)
    assert outcome.verdict.granted == (lost <= 140)
    assert not outcome.verdict.granted or lost + outcome.misses <= 150
