"""The option door: every option has one name, one default and one check, whichever function or command takes it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from commands import usual

import smart_llm as smart
from smart_llm.cli.options import RunOptions
from smart_llm.engine.options import Asked
from smart_llm.wording import in_python

TASK = smart.Task("Good? {text}", labels=["yes", "no"])
ROWS = [{"text": f"row {i}"} for i in range(40)]
GOOD: dict[str, Any] = {"reference": "fake:big?in=10&out=10", "candidates": ["fake:small?in=1&out=1"]}
OTHERWISE = {"candidates": "candidate", "store_text": "no_store_text"}
"""Options that have another name on the command line."""
PYTHON_ONLY = {"providers", "on_event", "progress"}


def waited(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the API, called and awaited where it must be."""
    if not inspect.iscoroutinefunction(function):
        return function
    return lambda *given, **options: asyncio.run(function(*given, **options))


DOORS = [waited(function) for function in (smart.run, smart.arun, smart.plan, smart.aplan)]
NAMES = ["run", "arun", "plan", "aplan"]


@pytest.mark.parametrize("door", DOORS, ids=NAMES)
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("budjet", "budget"), ("agrement", "agreement"), ("on_events", "on_event"), ("candidate", "candidates")],
)
def test_an_unknown_option_names_the_nearest(door: Callable[..., Any], wrong: str, meant: str) -> None:
    """It is a TypeError before the table, the task or the models are looked at."""
    with pytest.raises(TypeError, match=rf"{wrong}.*Did you mean {meant}\?"):
        door("x.csv", None, reference="a", candidates=["b"], **{wrong: 1})


@pytest.mark.parametrize("door", DOORS, ids=NAMES)
def test_models_must_be_named(door: Callable[..., Any]) -> None:
    """Without a reference or candidates there is a TypeError that says how to give them."""
    with pytest.raises(TypeError, match="candidates="):
        door(ROWS, TASK, reference="fake:big")


@pytest.mark.parametrize("door", DOORS, ids=NAMES)
@pytest.mark.parametrize("more", [{}, {"batch": False}, {"progress": False}, {"progress": True}])
def test_nobody_need_listen(door: Callable[..., Any], more: dict[str, Any], tmp_path: Path) -> None:
    """`on_event=None` is the same as no `on_event`, whatever else is asked for."""
    door(ROWS, TASK, on_event=None, ledger=tmp_path / "ledger.db", **more, **GOOD)


def test_nobody_need_listen_by_batch(tmp_path: Path) -> None:
    """Also where it is asked first which models have batches."""
    smart.run(ROWS, TASK, on_event=None, batch=True, ledger=tmp_path / "ledger.db", **GOOD)


def test_every_list_of_options_is_the_same() -> None:
    """Type checkers, the door, `help` and the command line know the same options, with the same defaults."""
    known = {field.name: field.default for field in fields(smart.Options)}
    assert set(Asked.__annotations__) == set(known)
    shown = inspect.signature(smart.run).parameters
    assert [name for name in shown if name not in ("table", "task")] == list(known)
    assert list(inspect.signature(smart.aplan).parameters)[2:] == ["pilot", *known]
    assert all(
        shown[name].default == default for name, default in known.items() if shown[name].default != shown[name].empty
    )
    commanded = {field.name: field.default for field in fields(RunOptions)}
    for name in set(known) - PYTHON_ONLY:
        assert OTHERWISE.get(name, name) in commanded
    same = set(known) - PYTHON_ONLY - set(OTHERWISE) - {"reference"}
    assert {name: commanded[name] for name in same} == {name: known[name] for name in same}


def test_options_are_frozen() -> None:
    """What was checked cannot change afterwards."""
    options = smart.Options(**GOOD)
    with pytest.raises(FrozenInstanceError):
        options.budget = 3.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"providers": [smart.FakeProvider(lambda request: "yes")]}, ["providers", "dict", "list"]),
        ({"providers": {"fake:big": lambda request: "yes"}}, ["fake:big", "FakeProvider"]),
        ({"providers": {"fake:big": smart.FakeProvider}}, ["fake:big", "class"]),
        ({"providers": {"fake:big": "openai"}}, ["fake:big", "str", "complete"]),
        ({"providers": {3: smart.FakeProvider(lambda request: "yes")}}, ["providers", "3"]),
        ({"budget": -1}, ["budget"]),
        ({"budget": True}, ["budget", "number"]),
        ({"timeout": None}, ["timeout", "number"]),
        ({"concurrency": 2.5}, ["concurrency", "whole"]),
        ({"output": 3}, ["output", "path"]),
        ({"ledger": True}, ["ledger", "path"]),
        ({"models": {"a": 1}}, ["models", "path"]),
        ({"store_text": "no"}, ["store_text", "True or False"]),
        ({"header": 0}, ["header", "True or False"]),
        ({"procedure": 4}, ["procedure", "text"]),
        ({"engine": None}, ["engine", "text"]),
        ({"on_event": "print"}, ["on_event", "function"]),
        ({"batch": "yes"}, ["batch", "True"]),
        ({"retry": "all"}, ["retry", "errors"]),
        ({"agreement": None}, ["agreement", "0.95"]),
        ({"floor": "half"}, ["floor"]),
    ],
)
def test_a_value_of_the_wrong_kind_gets_a_sentence(given: dict[str, Any], words: list[str]) -> None:
    """It names the option as Python spells it, and what is wanted, before anything is asked."""
    for door in (smart.run, smart.plan):
        with pytest.raises(smart.InputError) as caught:
            door(ROWS, TASK, **{**GOOD, **given})
        assert [word for word in words if word not in str(caught.value)] == []


