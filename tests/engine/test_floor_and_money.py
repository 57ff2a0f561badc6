"""Candidates that are mostly wrong are not delivered, and those that talk do not make a run expensive: live runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.types import Answer, Request, Usage
from tests.engine.test_run import BIG, SMALL, answering, providers, rows, run


def delivered_by_small(done: smart.Run) -> int:
    """Rows that the candidate answers."""
    return sum(row["answered_by"] == "fake:small" for row in done.table)


@pytest.mark.parametrize("agreement", ["0.5", "0.8"])
def test_a_candidate_that_is_never_right_is_never_delivered(tmp_path: Path, agreement: str) -> None:
    """Half of the rows, or a fifth, may differ; a model that says the opposite of everything gets none of them."""
    given = providers(small=answering(1.0))
    done = run(rows(1000), tmp_path, candidates=[SMALL], agreement=agreement, providers=given)
    assert delivered_by_small(done) == 0
    assert done.cost <= 1.05 * done.certificate.cost["reference_only"]


def test_the_floor_raises_the_bar(tmp_path: Path) -> None:
    """A candidate that agrees on seven rows of ten is delivered at agreement .6, but not under a floor of .8; the
    certificate says how it agreed on rows like those it was given."""
    given: dict[str, Any] = {"candidates": [SMALL], "agreement": "0.6", "providers": providers(small=answering(0.3))}
    usual = run(rows(1000), tmp_path, **given)
    assert delivered_by_small(usual) > 300
    assert "like the rows that fake:small answers: it agreed on" in usual.certificate.text()
    picky = run(rows(1000), tmp_path, **given, floor="0.8")
    assert delivered_by_small(picky) == 0
    assert picky.certificate.claim["floor"] == "0.8"
    for done in (usual, picky):
        assert smart.verify(done.certificate, done.ledger) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"floor": "0.3"}, "at least 0.5"),
        ({"floor": "much"}, "not a number"),
        ({"floor": 0.8, "procedure": "smart/2024"}, "kept as it was published"),
    ],
)
def test_a_floor_that_cannot_be_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    """Below one half, no number, or with the published procedure: a sentence, and nothing is spent."""
    given = providers()
    with pytest.raises(smart.InputError, match=says):
        run(rows(50), tmp_path, **options, providers=given)
    assert sum(each.calls for each in given.values()) == 0


def talking(tokens: int, error: float) -> smart.FakeProvider:
    """A model whose short answers are billed as so many tokens."""
    answer = answering(error, "small")

    def said(request: Request) -> Answer:
        return Answer(answer(request), usage=Usage(input_tokens=20, output_tokens=tokens))

    return smart.FakeProvider(said)


@pytest.mark.parametrize("tokens", [300, 1000, 3000])
def test_a_candidate_that_talks_is_found_out_at_once(tmp_path: Path, tokens: int) -> None:
    """A candidate at a tenth of the price that is billed for far more tokens than guessed: the run costs at most 5 %
    more than the reference alone, however good its answers are."""
    given = {**providers(), "fake:big": talking(5, 0.0), "fake:small": talking(tokens, 0.01)}
    given["fake:big"] = smart.FakeProvider(answering(0.0))
    done = run(rows(1500), tmp_path, reference=BIG, candidates=[SMALL], providers=given)
    assert done.cost <= 1.05 * done.certificate.cost["reference_only"]
    assert smart.verify(done.certificate, done.ledger) == []


@pytest.mark.parametrize("count", [250, 330])
def test_a_few_very_long_rows_keep_no_candidate_from_being_tried(tmp_path: Path, count: int) -> None:
    """What a call may cost at most is reckoned for a row drawn at random, as what the reference's costs is: one row
    in fifty with 30,000 characters leaves a good candidate at a tenth of the price as good as it was."""
    table = rows(count)
    for row in table[::50]:
        row["text"] += " and so on" * 3000
    done = run(table, tmp_path, reference=BIG, candidates=[SMALL], providers=providers(small=answering(0.01)))
    assert delivered_by_small(done) > count / 2
    assert done.saving > 1.5
