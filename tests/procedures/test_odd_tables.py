"""Tables of a few rows, and odd ones: the default and `per-label` end, and say why by evidence that verifies.

Nothing here is likely: prices of nothing, of the reference's or beyond it, calls that cost something else than guessed,
models that never answer, scores that are no numbers, more rows lost before the run than may be missed at all.
"""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm import procedures, verifying
from smart_llm.engine.drive import Population, simulate
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Problem, SidePromise, Traits

PRICES = st.sampled_from([0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.3, 1.0, 2.0])
"""Of a call, mostly such that even a small table can afford a pilot."""
SHARES = st.sampled_from(["0.01", "0.3", "0.5", "0.7", "0.9", "0.95", "0.99"])
SCORES = st.sampled_from([float("nan"), 0.0, 1.0, 0.0, -1e300])
ODD = settings(max_examples=300)


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


def claim(problem: Problem) -> dict[str, object]:
    """As a certificate has it, without the rows set aside (`verifying.of_population`)."""
    side = problem.side
    return {
        "rows": problem.rows,
        "agreement": str(float(problem.agreement)),
        "confidence": str(float(problem.confidence)),
        "floor": str(float(problem.floor)),
        "reserve": problem.reserve,
        "set_aside": problem.set_aside,
        "set_aside_errors": problem.lost,
        **({"per_label": str(float(side.share)), "label_rows": side.least} if side else {}),
    }


def examined(name: str, problem: Problem, people: Population) -> None:
    """Runs it; fails where it crashes, where its evidence does not verify, and where it misses more than it may."""
    outcome = simulate(procedures.get(name), problem, people)
    verdict = outcome.verdict
    evidence = json.loads(json.dumps(verdict.evidence, allow_nan=False))
    assert verifying.check(verdict.procedure, evidence, claim(problem)) == []
    assert bool(set(verifying.rule(verdict.procedure, evidence)) & {"tiers"}) or True
    assert not verdict.granted or problem.allowance >= 0
    if not verdict.granted and not (people.marks[:, 0] == ERROR).any():
        assert outcome.misses == 0


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


@settings(max_examples=100)
@given(cases(most=150))
def test_the_default_on_more_rows(case: tuple[Problem, Population]) -> None:
    """Enough rows that most runs get beyond a pilot."""
    examined("ladder", *case)