def test_a_pilot_is_a_whole_number() -> None:
    """Like every number of rows."""
    with pytest.raises(smart.InputError, match="pilot"):
        smart.plan(ROWS, TASK, pilot="ten", **GOOD)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget": -1}, "budget=-1: give USD"),
        ({"agreement": 95}, "agreement=95: must lie"),
        ({"retry": "all"}, "retry='all': give errors or broken"),
        ({"batch": True, "engine": "ray"}, "batch=True and engine='ray'"),
        ({"id_column": "nr"}, "id_column='nr': there is no such column"),
        ({"candidates": []}, "candidates: name at least one cheaper model (or use procedure='reference-only')"),
        ({"candidates": [GOOD["reference"]]}, "candidates: fake:big"),
        ({"per_label": 0.9, "procedure": "smart/2024"}, "not with procedure='smart/2024'"),
        ({"explode": True}, "explode=True goes with JSON answers: give schema= or answer='json'"),
        ({"safe_csv": True}, "safe_csv=True: there is no CSV or TSV output; name one with output="),
        ({"workers": 2}, "workers= and partition= go with engine='ray'"),
    ],
)
def test_python_reads_of_keywords(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    """An error in Python names keywords, never options of the command line."""
    with pytest.raises(smart.InputError) as caught:
        smart.run(ROWS, TASK, ledger=tmp_path / "ledger.db", **{**GOOD, **given})
    assert words in str(caught.value)
    assert "--" not in str(caught.value)


def test_the_command_line_reads_of_options(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """The same error on the command line names the option as it was typed; Python has its own words again after it."""
    table = tmp_path / "t.csv"
    table.write_text("text\na\nb\n", encoding="utf-8")
    code, _, said = command(*usual(table, budget=-1))
    assert (code, said) == (2, "smart: --budget -1.0: give USD, more than 0.\n")
    with pytest.raises(smart.InputError, match="budget=-1"):
        smart.run(table, TASK, budget=-1, **GOOD)


def test_plans_and_events_read_of_keywords(tmp_path: Path) -> None:
    """So do the warnings of a plan, its text, and what `on_event` is told."""
    rows, heard = [*ROWS, {"text": ""}], list[str]()
    plan = smart.plan(rows, TASK, ledger=tmp_path / "plan.db", **GOOD)
    assert "skip_empty=True" in " ".join(plan.warnings)
    assert "pilot=50" in plan.text()
    assert "--" not in plan.text()
    listen: Any = lambda event: heard.append(event.text) if isinstance(event, smart.Said) else None  # noqa: E731
    smart.run(rows, TASK, ledger=tmp_path / "run.db", on_event=listen, **GOOD)
    assert [line for line in heard if "--" in line] == []


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("run again with a larger --budget to go on.", "run again with a larger budget= to go on."),
        ("give --quotes none if quotes are cells", "give quotes='none' if quotes are cells"),
        ("begin anew with --ledger NEWFILE.", "begin anew with ledger=NEWFILE."),
        ("--header says it is none.", "header=True says it is none."),
        ("--engine ray:10.0.0.1:99: no cluster there (x).", "engine='ray:10.0.0.1:99': no cluster there (x)."),
        (
            "smart verify a.json --ledger b.db, or --retry broken",
            "smart verify a.json --ledger b.db, or retry='broken'",
        ),
        ("--report /a b/c: that is a folder", "report='/a b/c': that is a folder"),
        ("a row -- or two --- and so on", "a row -- or two --- and so on"),
    ],
)
def test_options_in_python_words(said: str, read: str) -> None:
    """Values are quoted as Python does, placeholders and whole commands stay."""
    assert in_python(said) == read
