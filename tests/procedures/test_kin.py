"""What ways of one model are believed to do: the sampler has the posterior of the model that `kin` describes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import betaln

from smart_llm.procedures.ladder.kin import HARD, LUCK, Shown, astray, bad_rates
from smart_llm.types import AGREE, BAD, DEFER, NOT_ASKED, Floats

TABLES = (
    [[AGREE, BAD], [AGREE, AGREE], [BAD, BAD], [AGREE, AGREE]],
    [[AGREE, NOT_ASKED], [BAD, NOT_ASKED], [AGREE, NOT_ASKED]],
    [[BAD, BAD], [BAD, AGREE], [BAD, BAD]],
    [[DEFER, AGREE], [AGREE, AGREE], [AGREE, BAD], [AGREE, AGREE], [AGREE, BAD]],
)


def exactly(shown: Shown) -> Floats:
    """Posterior means by adding up every way in which rows may be hard."""
    known = ~np.isnan(shown.bad)
    wrong, right = np.nan_to_num(shown.bad) * known, (1 - np.nan_to_num(shown.bad)) * known
    total, mean = 0.0, np.zeros(len(shown.astray))
    for rows in product((0, 1), repeat=len(shown.bad)):
        hard = np.array(rows)
        share = HARD[0] + hard.sum(), HARD[1] + (1 - hard).sum()
        luck = LUCK[0] + hard @ right, LUCK[1] + hard @ wrong
        lost = 1 + (1 - hard) @ wrong, 1 / shown.astray - 1 + (1 - hard) @ right
        logs = betaln(*share) - betaln(*HARD) + (betaln(*luck) - betaln(*LUCK)).sum()
        weight = np.exp(logs + (betaln(*lost) - betaln(1, 1 / shown.astray - 1)).sum())
        p, lucky, misled = (each[0] / (each[0] + each[1]) for each in (share, luck, lost))
        mean += weight * (p * (1 - lucky) + (1 - p) * misled)
        total += weight
    return mean / total


@pytest.mark.parametrize("marks", TABLES)
def test_draws_have_the_exact_posterior_mean(marks: list[list[int]]) -> None:
    """By enumeration of which rows are hard; an answer that is missing or breaks the contract counts for nothing."""
    shown = Shown.of(np.array(marks, np.int8), (1.0, 8.0), (0.2, 0.05))
    means = np.mean([bad_rates(shown, seed).mean(axis=0) for seed in range(6)], axis=0)
    assert means == pytest.approx(exactly(shown), abs=0.02)


def test_of_two_ways_with_as_many_rows_in_a_call_the_cheaper_one_is_doubted_more() -> None:
    """It is told or shown less; and a larger pack is doubted more than a smaller one, whatever it costs."""
    dear, cheap, packed, larger = astray((1.0, 1.0, 8.0, 32.0), (0.2, 0.1, 0.05, 0.03)).tolist()
    assert dear < cheap
    assert dear < packed < larger


def test_what_one_way_shows_tells_about_another() -> None:
    """A way that nobody asked about is expected to do about as its kin did: well, or badly."""
    for mark, low, high in ((AGREE, 0.0, 0.1), (BAD, 0.7, 1.0)):
        marks = np.array([[mark, NOT_ASKED]] * 30, np.int8)
        assert low < bad_rates(Shown.of(marks, (1.0, 8.0), (0.2, 0.05)), 1)[:, 1].mean() < high
