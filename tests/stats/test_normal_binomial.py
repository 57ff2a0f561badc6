"""The integral of the published early-termination rule: against adaptive quadrature, and at zero variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom, norm

from smart_llm.stats.clopper_pearson import least_hits, lower_limit
from smart_llm.stats.normal_binomial import chance_of_reaching


@pytest.mark.parametrize("seed", range(30))
def test_the_integral_agrees_with_adaptive_quadrature(seed: int) -> None:
    """Any bar, number of draws and width, steps far narrower than the normal density included."""
    rng = np.random.default_rng(seed)
    n, k, p = int(rng.integers(100, 20000)), 2 ** int(rng.integers(0, 17)), float(rng.choice([0.999, 0.95, 0.5, 0.01]))
    b = round(k * p + rng.normal() * 3 * np.sqrt(k * p * (1 - p)))
    sd = np.sqrt(p * (1 - p) / n)
    low, high, spread = max(0.0, p - 9 * sd), min(1.0, p + 9 * sd), np.sqrt(max(b * (k - b), k) / k**3)
    points = sorted({float(np.clip(b / k + d * spread, low, high)) for d in (-6, -2, 0, 2, 6)})
    by_quad = quad(
        lambda x: binom.sf(b - 1, k, x) * norm.pdf(x, p, sd), low, high, points=points, limit=500, epsabs=1e-9
    )[0]
    assert chance_of_reaching(b, k, p, sd) == pytest.approx(by_quad, abs=1e-6)


def test_zero_variance_is_the_limit_of_the_integral() -> None:
    """At sd 0 the value is the binomial tail at the mean, approached as the width shrinks."""
    at_zero = chance_of_reaching(60, 64, 0.95, 0.0)
    assert at_zero == pytest.approx(binom.sf(59, 64, 0.95))
    assert chance_of_reaching(60, 64, 0.95, 1e-6) == pytest.approx(float(at_zero), abs=1e-5)
    assert chance_of_reaching(64, 64, 1.0, 0.0) == 1.0
    assert chance_of_reaching(1, 64, 0.0, 0.0) == 0.0


def test_bars_below_one_and_above_all_draws() -> None:
    """Nothing needed is always reached (up to the mass inside [0, 1]); more than all draws never."""
    assert chance_of_reaching(0, 8, 0.5, 0.01) == pytest.approx(1.0)
    assert chance_of_reaching(9, 8, 0.5, 0.01) == 0.0


@pytest.mark.parametrize("target", [0.02, 0.5, 0.95, 0.998])
@pytest.mark.parametrize("side", [0.005, 0.025, 0.2])
def test_least_hits_is_where_the_lower_limit_reaches_the_target(target: float, side: float) -> None:
    """At that count the limit is there, one hit fewer it is not, at every number of draws."""
    draws = np.arange(1, 400)
    hits = least_hits(draws, target, side)
    assert ((lower_limit(hits, draws, 1 - side) >= target - 1e-12) | (hits > draws)).all()
    assert (lower_limit(hits - 1, draws, 1 - side) < target).all()
