"""The boundary tables of cascades and labels are what they say, and their controls are caught."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from smart_llm.simulation.drive import simulate
from smart_llm.types import BAD, DEFER, ERROR


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The two benchmarks, as scripts of their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
        yield {name: importlib.import_module(name) for name in ("cascades", "per_label")}


@pytest.mark.parametrize("kind", ["top", "trap", "cliff", "best10", "best50", "anti", "groups", "tied", "lost"])
def test_cascade_tables_have_exactly_the_bad_rows_they_say(scripts: dict[str, ModuleType], kind: str) -> None:
    """D bad rows, and where there is a tail the least sure fifth besides; places and ties as the kind says."""
    cell = scripts["cascades"].Cell(kind, 1000, "1.3", 2)
    people = scripts["cascades"].table(cell, 5)
    for j in (1, 2):
        order = np.argsort(-people.score[:, j], kind="stable")
        bad = people.marks[order, j] == BAD
        tail = kind in ("trap", "cliff", "best10", "groups", "lost")
        extra = bad.sum() - 65 - 200 * tail  # a row that is lost to one candidate's adversary is bad for the other, too
        assert 0 <= extra <= (13 if kind == "lost" else 0)
        assert not tail or bad[-200:].all()
        assert bad[:65].all() == (kind in ("top", "trap", "lost"))
        assert len(np.unique(people.score[:, j])) == {"groups": 5, "tied": 1}.get(kind, 1000)
    lost = int((people.marks[:, 0] == ERROR).sum())
    assert 13 < lost <= 26 if kind == "lost" else lost == 0


def test_deferring_tables_keep_their_bad_rows(scripts: dict[str, ModuleType]) -> None:
    """Broken contracts and missing scores take good rows only: the adversary loses none of its own."""
    people = scripts["cascades"].table(scripts["cascades"].Cell("defers", 2000, "+1"), 1)
    bad, silent = people.marks[:, 1] == BAD, np.isnan(people.score[:, 1])
    assert bad.sum() == 101 + 400
    assert not (bad & silent).any()
    assert silent.any()
    assert (people.marks[:, 1] == DEFER).sum() > 400


@pytest.mark.parametrize(
    ("name", "kind", "count"), [("greedy", "trap", 1), ("choosing", "trap", 4), ("whole-tie", "tied", 1)]
)
def test_each_control_breaks_what_the_look_keeps(
    scripts: dict[str, ModuleType], name: str, kind: str, count: int
) -> None:
    """A credit too many, a candidate chosen by the look, a whole tie: too many violations; the plain look has few."""
    cell = scripts["cascades"].Cell(kind, 1000, "1.3", count)
    broken, kept = (scripts["cascades"].chunk((cell, each, 0, 200))["total"][0] for each in (name, "look"))
    assert broken > 17 > kept


def test_finished_pieces_are_not_run_again(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    """What --parts keeps is taken from there, and gives the same figures."""
    cascades: Any = scripts["cascades"]
    args = type("Args", (), {"parts": tmp_path / "parts.jsonl", "jobs": 1})
    work = [(cascades.Cell("trap", 500, "+1"), "look", 0, 200)]
    first = cascades.measured(work, args)
    assert len(args.parts.read_text().splitlines()) == 2
    assert cascades.measured(work, args) == first
    assert len(args.parts.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("kind", "rare"), [("one", (0.1,)), ("several", (0.15,) * 3), ("table", (0.1,)), ("alone", (0.3,))]
)
def test_label_tables_stand_at_their_boundary(
    scripts: dict[str, ModuleType], kind: str, rare: tuple[float, ...]
) -> None:
    """Every rare label has one bad row more than it may; with `table` the whole table as well."""
    cell = scripts["per_label"].Cell(kind, 2000, rare, 1.0, "random", "0.05" if kind == "table" else "0.15")
    people = scripts["per_label"].table(cell, 3)
    bad, label = people.marks[:, 1] == BAD, people.traits.key[:, 0]
    for key, share in enumerate(rare, 2):
        assert (label == key).sum() == round(share * 2000)
        assert bad[label == key].sum() == round(0.2 * share * 2000) + 1
    assert bad.sum() == 101 or kind != "table"
    assert bad[label == 1].any() == (kind != "alone")


def test_the_two_looks_stop_at_the_same_row(scripts: dict[str, ModuleType]) -> None:
    """The look written again in the benchmark, and the default forced to its look, deliver the same rows when they
    happen to look at the same ones: whatever stands before the (credit + 1)-th bad row of the look."""
    cascades: Any = scripts["cascades"]
    cell = cascades.Cell("groups", 1000, "1.3")
    for seed in range(5):
        people = cascades.table(cell, seed)
        problem, _ = cascades.pose(people.marks, cascades.prices(cell), cell.disagreement, seed)
        outcome = simulate(cascades.routed, problem, people)
        evidence = outcome.verdict.evidence
        rows = outcome.verdict.profiled[evidence["pilot"] :]
        answers = people.answer(cascades.Ask(rows, (0, 1), "profile"))
        stop = cascades.walk(replace(problem), answers, rows, 1, evidence["credit_left"])
        assert (None if stop is None else [0, *stop]) == evidence["stop"]  # in the first and only tier
