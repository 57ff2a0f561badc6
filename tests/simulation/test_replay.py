"""Replay: the figures' names and meanings, what it refuses, and that it depends on nothing but the seed."""

from __future__ import annotations

import json
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from forks import ran

from smart_llm.errors import InputError
from smart_llm.simulation import replay as engine
from smart_llm.simulation.drive import Population
from smart_llm.simulation.recorded import load
from smart_llm.types import AGREE, BAD, DEFER, ERROR

FIELDS = [
    "rows",
    "trials",
    "procedure",
    "reference",
    "candidates",
    "agreement",
    "confidence",
    "cost_ratio_mean",
    "cost_ratio_max",
    "saving",
    "violations",
    "violation_rate_upper",
    "agreement_mean",
    "agreement_min",
    "profiled_mean",
    "reference_share_mean",
    "certified_runs",
    "hindsight_cost_ratio",
    "seconds_per_trial",
]


def recorded(rows: int = 200) -> pl.DataFrame:
    """A small recorded table: `cheap` differs on every tenth row and has no answer on row 3."""
    lines = []
    for i in range(rows):
        truth = ["a", "b", "c"][i % 3]
        cheap = None if i == 3 else "x" if i % 10 == 0 else truth
        lines.append(("big", i, truth, 1.0, None))
        lines.append(("cheap", i, cheap, 0.1, 0.5))
        lines.append(("odd", i, "a", 0.05, None))
    return pl.DataFrame(
        [{"item_id": f"r{i}", "model": m, "answer": a, "cost_usd": c, "score": s} for m, i, a, c, s in lines],
        infer_schema_length=None,
    )


def test_json_fields_are_exactly_those_of_the_interface() -> None:
    """`to_json` has the contract's names, in its order, with plain JSON values."""
    figures = engine.replay(
        recorded(), reference="big", agreement="0.9", confidence="0.95", procedure="reference-only", trials=2
    ).to_json()
    assert list(figures) == FIELDS
    assert all(isinstance(value, int | float | str | list) for value in figures.values())
    assert figures["candidates"] == ["cheap", "odd"]


def test_reference_only_costs_one_and_agrees_everywhere() -> None:
    """The baseline: ratio 1, saving 1, no violation, every row the reference's."""
    figures = engine.replay(
        recorded(), reference="big", agreement=0.9, confidence=0.95, procedure="reference-only", trials=60
    )
    assert (figures.cost_ratio_mean, figures.saving, figures.agreement_min) == (1.0, 1.0, 1.0)
    assert (figures.violations, figures.certified_runs, figures.reference_share_mean) == (0, 0, 1.0)
    assert figures.violation_rate_upper == pytest.approx(1 - 0.05 ** (1 / 60))


def test_marks_say_agree_bad_defer_error() -> None:
    """No answer of a candidate defers; no answer of the reference is an error, and bad for who answers there."""
    lines = recorded().with_columns(
        answer=pl.when((pl.col("model") == "big") & (pl.col("item_id") == "r5")).then(None).otherwise("answer")
    )
    marks = load(lines, reference="big").population.marks
    assert marks[3, 1] == DEFER
    assert marks[10, 1] == BAD
    assert marks[11, 1] == AGREE
    assert (marks[5, 0], marks[5, 1], marks[4, 0]) == (ERROR, BAD, AGREE)


def test_rows_without_an_answer_are_set_aside_from_the_allowance() -> None:
    """A recorded table's error rows are known, and leave the allowance before any procedure sees it."""
    lines = recorded().with_columns(
        answer=pl.when((pl.col("model") == "big") & (pl.col("item_id") == "r5")).then(None).otherwise("answer")
    )
    problem = engine.pose(load(lines, reference="big"), engine.share("-", "0.9"), engine.share("-", "0.95"), 0)
    assert (problem.reserve, problem.allowance) == (1, 19)


def test_equivalence_may_be_the_callers() -> None:
    """An equivalence argument replaces equality of strings."""
    loose = load(recorded(), reference="big", equivalent=lambda a, b: a == b or a == "x").population.marks
    assert not (loose[:, 1] == BAD).any()
    assert loose[3, 1] == DEFER


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "jsonl"])
def test_every_format_reads_the_same(tmp_path: Path, ending: str) -> None:
    """Parquet, CSV, TSV and JSONL give the same population, missing answers included."""
    path = tmp_path / f"table.{ending}"
    lines = recorded()
    writers = {"parquet": lines.write_parquet, "csv": lines.write_csv, "jsonl": lines.write_ndjson}
    writers["tsv"] = lambda p: lines.write_csv(p, separator="\t")
    writers[ending](path)
    here, there = load(path, reference="big"), load(lines, reference="big")
    np.testing.assert_array_equal(here.population.marks, there.population.marks)
    np.testing.assert_array_equal(here.population.score, there.population.score)
    assert here.items == there.items


def test_answers_written_as_json_numbers_are_text(tmp_path: Path) -> None:
    """A JSONL file whose answers are numbers is read as if they were quoted."""
    path = tmp_path / "numbers.jsonl"
    lines = ['{"item_id": 1, "model": "big", "answer": 42, "cost_usd": 1}']
    lines += ['{"item_id": 1, "model": "cheap", "answer": "42", "cost_usd": 0.1}']
    path.write_text("\n".join(lines))
    assert load(path, reference="big").population.marks[0, 1] == AGREE


