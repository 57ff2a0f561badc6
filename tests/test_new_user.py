"""What somebody who had never seen the code stumbled over: figures that do not add up, and advice that harms."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shapes import Shaped

import smart_llm as smart
from smart_llm.client.client import Client
from smart_llm.engine import watch
from smart_llm.errors import Retryable
from smart_llm.events import Said, Stop
from smart_llm.ledger import Ledger
from smart_llm.providers.fake import FakeProvider
from smart_llm.types import Answer, Model, Rate, Request

TASK = smart.Task("Good? {text}", labels=["yes", "no"])
MODELS: dict[str, Any] = {"reference": "fake:big?in=10&out=10", "candidates": ["fake:small?in=1&out=1"]}


def says(request: Request) -> str:
    """The same of both models, but for one row in thirty of the small one."""
    number = int(request.prompt.rpartition(" ")[2])
    good = number % 3 == 0
    return "yes" if good != (number % 30 == 7 and request.model == "fake:small") else "no"


def rows(count: int) -> list[dict[str, str]]:
    """A table."""
    return [{"text": f"row {number}"} for number in range(count)]


def options(folder: Path, **more: Any) -> dict[str, Any]:
    """Of a run with fakes whose answers are kept."""
    provider = smart.FakeProvider(says, keep=True)
    return {
        **MODELS,
        "providers": {"fake:big": provider, "fake:small": provider},
        "ledger": folder / "l.db",
        "agreement": 0.9,
        **more,
    }


def parts(text: str) -> tuple[float, list[float]]:
    """The total that a certificate prints, and what it says it is made of."""
    found = re.search(r"cost +\$([\d.]+) \(([^)]*)\)", text)
    assert found
    return float(found[1]), [float(each) for each in re.findall(r"\$([\d.]+)", found[2])]


def test_the_parts_of_the_cost_add_up(tmp_path: Path) -> None:
    """Also those of rows answered before, and of second answers, are named where the total holds them."""
    one = smart.run(rows(600), TASK, **options(tmp_path, self_check=30))
    more = smart.run(rows(660), TASK, **options(tmp_path, self_check=0))
    for run in (one, more):
        total, stages = parts(run.certificate.text(1000))
        assert len(stages) == 3
        assert sum(stages) == pytest.approx(total, rel=0.01)


def test_a_mix_says_which_rows_it_leaves_to_the_reference(tmp_path: Path) -> None:
    """Whoever counts the rows that the reference answered finds those that were not profiled, too."""

    def poor(request: Request) -> str:
        number = int(request.prompt.rpartition(" ")[2])
        return "yes" if (number % 3 == 0) != (number % 10 == 7 and request.model == "fake:small") else "no"

    provider = smart.FakeProvider(poor)
    run = smart.run(
        rows(3000),
        TASK,
        **{**options(tmp_path), "providers": {"fake:big": provider, "fake:small": provider}},
        seed=1,
    )
    by, profiled = run.certificate.delivered.by, run.certificate.delivered.profiled
    assert run.certificate.rule.shares
    assert by["fake:big"] > profiled
    told = f"of the {3000 - profiled:,} rows not profiled, {by['fake:small']:,} for fake:small were picked at random"
    assert told in run.certificate.text(1000)


def test_a_rule_is_not_said_to_give_no_log_probabilities(tmp_path: Path) -> None:
    """It is no model: it does not say how sure it is."""
    given = options(tmp_path, candidates=[r"regex:[0369]$=yes;=no"], agreement=0.5)
    given["providers"].pop("fake:small")
    run = smart.run(rows(600), TASK, **given)
    told = " ".join(run.certificate.notes)
    assert "does not say how sure it is" in told
    assert "log-probabilities" not in told


def test_shares_per_label_of_a_grown_table_say_of_which_rows_they_are(tmp_path: Path) -> None:
    """The rows there were are not among those they are counted on."""
    first = smart.run(rows(600), TASK, **options(tmp_path))
    grown = smart.run(rows(660), TASK, **options(tmp_path))
    told = "(95 % limits, for the rows added alone; reported, not promised)"
    assert told not in first.certificate.text(1000)
    assert told in grown.certificate.text(1000)
    page = Path(grown.report(tmp_path / "r.html")).read_text("utf-8")
    assert "Of the rows added alone, with 95 % limits" in page
    assert "cost, with answers re-used" in page


@pytest.mark.parametrize("offline", [True, False])
def test_the_doctor_names_every_model_of_a_key_and_an_address(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, port: int, offline: bool
) -> None:
    """Two models at one address are both looked at, and both are named."""
    monkeypatch.setenv("MY_API_KEY", "k")
    models = [f"openai:{name}@http://127.0.0.1:{port}/v1?in=1&out=1&key_env=MY_API_KEY" for name in ("big", "small")]
    _, out, _ = command("doctor", *["--offline"] * offline, *models)
    lines = [line for line in out.splitlines() if "openai:" in line]
    assert len(lines) == (1 if offline else 2)
    assert all("openai:big@" in line and "openai:small@" in line for line in lines)


def test_replay_offers_no_procedure_that_it_refuses(command: Callable[..., tuple[int, str, str]]) -> None:
    """A promise per label is none of its."""
    _, out, _ = command("replay", "-h")
    assert "How to certify" in out
    assert "per-label" not in out


def test_what_is_promised_per_label_is_not_called_unpromised(tmp_path: Path) -> None:
    """The line below the labels says so only of what is not promised."""
    plain = smart.run(rows(2000), TASK, **options(tmp_path)).certificate.text(1000)
    told = smart.run(rows(2000), TASK, **options(tmp_path, per_label=0.8)).certificate.text(1000)
    assert "reported, not promised)" in plain
    assert "reported, not promised, but for what the claim says of labels)" in told


def test_a_plan_for_a_grown_table_says_what_is_paid_and_advises_no_pilot(tmp_path: Path) -> None:
    """A pilot would have the whole table answered anew."""
    first = smart.run(rows(600), TASK, **options(tmp_path))
    plan = smart.plan(rows(660), TASK, **options(tmp_path))
    assert plan.continued == first.run_id
    assert plan.paid == pytest.approx(first.certificate.cost.total)
    assert "pilot" not in plan.text(1000)
    assert "is paid already, for rows answered before" in plan.text(1000)


def test_no_pilot_is_advised_that_would_be_refused(tmp_path: Path) -> None:
    """A candidate that is taught in the run cannot be piloted."""
    plan = smart.plan(rows(600), TASK, **options(tmp_path, candidates=["learned"]))
    assert "pilot" not in plan.text(1000)
    assert "pilot=50" in smart.plan(rows(600), TASK, **options(tmp_path)).text(1000)


async def test_a_label_with_more_around_it_was_not_chosen(tmp_path: Path) -> None:
    """A server that passes over what it is told is not said to keep its model to the labels."""
    heard: list[smart.Event] = []
    async with Shaped({}, text="Yes.") as big, Shaped({}, text="Yes.") as small:
        await smart.arun(
            rows(60),
            TASK,
            reference=f"openai:big@{big}?in=10&out=10",
            candidates=[f"openai:small@{small}?in=1&out=1"],
            ledger=tmp_path / "l.db",
            on_event=heard.append,
        )
    told = [each.text for each in heard if isinstance(each, Said) and "its server" in each.text]
    assert len(told) == 1
    assert "does not keep it to the labels" in told[0]


class Unreachable(FakeProvider):
    """Nobody is there."""

    async def complete(self, request: Request) -> Answer:
        """Never."""
        await asyncio.sleep(0.03)
        raise Retryable("nobody is there.")


async def test_a_model_that_was_given_up_has_not_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That nothing more is asked is no answer."""
    monkeypatch.setattr(watch, "STALL", 0.06)
    heard: list[smart.Event] = []
    model, other = Model("fake:gone", "fake", "gone", Rate(1.0, 1.0)), Model("fake:m", "fake", "m", Rate(1.0, 1.0))
    with Ledger.open(tmp_path / "l.db") as ledger:
        providers = {model.name: Unreachable(lambda _: ""), other.name: FakeProvider(lambda _: "yes")}
        client = Client(ledger, [model, other], providers, patience=1.0)
        async with watch.watched(client, Stop(), heard.append):
            with pytest.raises(smart.ProviderError, match="nobody is there"):
                await client.ask(Request(model.name, "a", 1))
            for number in range(20):
                await client.ask(Request(other.name, f"b {number}", 1))
                await asyncio.sleep(0.03)
    said = [each.text for each in heard if isinstance(each, Said)]
    assert any("fake:gone has answered nothing for" in text for text in said)
    assert "Answers come again." not in said
