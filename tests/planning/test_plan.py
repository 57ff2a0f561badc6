"""A plan before paying, and pilots: nobody is asked, the figures hang together, and piloted rows are never evidence."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chance import draw
from msgspec import structs

import smart_llm as smart
from smart_llm.engine.options import Options
from smart_llm.engine.signals import wait
from smart_llm.execution import outline
from smart_llm.ledger import Reader
from smart_llm.types import Answer, Request

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
OTHER = smart.Task("Is it so? Yes or no?\n{text}", labels=["yes", "no"])
BIG, SMALL, TINY = "fake:big?in=10&out=10", "fake:small?in=1&out=1", "fake:tiny?in=0.1&out=0.1"
Answering = Callable[[Request], str | Answer | Exception]


def right(request: Request) -> str:
    """What the reference says: it follows from the row, whatever the prompt around it."""
    return "yes" if draw(request.prompt.splitlines()[-1], "truth") < 0.5 else "no"


def astray(share: float, salt: str) -> Answering:
    """A model that says the opposite on this share of the rows."""
    opposite = {"yes": "no", "no": "yes"}
    return lambda request: opposite[right(request)] if draw(request.prompt, salt) < share else right(request)


def providers(big: Answering = right, small: Answering | None = None) -> dict[str, smart.FakeProvider]:
    """A reference, a good candidate, a poor one."""
    return {
        "fake:big": smart.FakeProvider(big),
        "fake:small": smart.FakeProvider(small or astray(0.03, "small")),
        "fake:tiny": smart.FakeProvider(astray(0.4, "tiny")),
    }


def rows(count: int) -> list[dict[str, Any]]:
    """A table of texts."""
    return [{"id": i, "text": f"row {i}"} for i in range(count)]


def usual(path: Path, **options: Any) -> dict[str, Any]:
    """Arguments that a plan and a run share."""
    given: dict[str, Any] = {"reference": BIG, "candidates": [SMALL, TINY], "agreement": "0.9", "seed": 7}
    return {**given, "providers": providers(), "ledger": path / "ledger.db", **options}


def calls(given: dict[str, smart.FakeProvider]) -> int:
    """Requests that reached anybody."""
    return sum(provider.calls for provider in given.values())


def planned(path: Path, table: Any = None, task: smart.Task = TASK, **options: Any) -> smart.Plan:
    """A plan for a table of 600 rows, or another."""
    return smart.plan(rows(600) if table is None else table, task, **usual(path, **options))


def outlined(
    path: Path, table: Any = None, task: smart.Task = TASK, pilot: int | None = None, **options: Any
) -> smart.Plan:
    """The same for the agreement asked for alone, which is quicker."""
    asked = Options.of(usual(path, **options))
    return wait(outline(rows(600) if table is None else table, task, asked, pilot=pilot))


def piloted(path: Path, table: Any = None, **options: Any) -> smart.Plan:
    """The same with a pilot, where the forecast is of no interest: that of this procedure takes no time."""
    return outlined(path, table, procedure="reference-only", **options)


# --------------------------------------------------------------------------- a plan


def test_a_plan_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    """Without a pilot no request is sent and no file is made, whatever is asked for."""
    given, folder = providers(), tmp_path / "empty"
    folder.mkdir()
    for more in ({}, {"procedure": "reference-only"}, {"per_label": "0.8"}):
        planned(folder, providers=given, **more)
    assert calls(given) == 0
    assert list(folder.iterdir()) == []


def test_its_figures_hang_together(tmp_path: Path) -> None:
    """Intervals hold their expectation, cost grows with the agreement asked for, saving is reference-only ÷ cost."""
    plan = planned(tmp_path)
    assert plan.asked in plan.lines
    assert [line.agreement for line in plan.lines] == sorted({"0.9", "0.80", "0.85", "0.95", "0.97", "0.99"}, key=float)
    for line in plan.lines:
        assert 0 < line.low <= line.cost <= line.high
        assert line.saving == pytest.approx(plan.reference_only / line.cost)
        assert line.saving_low <= line.saving <= line.saving_high
    costs = [line.cost for line in plan.lines]
    assert costs == sorted(costs)
    assert plan.reference_only == pytest.approx(plan.models[0].cost * 600)


def test_it_shows_what_would_be_asked(tmp_path: Path) -> None:
    """The prompts of a few rows as they would be sent, the contract, every model's role and rate."""
    plan = planned(tmp_path)
    assert plan.prompts[0] == (0, "Yes or no?\nrow 0")
    assert plan.prompts[-1] == (599, "Yes or no?\nrow 599")
    assert plan.answer == "one of the labels yes, no"
    assert [(model.name, model.role) for model in plan.models] == [
        ("fake:big", "reference"),
        ("fake:small", "candidate"),
        ("fake:tiny", "candidate"),
    ]
    assert [model.rate["input"] for model in plan.models] == [10, 1, 0.1]
    odd = planned(tmp_path, table=[{"id": 1, "text": "a\x1b[2J\u202e"}, *rows(600)[1:]])
    assert "⟨U+001B⟩[2J⟨U+202E⟩" in odd.text()
    text = plan.text()
    for piece in ("Yes or no?", "row 599", "fake:tiny", "a guess", "agreement", "0.99"):
        assert piece in text
    assert len(plan.short().splitlines()) <= 6
    assert json.loads(json.dumps(plan.to_json()))["rows"] == 600


