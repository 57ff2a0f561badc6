"""Evidence recomputed without the ledger: what is true passes, and no one number of it can be changed."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from forging import Path, with_value
from ledgers import Told
from msgspec.structs import replace as changed
from runs import RUNS

from smart_llm.certificates.checks import Promise, check, mix, recount, rule
from smart_llm.certificates.checks.forwards import error
from smart_llm.certificates.checks.mix_evidence import CommittedTable, Finalist, StandsAt, WorstError
from smart_llm.types import AGREE, BAD, Json


@cache
def run(name: str) -> Told:
    """Made once."""
    return RUNS[name]()


def numbers(value: Json, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """All numbers, with the way to each."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from numbers(inner, (*path, key))
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


@pytest.mark.parametrize("name", RUNS)
def test_true_evidence_passes(name: str) -> None:
    """What a procedure says of itself holds by other formulas and agrees with the ledger; its rule is the verdict's."""
    told = run(name)
    assert check(told.procedure, told.evidence, told.claim) == []
    assert recount(told.procedure, told.evidence, told.rounds, told.fixed, told.names) == []
    shown, given = rule(told.procedure, told.evidence).to_json(), told.verdict.rule
    if "tiers" in shown:
        assert [tier["stop"] and tuple(tier["stop"]) for tier in shown["tiers"]] == [tier.stop for tier in given.tiers]
        assert [tier["model"] for tier in shown["tiers"]] == [told.names[tier.candidate] for tier in given.tiers]
    else:
        shares = [(told.names.index(share["model"]), share["rows"]) for share in shown["shares"]]
        assert shares == list(getattr(given, "shares", ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_no_one_number_can_be_changed(name: str) -> None:
    """Every number of the evidence, one at a time, up or down: found out without the ledger. (Probabilities and money
    are moved by a part in a thousand; the name of a label is no number.)"""
    told = run(name)
    found = [(path, value) for path, value in numbers(told.evidence) if path[-1] != "key"]
    for path, value in found:
        whole = isinstance(value, int)
        for other in (value + 1, value - 1, value + 7) if whole else (value * 1.001 or 0.001, value * 0.999 or -0.001):
            assert check(told.procedure, with_value(told.evidence, path, other), told.claim), (path, value, other)
    assert len(found) > 10 or name == "reference-only"


@pytest.mark.parametrize("name", [name for name in RUNS if name != "reference-only"])
def test_another_claim_does_not_follow(name: str) -> None:
    """The same evidence proves nothing for another table, target or confidence, nor for another reserve."""
    told = run(name)
    rows, least = told.claim.rows, told.claim.label_rows or 0
    others = {"rows": rows + 1, "agreement": "0.995", "confidence": "0.9995", "floor": "0.999"}
    if told.claim.per_label:
        others |= {"per_label": "0.81", "label_rows": least + 1}
    if not told.procedure.startswith("smart"):
        others["reserve"] = told.claim.reserve + 1
    else:
        del others["floor"]  # the published system knows neither
    for field, value in others.items():
        assert (
            check(told.procedure, told.evidence, changed(told.claim, **{field: value})) or not told.verdict.granted
        ), field


@pytest.mark.parametrize("name", [name for name in RUNS if name != "reference-only"])
def test_another_ledger_does_not_agree(name: str) -> None:
    """Answers that were otherwise, a round more or less, rows asked twice, another design: the evidence is refused."""
    told = run(name)
    last = told.rounds[-1]
    marks = last.marks.copy()
    model = last.models[-1]
    marks[:, model] = np.where(marks[:, model] == AGREE, BAD, AGREE)
    answers = replace(last.answers, marks=marks)
    turned = replace(last, marks=marks, answers=answers)
    for rounds in ([*told.rounds[:-1], turned], told.rounds[:-1], [*told.rounds, last]):
        assert recount(told.procedure, told.evidence, rounds, told.fixed, told.names)
    again = replace(last, positions=told.rounds[0].positions[: len(last.positions)])
    assert recount(told.procedure, told.evidence, [*told.rounds[:-1], again], told.fixed, told.names)
    if told.fixed is not None:
        assert recount(told.procedure, told.evidence, told.rounds, {**told.fixed, "pilot": -1}, told.names)
        assert recount(told.procedure, told.evidence, told.rounds, None, told.names)


def test_a_bolder_table_does_not_pass() -> None:
    """Shares raised together with their sums: the error is recomputed and is not the one stated."""
    told = run("mix")
    bold = deepcopy(told.evidence)
    design = next(each for each in bold["mix"]["finalists"] if each["candidate"] == bold["mix"]["candidate"])
    for k, shares in enumerate(design["shares"]):
        design["shares"][k] = [min(r + 5, design["left"][k]) if r >= 0 else r for r in shares]
        design["sums"][k] = sum(design["shares"][k])
    stop = design["stop"]
    stop["share"] = design["shares"][stop["look"]][stop["bad"]]
    bold["mix"]["granted"] = min(stop["share"], bold["mix"]["left"])
    assert check(told.procedure, bold, told.claim)


def test_a_table_that_errs_most_between_the_places_of_a_grid_does_not_pass() -> None:
    """A forger's own table may err as it states on every grid that is tried, and far more often in between."""
    rows, allowed, looks = 5000, 250, [0, 4, 2500]
    shares = [[-1], [400, -1, -1, -1, -1], [2500] * 251]

    def table(bad: int, stated: float) -> Finalist:
        return Finalist(
            candidate="c",
            guess=0.1,
            allowance=allowed,
            looks=looks,
            left=[rows - seen for seen in looks],
            shares=shares,
            sums=[sum(each) for each in shares],
            worst=WorstError(bad=bad, good=rows - bad, error=stated),
            stop=StandsAt(look=2, seen=2500, bad=250, fine=2250, share=2500, given_up=False),
        )

    plain = CommittedTable(**{name: getattr(table(1, 0.5), name) for name in CommittedTable.__struct_fields__})
    hill = max(range(3000, 3500), key=lambda bad: error(plain, rows, bad))
    grid = np.unique(np.geomspace(allowed + 1, rows, mix.GRID).astype(int)).tolist()
    assert max(error(plain, rows, bad) for bad in grid) < error(plain, rows, hill) < 0.02
    assert error(plain, rows, 501) > 0.15
    assert mix._worst(table(hill, mix._stated(error(plain, rows, hill))), rows) != []


@pytest.mark.parametrize("evidence", [None, [], "", {}, {"mix": None}, {"mix": {}}, {"models": []}, {"granted": True}])
@pytest.mark.parametrize("procedure", ["ladder/6", "per-label/3", "smart/2024:model-mix", "ladder/1"])
def test_what_is_no_evidence_is_refused(procedure: str, evidence: Json) -> None:
    """Nothing, or something else, is named as a problem and never an exception; an empty look is the only nothing that
    `per-label` may have."""
    problems = check(procedure, evidence, Promise(rows=10, agreement="0.9", confidence="0.95", reserve=0))
    assert problems or (procedure == "per-label/3" and evidence == {})
