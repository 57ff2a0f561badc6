"""The best mix with everything known: against a solver, and in cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from smart_llm.stats.hindsight import best_mix

shares = st.floats(0, 1, allow_subnormal=False).map(lambda x: round(x, 3))
models = st.lists(st.tuples(shares, shares), min_size=1, max_size=5)


@given(models, shares)
def test_best_mix_equals_the_linear_program(candidates: list[tuple[float, float]], allowed: float) -> None:
    """Trying all pairs reaches the optimum a linear-programming solver finds."""
    cost, misses = [1.0, *(c for c, _ in candidates)], [0.0, *(m for _, m in candidates)]
    solved = linprog(cost, A_ub=[misses], b_ub=[allowed], A_eq=[np.ones(len(cost))], b_eq=[1])
    assert best_mix(cost, misses, allowed) == pytest.approx(solved.fun, abs=1e-6)


def test_two_candidates_can_beat_one() -> None:
    """A bold cheap model and a safe dear one together undercut each of them with the reference."""
    cost, misses = [1.0, 0.2, 0.1], [0.0, 0.1, 0.4]
    assert best_mix(cost, misses, 0.2) == pytest.approx(0.2 * 2 / 3 + 0.1 / 3)
    assert best_mix(cost[:2], misses[:2], 0.2) == pytest.approx(0.2)


def test_a_candidate_dearer_than_the_reference_is_never_used() -> None:
    """With only dear candidates the reference does everything."""
    assert best_mix([1.0, 1.5], [0.0, 0.0], 0.1) == 1.0
    assert best_mix([1.0, 1.5], [0.0, 0.1], 0.05) == 1.0


def test_reference_only_where_nothing_is_feasible() -> None:
    """When even the reference misses too much, its own cost is what is left."""
    assert best_mix([1.0, 0.1], [0.2, 0.3], 0.1) == 1.0