def test_reference_only_costs_what_the_reference_costs(tmp_path: Path) -> None:
    """With no procedure there is nothing to guess."""
    plan = planned(tmp_path, procedure="reference-only")
    assert plan.asked.low == plan.asked.cost == plan.asked.high == plan.reference_only


def test_equal_rows_are_counted_once(tmp_path: Path) -> None:
    """Money follows distinct requests, and the plan says how many rows repeat another."""
    plan = planned(tmp_path, [{"text": f"row {i % 100}"} for i in range(600)])
    assert plan.distinct == 100
    assert plan.reference_only == pytest.approx(plan.models[0].cost * 100)
    assert any("500 rows ask what another row asks" in warning for warning in plan.warnings)


def test_a_plan_says_which_run_it_would_take_up(tmp_path: Path) -> None:
    """After a run of the same command the plan names it; after another one it does not."""
    done = smart.run(rows(600), TASK, **usual(tmp_path))
    assert planned(tmp_path).run == {"run": done.run_id, "state": "done"}
    assert planned(tmp_path, agreement="0.8").run is None


WARNED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing may differ": ({"agreement": "0.999"}, "allows no row to differ"),
    "dear candidate": ({"candidates": ["fake:tiny?in=20&out=20"]}, "costs as much a row as fake:big or more"),
    "budget": ({"budget": 1e-6}, "less than the expected cost ($"),
    "labels inside labels": (
        {"task": smart.Task("{text}", labels=["positive", "very positive"])},
        "'positive' stands inside 'very positive'",
    ),
    "empty cells": ({"table": [{"text": "" if i % 3 else f"r{i}"} for i in range(600)]}, "is empty in about 67 %"),
    "thoughts": ({"candidates": ["openai:gpt-5-mini?in=1&out=1"]}, "openai:gpt-5-mini may think before answering"),
    "promise per label": ({"per_label": "0.8"}, "promise per label"),
}


@pytest.mark.parametrize("case", WARNED)
def test_warnings(tmp_path: Path, case: str) -> None:
    """Each thing worth knowing before paying is said once, and only where it is so."""
    options, words = WARNED[case]
    assert sum(words in warning for warning in planned(tmp_path, **options).warnings) == 1
    assert not any(words in warning for warning in planned(tmp_path).warnings)


def test_a_small_table_is_said_to_be_small(tmp_path: Path) -> None:
    """Where profiling eats the saving, the plan says so and why."""
    plan = planned(tmp_path, rows(100), agreement="0.99", candidates=["fake:small?in=9&out=9"])
    assert any("the table is small" in warning for warning in plan.warnings)


# --------------------------------------------------------------------------- pilots