def without(column: str) -> pl.DataFrame:
    """The table with one column less."""
    return recorded().drop(column)


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (without("answer"), {}, "no column answer"),
        (without("cost_usd"), {}, "no column cost_usd"),
        (recorded(), {"reference": "huge"}, "reference='huge': not in the recorded table; it has big, cheap, odd"),
        (recorded(), {"candidates": ["tiny"]}, "candidates: tiny: not in the recorded table"),
        (recorded(), {"candidates": ["big"]}, "this is the reference"),
        (recorded(), {"candidates": ["odd", "odd"]}, "given twice"),
        (recorded().filter(pl.col("model") == "big"), {}, "no candidate"),
        (recorded()[:-1], {}, "item r199 lacks an answer of odd"),
        (pl.concat([recorded(), recorded()[:1]]), {}, "item r0 has big more than once"),
        (recorded()[:0], {}, "it has no rows"),
        (recorded().with_columns(cost_usd=-pl.col("cost_usd")), {}, "no valid cost_usd"),
        (recorded().with_columns(cost_usd=pl.lit("much")), {}, "much"),
        (recorded().with_columns(item_id=pl.lit(None, pl.String)), {}, "no item_id"),
        (recorded().with_columns(cost_usd=pl.lit(0.0)), {}, "cost nothing"),
        (recorded(), {"agreement": "1.0"}, "agreement=1.0"),
        (recorded(), {"agreement": "much"}, "agreement='much': not a number"),
        (recorded(), {"confidence": 0}, "confidence=0"),
        (recorded(), {"confidence": "nan"}, "confidence=nan"),
        (recorded(), {"trials": 0}, "trials=0"),
        (recorded(), {"procedure": "magic"}, "no such procedure"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(lines: pl.DataFrame, options: dict[str, object], message: str) -> None:
    """Whatever cannot be used is an InputError that names the option, the item or the models there are."""
    given = {"reference": "big", "agreement": "0.9", "confidence": "0.95", "procedure": "reference-only", **options}
    with pytest.raises(InputError) as caught:
        engine.replay(lines, **given)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize("name", ["table.odd", "absent.csv"])
def test_unreadable_paths_are_refused(tmp_path: Path, name: str) -> None:
    """An unknown ending and a missing file are named."""
    with pytest.raises(InputError, match=name):
        load(tmp_path / name, reference="big")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    """A file that is not what its ending says is the user's mistake, not a traceback."""
    (tmp_path / "broken.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        load(tmp_path / "broken.parquet", reference="big")


def test_agreement_is_the_decimal_the_user_wrote() -> None:
    """0.9 of 10 rows leaves exactly one miss, which binary floating point would round away."""
    table = load(recorded(10), reference="big")
    assert engine.pose(table, engine.share("-", 0.9), engine.share("-", "0.95"), 0).allowance == 1


def test_hidden_scores_are_hidden() -> None:
    """Without scores every score is NaN; marks and costs stay."""
    population = Population(np.zeros((2, 2), np.int8), np.ones((2, 2)), np.ones((2, 2)))
    assert np.isnan(engine.without_scores(population).score).all()


def test_hindsight_is_the_cheapest_mix_that_just_agrees() -> None:
    """With 5 % allowed and 10 % bad, half the rows go to `cheap`, whose deferred row is paid twice."""
    figures = engine.replay(
        recorded(), reference="big", candidates=["cheap"], agreement="0.95", confidence=0.9, procedure="reference-only"
    )
    part = 0.05 / 0.1
    assert figures.hindsight_cost_ratio == pytest.approx(part * (0.1 + 1 / 200) + 1 - part)


@pytest.mark.parametrize(
    ("encoding", "separator"), [("cp1252", ";"), ("utf-8", "\t"), ("utf-16", ","), ("utf-8-sig", ";")]
)
def test_recorded_answers_are_read_as_tables_are(tmp_path: Path, encoding: str, separator: str) -> None:
    """Semicolons, other encodings, decimal commas, an empty answer: the same figures as from the frame, and what was
    guessed is said."""
    lines = recorded().with_columns(answer=pl.col("answer").str.replace("x", "Größe"))
    path = tmp_path / "r.csv"
    text = lines.write_csv(separator=separator)
    if separator == ";":
        text = re.sub(r"(\d)\.(\d)", r"\1,\2", text)
    path.write_bytes(text.encode(encoding))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        there = engine.replay(path, reference="big", agreement="0.9")
    here = engine.replay(lines, reference="big", agreement="0.9")
    assert replace(there, seconds_per_trial=0) == replace(here, seconds_per_trial=0)
    assert any("--encoding" in str(each.message) for each in told) == (encoding == "cp1252")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert engine.replay(path, reference="big", agreement="0.9", encoding=encoding).rows == 200


def test_the_command_reads_them_too(tmp_path: Path) -> None:
    """`smart replay --encoding` of a semicolon-separated file in another encoding."""
    path = tmp_path / "r.csv"
    path.write_bytes(recorded().write_csv(separator=";").encode("cp1252"))
    words = ["replay", str(path), "--reference", "big", "--encoding", "cp1252", "--json"]
    done = ran([sys.executable, "-m", "smart_llm", *words])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 200
    assert done.stderr.splitlines() == ["smart: r.csv: cells are separated by ';'."]
