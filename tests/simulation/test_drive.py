"""The drivers: every call is paid once, deferred rows reach the reference, a procedure sees only what it asked for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from smart_llm.simulation.drive import Population, simulate
from smart_llm.types import AGREE, BAD, DEFER, ERROR, NOT_ASKED, Answers, Ask, Conversation, Mix, Problem, Verdict

PRICES = np.array([1.0, 0.25])


def population(marks: list[int], reference: list[int] | None = None) -> Population:
    """One candidate with these marks; prices 1 and 1/4."""
    table = np.stack([np.array(reference or [AGREE] * len(marks)), np.array(marks)], axis=1).astype(np.int8)
    return Population(table, np.broadcast_to(PRICES, table.shape), np.full(table.shape, np.nan))


def problem(rows: int) -> Problem:
    """A problem of that size."""
    return Problem(rows, Fraction(9, 10), Fraction(19, 20), "big", ("cheap",), (1.0, 0.25), 0)


def asking(rows: list[int], models: tuple[int, ...], share: int, seen: list[Answers] | None = None) -> object:
    """A procedure that asks about some rows twice, then hands `share` rows to the candidate in file order."""

    def procedure(problem: Problem) -> Conversation:
        positions = np.array(rows, dtype=np.int64)
        for _ in range(2):
            answers = yield Ask(positions, models, "profiling")
            if seen is not None:
                seen.append(answers)
        return Verdict(True, Mix(((1, share),), order="file"), positions, "test", {})

    return procedure


def test_every_call_is_paid_once() -> None:
    """Rows asked about twice, and delivered later, cost one call of each model asked."""
    outcome = simulate(asking([0, 1], (0, 1), 3), problem(6), population([AGREE] * 6))  # type: ignore[arg-type]
    assert outcome.cost == 2 * 1.25 + 3 * 0.25 + 1 * 1.0
    assert (outcome.profiled, outcome.reference_rows) == (2, 3)
    assert outcome.delivered_by.tolist() == [0, 0, 1, 1, 1, 0]


def test_a_broken_contract_is_paid_and_goes_to_the_reference() -> None:
    """A deferred row costs both calls, is the reference's, and is no miss."""
    outcome = simulate(asking([0], (0, 1), 2), problem(3), population([AGREE, DEFER, AGREE]))  # type: ignore[arg-type]
    assert outcome.cost == 1.25 + 1.25 + 0.25
    assert (outcome.misses, outcome.delivered_by.tolist()) == (0, [0, 0, 1])


def test_bad_and_error_rows_are_misses_where_delivered() -> None:
    """A bad row counts when the candidate answers it; an error row counts whoever answers."""
    table = population([BAD, BAD, BAD, AGREE], [AGREE, AGREE, ERROR, AGREE])
    assert simulate(asking([0], (0, 1), 1), problem(4), table).misses == 2  # type: ignore[arg-type]


def test_a_procedure_sees_only_what_it_asked_for() -> None:
    """Models not asked show neither mark nor price; without the reference only a broken contract shows."""
    seen: list[Answers] = []
    simulate(asking([0, 1], (1,), 0, seen), problem(2), population([BAD, DEFER]))  # type: ignore[arg-type]
    assert seen[0].marks.tolist() == [[NOT_ASKED, NOT_ASKED], [NOT_ASKED, DEFER]]
    assert seen[0].cost.tolist() == [[0.0, 0.25], [0.0, 0.25]]