def test_a_pilot_sharpens_the_plan_and_is_paid_once(tmp_path: Path) -> None:
    """It asks every model about its rows, the interval narrows, and asking again buys nothing."""
    given = providers()
    before, plan = outlined(tmp_path), outlined(tmp_path, pilot=40, providers=given)
    assert [provider.calls for provider in given.values()] == [40, 40, 40]
    assert plan.pilot is not None
    assert plan.pilot["rows"] == plan.set_aside == 40
    assert plan.asked.runs > 0
    assert plan.asked.high - plan.asked.low < before.asked.high - before.asked.low
    again = providers()
    assert outlined(tmp_path, pilot=40, providers=again).pilot == plan.pilot
    assert calls(again) == 0
    assert outlined(tmp_path, pilot=50, providers=again).set_aside == 50
    assert [provider.calls for provider in again.values()] == [10, 10, 10]


def test_a_poor_candidate_shows_in_the_pilot(tmp_path: Path) -> None:
    """A candidate that agrees less than half of the time is named, and one that breaks the contract too."""
    given = {**providers(), "fake:small": smart.FakeProvider(lambda _: "perhaps")}
    given["fake:tiny"] = smart.FakeProvider(astray(0.9, "tiny"))
    warnings = " ".join(outlined(tmp_path, pilot=40, providers=given).warnings)
    assert "fake:tiny agreed on" in warnings
    assert "fake:small broke the output contract on 40 piloted rows" in warnings


@pytest.mark.parametrize("pilot", [0, -1, 301])
def test_a_pilot_has_bounds(tmp_path: Path, pilot: int) -> None:
    """At least a row, at most half of the table; nothing is asked otherwise."""
    given = providers()
    with pytest.raises(smart.InputError, match="pilot="):
        planned(tmp_path, pilot=pilot, providers=given)
    assert calls(given) == 0


def test_piloted_rows_are_delivered_and_never_evidence(tmp_path: Path) -> None:
    """The run delivers the reference's answers without paying again, profiles other rows only, and verifies."""
    piloted(tmp_path, rows(1500), pilot=60)
    given = providers()
    done = smart.run(rows(1500), TASK, **usual(tmp_path, providers=given))
    aside = done.certificate.plan["set_aside"]
    assert len(aside) == done.certificate.claim["set_aside"] == 60
    assert {done.table[position]["answered_by"] for position in aside} == {"fake:big"}
    with Reader.open(tmp_path / "ledger.db") as reader:
        asks = [event.payload for event in reader.events(done.run_id) if event.kind == "ask"]
    assert asks
    assert not {position for ask in asks for position in ask["positions"]} & set(aside)
    by_reference = sum(row["answered_by"] == "fake:big" for row in done.table)
    assert given["fake:big"].calls == by_reference - 60
    assert done.certificate.granted
    assert smart.verify(done.certificate, done.ledger) == []


def test_a_pilot_under_another_prompt_counts_as_well(tmp_path: Path) -> None:
    """Whoever tuned a prompt on rows cannot count them: they are set aside under every later prompt and agreement."""
    piloted(tmp_path, pilot=40, task=OTHER)
    for agreement in ("0.9", "0.8"):
        done = smart.run(rows(600), TASK, **usual(tmp_path, agreement=agreement))
        assert done.certificate.claim["set_aside"] == 40
        assert smart.verify(done.certificate, done.ledger) == []


def test_a_pilot_after_the_run_changes_nothing_of_it(tmp_path: Path) -> None:
    """Rows piloted later are not set aside by a run that was already made; it is taken up as it was."""
    first = smart.run(rows(600), TASK, **usual(tmp_path))
    piloted(tmp_path, pilot=40)
    second = smart.run(rows(600), TASK, **usual(tmp_path))
    assert second.certificate == first.certificate
    assert smart.verify(second.certificate, second.ledger) == []


@pytest.mark.parametrize(("before", "clock"), [(False, 0.0), (True, 9e9)])
def test_the_clock_does_not_say_what_was_piloted_before_the_run(tmp_path: Path, before: bool, clock: float) -> None:
    """A pilot after the run with the clock set back is none before it, and one before it with a clock that was ahead
    is: the ledger knows in which order it was written."""
    if before:
        piloted(tmp_path, pilot=40)
    done = smart.run(rows(600), TASK, **usual(tmp_path))
    if not before:
        piloted(tmp_path, pilot=40)
    with sqlite3.connect(done.ledger) as base:
        base.execute("DROP TRIGGER events_no_update")
        base.execute("UPDATE events SET created = ? WHERE kind = 'pilot'", (clock,))
    hidden = "rows of this table were piloted before the run, and not set aside"
    other = replace(done.certificate, plan=structs.replace(done.certificate.plan, set_aside=()))
    assert smart.verify(done.certificate, done.ledger) == []
    assert before == any(hidden in each for each in smart.verify(other, done.ledger))


