"""The published system: its known behaviour, its two repaired slips, and the faults it is documented to have."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from smart_llm import procedures
from smart_llm.procedures import smart_2024
from smart_llm.simulation.drive import Outcome, Population, simulate
from smart_llm.types import AGREE, BAD, DEFER, Marks, Mix, Problem

ALL = ("smart/2024:profile-all", "smart/2024:profile-smart", "smart/2024:model-mix")


def problem(rows: int, agreement: str, prices: tuple[float, ...], confidence: str = "0.95") -> Problem:
    """Reference `big` and one candidate per further price."""
    names = tuple(f"m{j}" for j in range(1, len(prices)))
    return Problem(rows, Fraction(agreement), Fraction(confidence), "big", names, prices, 0)


def run(name: str, given: Problem, marks: Marks) -> Outcome:
    """One run; marks of the candidates, shape (N, m)."""
    table = np.column_stack([np.full(len(marks), AGREE, np.int8), marks]).astype(np.int8)
    population = Population(table, np.broadcast_to(given.rates, table.shape), np.full(table.shape, np.nan))
    return simulate(procedures.get(name), given, population)


def independent(rows: int, rates: list[float], seed: int) -> Marks:
    """Each candidate bad on every row with its own chance."""
    rng = np.random.default_rng(seed)
    return np.column_stack([np.where(rng.random(rows) < rate, BAD, AGREE) for rate in rates]).astype(np.int8)


@pytest.mark.parametrize("name", ALL)
def test_a_candidate_that_always_agrees_is_kept(name: str) -> None:
    """Zero variance repaired: 100 of 100 agreements go on to be accepted (73 rows reach .95 at the two-sided limit)."""
    outcome = run(name, problem(5000, "0.97", (1.0, 0.1)), np.zeros((5000, 1), np.int8))
    assert outcome.verdict.granted
    assert outcome.profiled == 130
    assert outcome.cost == pytest.approx(130 * 1.1 + 4870 * 0.1)


def test_acceptance_is_at_the_first_look_whose_lower_limit_reaches_the_target() -> None:
    """All agreeing at .80: .025^(1/10) = .69 is not enough after ten rows, .025^(1/20) = .83 after twenty is."""
    outcome = run("smart/2024:profile-all", problem(1000, "0.8", (1.0, 0.1)), np.zeros((1000, 1), np.int8))
    assert outcome.profiled == 20


def test_a_hopeless_candidate_is_invalid_after_ten_rows_and_all_goes_to_the_reference() -> None:
    """Ten disagreements rule a candidate out; nothing more is profiled."""
    outcome = run("smart/2024:profile-smart", problem(1000, "0.9", (1.0, 0.1)), np.full((1000, 1), BAD, np.int8))
    assert (outcome.profiled, outcome.verdict.granted, outcome.reference_rows) == (10, False, 1000)
    assert outcome.cost == pytest.approx(1000 + 10 * 0.1)


def test_the_mix_spends_the_allowance_even_on_a_hopeless_candidate() -> None:
    """With lower limit 0 a candidate still gets the share of rows that may all be wrong: the published rule."""
    outcome = run("smart/2024:model-mix", problem(1000, "0.9", (1.0, 0.1)), np.full((1000, 1), BAD, np.int8))
    assert (outcome.profiled, outcome.misses) == (10, 100)


def test_a_dearer_candidate_is_no_longer_called_once_a_cheaper_one_satisfies() -> None:
    """The second candidate stops being profiled when the first is accepted, and is dropped."""
    marks = np.zeros((1000, 2), np.int8)
    marks[:5, 1] = BAD
    outcome = run("smart/2024:profile-all", problem(1000, "0.8", (1.0, 0.1, 0.5)), marks)
    models = {each["model"]: each for each in outcome.verdict.evidence["models"]}
    assert (models["m1"]["standing"], models["m2"]["standing"]) == ("satisfied", "dropped")
    assert (outcome.profiled, models["m2"]["calls"]) == (20, 20)


def test_a_candidate_dearer_than_the_reference_is_never_called() -> None:
    """Nothing is asked when no candidate is cheaper."""
    outcome = run("smart/2024", problem(100, "0.5", (1.0, 2.0)), np.zeros((100, 1), np.int8))
    assert (outcome.profiled, outcome.cost) == (0, 100.0)


def test_early_termination_gives_up_where_profiling_cannot_pay() -> None:
    """A candidate on the line is profiled to the end by profile-all, and given up by profile-smart."""
    marks = np.zeros((2000, 1), np.int8)
    marks[4::20] = BAD
    given = problem(2000, "0.95", (1.0, 0.3))
    assert run("smart/2024:profile-all", given, marks).profiled == 2000
    assert run("smart/2024:profile-smart", given, marks).profiled < 1000


def test_the_mix_counts_the_rows_profiled_towards_the_target() -> None:
    """A given-up candidate with limit a takes the share that meets the target left for the rows not profiled."""
    marks = np.zeros((2000, 1), np.int8)
    marks[4::20] = BAD
    outcome = run("smart/2024:model-mix", problem(2000, "0.95", (1.0, 0.3)), marks)
    (share,) = outcome.verdict.evidence["shares"]
    left = 2000 - outcome.profiled
    needed = (0.95 * 2000 - outcome.profiled) / left
    assert share["level"] == 0.95
    assert share["rows"] == int((1 - needed) / (1 - share["lower"]) * left)
    assert outcome.verdict.rule == Mix(((1, share["rows"]),), order="file")


def test_unit_costs_are_per_own_call() -> None:
    """A candidate ruled out after ten rows is not made to look cheap by rows it was never asked about."""
    marks = np.zeros((1000, 2), np.int8)
    marks[:10, 0] = BAD
    marks[13::14, 1] = BAD
    outcome = run("smart/2024", problem(1000, "0.9", (1.0, 0.1, 0.2)), marks)
    models = {each["model"]: each for each in outcome.verdict.evidence["models"]}
    assert models["m1"]["calls"] == 10 < models["m2"]["calls"]
    assert (models["m1"]["price"], models["m2"]["price"]) == (pytest.approx(0.1), pytest.approx(0.2))


def test_the_expected_cost_is_the_published_formula() -> None:
    """E(k) of one candidate, written out with a plain sum for the integral."""
    state = smart_2024.State(
        problem(1000, "0.9", (1.0, 0.2)),
        np.array([100, 100]),
        np.array([100, 93]),
        np.array([100.0, 20.0]),
        ("satisfied", "unknown"),
        100,
    )
    from scipy.stats import binom, norm

    x = (np.arange(20000) + 0.5) / 20000
    needed = next(h for h in range(201) if binom.sf(h - 1, 164, 0.9) <= 0.025) - 93
    q = (binom.sf(needed - 1, 64, x) * norm.pdf(x, 0.93, np.sqrt(0.93 * 0.07 / 100))).mean()
    by_hand = 64 * 1.2 + (900 - 64) * (0.2 * q + 1.0 * (1 - q))
    assert smart_2024.expected_cost(state, np.array([64]))[0] == pytest.approx(by_hand, rel=1e-6)


def test_two_candidates_share_the_confidence() -> None:
    """Where mixing two candidates is cheapest, their levels multiply to at least the confidence."""
    shares = run(
        "smart/2024",
        problem(20000, "0.9", (1.0, 0.05, 0.1)),
        independent(20000, [0.15, 0.02], 3),
    ).verdict.evidence["shares"]
    assert len(shares) == 2
    assert Fraction(str(shares[0]["level"])) * Fraction(str(shares[1]["level"])) >= Fraction("0.95")
    mean = sum(share["rows"] * share["lower"] for share in shares) / sum(share["rows"] for share in shares)
    assert mean >= 0.9 - 0.01


def test_a_confidence_above_the_published_levels_leaves_no_mix() -> None:
    """The grid of levels ends at .99: beyond it the mix sends everything to the reference."""
    outcome = run("smart/2024", problem(3000, "0.9", (1.0, 0.1), "0.995"), np.zeros((3000, 1), np.int8))
    assert not outcome.verdict.granted


def test_broken_contracts_count_as_disagreements() -> None:
    """A candidate that always breaks the contract is ruled out like one that always disagrees."""
    outcome = run("smart/2024", problem(200, "0.9", (1.0, 0.1)), np.full((200, 1), DEFER, np.int8))
    assert (outcome.profiled, outcome.misses) == (10, 0)


@pytest.mark.parametrize("rows", [1, 7, 10, 25])
@pytest.mark.parametrize("name", ALL)
def test_tiny_tables_behave(name: str, rows: int) -> None:
    """Tables shorter than a batch, or no multiple of it, are profiled at most once through."""
    outcome = run(name, problem(rows, "0.9", (1.0, 0.1)), np.zeros((rows, 1), np.int8))
    assert outcome.profiled == min(rows, 40) == rows
    assert outcome.misses == 0


def test_runs_are_deterministic() -> None:
    """The same marks give the same verdict, evidence included."""
    given, marks = problem(5000, "0.93", (1.0, 0.05, 0.1)), independent(5000, [0.1, 0.06], 1)
    first, second = (run("smart/2024", given, marks).verdict for _ in range(2))
    assert first.evidence == second.evidence
    assert first.rule == second.rule


def test_the_peeking_fault_is_there() -> None:
    """A candidate exactly on the line is accepted far more often than the nominal 2.5 % (about 15 % at N = 1,000)."""
    given = problem(1000, "0.95", (1.0, 0.1))
    accepted = sum(
        run("smart/2024:profile-all", given, independent(1000, [0.05], seed)).verdict.granted for seed in range(120)
    )
    assert 9 <= accepted <= 30


@pytest.mark.parametrize("name", ALL)
def test_twelve_hundred_profiled_rows_take_under_a_second(name: str) -> None:
    """The published code takes a minute; a generous bound here, as machines are shared."""
    from time import process_time

    given, marks = problem(50000, "0.95", (1.0, 0.1)), independent(50000, [0.042], 1)
    start = process_time()
    outcome = run(name, given, marks)
    assert outcome.profiled > 1000
    assert process_time() - start < 1.0
