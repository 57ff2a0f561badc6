"""Plans and certificates are read strictly: what does not fit is named in one line, and nothing ends in a traceback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forging import places, with_value

import smart_llm as smart
from smart_llm.ledger import Reader, canonical, tagged
from smart_llm.types.plan import FrozenPlan, frozen_plan
from tests.engine.test_run import rows, run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> smart.Run[Any]:
    """One run of the default procedure."""
    return run(rows(300), tmp_path_factory.mktemp("strict"), procedure="ladder")


def told(done: smart.Run[Any]) -> dict[str, Any]:
    """Its certificate, as a file has it."""
    fields: dict[str, Any] = json.loads(done.certificate.to_json())
    return fields


def test_a_certificate_comes_back_as_it_was(done: smart.Run[Any]) -> None:
    """What is read from the ledger is what was handed out, and its hash is that of its JSON."""
    with Reader.open(done.ledger) as reader:
        (record,) = reader.runs()
    assert record.plan == done.certificate.plan
    assert canonical(record.plan) == canonical(record.recorded)
    assert tagged(canonical(record.plan)) == record.plan_hash == done.certificate.plan_hash


PARTS = ("plan", "claim", "procedure", "rule", "delivered", "cost", "errors", "software", "models", "labels")


@pytest.mark.parametrize("part", ["", *PARTS])
def test_an_unknown_field_is_refused(done: smart.Run[Any], part: str) -> None:
    """At the top or in any part, although nothing else was changed: in one line that names it."""
    certificate = told(done)
    place = certificate[part] if part else certificate
    (place[0] if isinstance(place, list) else place)["more"] = 1
    (problem,) = smart.verify(certificate)
    assert "malformed" in problem
    assert "more" in problem


@pytest.mark.parametrize(
    ("name", "more"),
    [("agreement", '"agreement": "0.9999"'), ("words", '"words": "At most 0 of the answers differ."'), ("pilot", "")],
)
def test_a_name_that_stands_twice_is_refused(
    done: smart.Run[Any], tmp_path: Path, command: Command, name: str, more: str
) -> None:
    """In whatever order, at whatever depth: what people and other readers of JSON see first is not what was checked."""
    text, path = done.certificate.to_json(), tmp_path / "forged.json"
    at = text.index(f'"{name}"')
    path.write_text(f"{text[:at]}{more or json.dumps(name) + ': [0]'}, {text[at:]}", encoding="utf-8")
    (problem,) = smart.verify(path, done.ledger)
    assert f"{name} twice" in problem
    code, out, err = command("verify", path)
    assert (code, out) == (5, "")
    assert f"{name} twice" in err


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), "\ud800", [[[float("nan")]]]], ids=ascii)
def test_what_json_has_no_word_for_is_refused(done: smart.Run[Any], odd: Any) -> None:
    """In every field, with the ledger, too: Python's own reader of JSON takes NaN, infinities and half characters, and
    hashes take the former for null."""
    certificate = told(done)
    for path, _ in places(certificate):
        assert smart.verify(with_value(certificate, path, odd), done.ledger), path


def test_no_depth_ends_in_a_traceback(done: smart.Run[Any]) -> None:
    """A certificate that is nested without end is none."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert smart.verify(told(done) | {"evidence": {"mix": deep}})


def test_whatever_is_missing_or_mistyped_is_refused(done: smart.Run[Any]) -> None:
    """Each field left out, or of another type: at least one line, never an exception."""
    certificate = told(done)
    for path, value in places(certificate):
        others: list[Any] = [[None], {"x": None}, "x", True]
        for other in others:
            if type(other) is not type(value):
                assert smart.verify(with_value(certificate, path, other)), (path, other)
        if isinstance(path[-1], str):
            around: Any = certificate
            for name in path[:-1]:
                around = around[name]
            fewer = {name: each for name, each in around.items() if name != path[-1]}
            assert smart.verify(with_value(certificate, path[:-1], fewer)), path


@pytest.mark.parametrize("certificate", [{}, {"format": 3}, {"format": "smart-certificate/4"}, {"plan": []}])
def test_what_is_no_certificate_is_named(certificate: dict[str, Any]) -> None:
    """In one line."""
    (problem,) = smart.verify(certificate)
    assert "certificate" in problem


def test_a_file_without_a_status_is_no_traceback(done: smart.Run[Any], tmp_path: Path, command: Command) -> None:
    """`smart verify --json` answers, with exit code 5 and a problem."""
    certificate = told(done)
    del certificate["status"]
    (tmp_path / "c.json").write_text(json.dumps(certificate))
    code, out, err = command("verify", tmp_path / "c.json", "--json")
    assert code == 5, err
    (problem,) = json.loads(out)["problems"]
    assert "`status`" in problem


def test_a_plan_of_another_version_is_named(done: smart.Run[Any]) -> None:
    """The format it has and the one that is read: in a certificate as a problem, in Python as a `LedgerError`."""
    certificate = told(done)
    certificate["plan"]["format"] = "smart-plan/1"
    (problem,) = smart.verify(certificate)
    assert "smart-plan/1" in problem
    assert "smart-plan/2" in problem
    with pytest.raises(smart.LedgerError, match="smart-plan/1"):
        frozen_plan(certificate["plan"])
    with pytest.raises(smart.LedgerError, match="malformed"):
        frozen_plan(done.certificate.plan.to_json() | {"rows": "many"})
    assert frozen_plan(done.certificate.plan.to_json()) == done.certificate.plan
    assert isinstance(done.certificate.plan, FrozenPlan)


def test_runs_of_another_version_do_not_hide_others(tmp_path: Path, command: Command) -> None:
    """`smart runs` lists what it can read and says what it cannot; a report of the other run is refused in one line."""
    done = run(rows(60), tmp_path)
    with sqlite3.connect(done.ledger) as ledger:
        plan = json.loads(ledger.execute("SELECT plan FROM runs").fetchone()[0])
        older = json.dumps({"format": "smart-plan/1", "table": plan["table"], "task": plan["task"]})
        ledger.execute(
            "INSERT INTO runs SELECT 'older', 'older', ?, plan_hash, seed, started, state, NULL FROM runs", (older,)
        )
    code, out, err = command("runs", "--ledger", done.ledger)
    assert code == 0, err
    assert done.run_id in out
    assert "older was made by another version" in err
    code, out, err = command("report", "older", "--ledger", done.ledger)
    assert code == 2
    assert "another version" in err
    again = run(rows(60), tmp_path, seed=9)
    assert again.certificate.earlier_runs == 2


def test_fields_can_be_read_by_their_names_in_the_file(done: smart.Run[Any]) -> None:
    """As attributes, which type checkers see, and by the names in the JSON: the same values."""
    certificate, c = told(done), done.certificate
    assert c.claim.rows == c.claim["rows"] == certificate["claim"]["rows"]
    for part in ("plan", "claim", "cost", "errors", "rule", "delivered"):
        assert dict(getattr(c, part)) == certificate[part]
    assert c.rule["else"] == c.plan["reference"] == c.plan.reference
    assert c.rule.get("gone") is None
    with pytest.raises(KeyError):
        c.claim["row"]