def test_a_certificate_that_hides_a_pilot_is_refused(tmp_path: Path) -> None:
    """A certificate of a run without rows set aside does not verify against a ledger that holds an earlier pilot."""
    (tmp_path / "other").mkdir()
    plain = smart.run(rows(600), TASK, **usual(tmp_path / "other"))
    piloted(tmp_path, pilot=40)
    smart.run(rows(600), TASK, **usual(tmp_path))
    assert smart.verify(plain.certificate, tmp_path / "ledger.db") != []


def test_a_run_after_a_pilot_is_taken_up(tmp_path: Path) -> None:
    """A budget that ends the run among rows set aside or later keeps everything; more money ends it as if in one go."""
    (tmp_path / "whole").mkdir()
    piloted(tmp_path / "whole", pilot=40)
    whole = smart.run(rows(600), TASK, **usual(tmp_path / "whole"))
    piloted(tmp_path, pilot=40)
    with pytest.raises(smart.BudgetExhausted):
        smart.run(rows(600), TASK, **usual(tmp_path, budget=whole.cost / 2))
    done = smart.run(rows(600), TASK, **usual(tmp_path))
    assert done.table == whole.table
    assert done.cost == pytest.approx(whole.cost)


def test_rows_set_aside_without_an_answer_count_against_the_promise(tmp_path: Path) -> None:
    """The reference failing on a piloted row makes an error row that the claim counts, and the certificate verifies."""

    def failing(request: Request) -> str | Exception:
        bad = draw(request.prompt, "failing") < 0.1
        return smart.Refused("too long", row_only=True) if bad else right(request)

    piloted(tmp_path, pilot=60, providers=providers(big=failing))
    done = smart.run(rows(600), TASK, **usual(tmp_path, agreement="0.7", providers=providers(big=failing)))
    claim = done.certificate.claim
    assert claim["set_aside_errors"] == sum(
        done.table[position]["status"] != "ok" for position in done.certificate.plan["set_aside"]
    )
    assert claim["set_aside_errors"] > 0
    assert smart.verify(done.certificate, done.ledger) == []


# --------------------------------------------------------------------------- self-agreement


def moody(share: float) -> Answering:
    """A reference that says something else the second time, on this share of the rows."""
    return lambda request: astray(share, "mood")(request) if request.draw else right(request)


def test_the_second_answer_is_a_draw_of_its_own(tmp_path: Path) -> None:
    """Self-agreement counts what changed, costs a call a row, and the first answers are delivered."""
    given = providers(big=moody(0.3))
    done = smart.run(rows(600), TASK, **usual(tmp_path, self_check=30, providers=given))
    check = done.certificate.self_agreement
    assert check is not None
    assert check["rows"] == 30
    assert check["lower"] < check["agreeing"] / 30 < check["upper"]
    assert check["agreeing"] < 30
    steady = smart.run(rows(600), TASK, **usual(tmp_path, ledger=tmp_path / "steady.db"))
    assert done.table == steady.table
    assert done.cost - steady.cost == pytest.approx(done.certificate.cost["self_check"])
    assert smart.verify(done.certificate, done.ledger) == []


def test_asked_twice_is_paid_twice_and_not_three_times(tmp_path: Path) -> None:
    """The same command again buys nothing, and says the same."""
    first = smart.run(rows(300), TASK, **usual(tmp_path, self_check=20, providers=providers(big=moody(0.3))))
    again = providers(big=moody(0.3))
    second = smart.run(rows(300), TASK, **usual(tmp_path, self_check=20, providers=again))
    assert calls(again) == 0
    assert second.certificate == first.certificate


def test_a_target_above_the_ceiling_is_warned_of(tmp_path: Path) -> None:
    """A plan whose pilot was asked twice says so when the reference contradicts itself more often than allowed."""
    plan = piloted(tmp_path, pilot=30, self_check=30, providers=providers(big=moody(0.4)))
    assert plan.self_agreement is not None
    assert plan.set_aside == 30
    assert any("above that ceiling" in warning for warning in plan.warnings)
