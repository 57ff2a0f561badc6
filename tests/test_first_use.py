"""Python in somebody's first ten minutes: quick to import, explained, short to look at, and a sentence for a slip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart

TASK = smart.Task("Good? {text}", labels=["yes", "no"])
ROWS = [{"text": f"row {i} <b>"} for i in range(60)]
GOOD: dict[str, Any] = {"reference": "fake:big?in=10&out=10", "candidates": ["fake:small?in=1&out=1"]}


@pytest.mark.parametrize(("code", "seconds"), [("", 0.3), ("smart_llm.run", 0.8), ("smart_llm.Task", 0.8)])
def test_importing_is_quick(code: str, seconds: float) -> None:
    """So much work, whatever else the machine does, until there is something to call."""
    timed = f"import time, smart_llm\n{code}\nprint(time.process_time())"

    def took() -> float:
        done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert any(took() < seconds for _ in range(4)), "a busy core is slower, but not each time"


def test_help_explains_every_option() -> None:
    """`help(smart.run)` names every option there is, as `smart.Options` has them."""
    explained = smart.run.__doc__ or ""
    missing = [name for name in smart.Options.__annotations__ if name not in explained]
    assert not missing
    assert "pilot" in (smart.plan.__doc__ or "")


def test_values_are_short_to_look_at() -> None:
    """Run, certificate and plan say what they are in a line; a notebook gets HTML with every text escaped."""
    plan, run = smart.plan(ROWS, TASK, **GOOD), smart.run(ROWS, TASK, **GOOD)
    for value, words in [
        (plan, ["Plan", "60 rows", "0.95", "$"]),
        (run, ["Run", run.run_id, "agreement ≥ 0.95", "$"]),
        (run.certificate, ["Certificate", "agreement ≥ 0.95", "60 rows"]),
    ]:
        shown = repr(value)
        assert "\n" not in shown
        assert len(shown) < 200
        for word in words:
            assert word in shown
        page = value._repr_html_()
        assert page.startswith("<div>")
        assert "<b>" not in page
        assert "60 rows" in page


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: smart.run(ROWS, "Good? {text}", **GOOD), ["smart.Task", "str"]),  # type: ignore[arg-type]
        (lambda: smart.plan(ROWS, "Good? {text}", **GOOD), ["smart.Task", "str"]),  # type: ignore[arg-type]
        (lambda: smart.run(ROWS, TASK, **{**GOOD, "candidates": "fake:small?in=1&out=1"}), ["list"]),
        (lambda: smart.run(ROWS, TASK, **{**GOOD, "candidates": None}), ["list", "NoneType"]),
        (lambda: smart.run(ROWS, TASK, **{**GOOD, "candidates": [3]}), ["3"]),
        (lambda: smart.run(ROWS, TASK, **{**GOOD, "reference": ["fake:big"]}), ["reference", "list"]),
        (lambda: smart.run(ROWS, TASK, budget="3", **GOOD), ["budget", "'3'"]),  # type: ignore[call-overload]
        (lambda: smart.run(ROWS, TASK, seed=1.5, **GOOD), ["seed", "whole"]),  # type: ignore[call-overload]
        (lambda: smart.run(ROWS, TASK, agreement=95, **GOOD), ["0.95"]),
        (lambda: smart.Task("Good? {text}", labels="yes,no"), ["list"]),
        (lambda: smart.Task("Good? {text}", labels=3), ["list"]),  # type: ignore[arg-type]
    ],
)
def test_a_slip_gets_a_sentence(call: Callable[[], object], words: list[str]) -> None:
    """What was given, and what is wanted; never a failure from somewhere inside."""
    with pytest.raises(smart.InputError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_an_option_that_is_none_is_refused() -> None:
    """A misspelt option would otherwise do nothing, in silence."""
    with pytest.raises(TypeError, match=r"bugdet.*Did you mean budget"):
        smart.run(ROWS, TASK, bugdet=3, **GOOD)  # type: ignore[call-overload]


def test_the_version_is_that_of_the_package() -> None:
    """As the project states it."""
    told = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{smart.__version__}"' in told


RECORDED = [
    {"item_id": i, "model": model, "answer": "yes" if i % rate else "no", "cost_usd": cost}
    for i in range(200)
    for model, rate, cost in (("big", 2, 1.0), ("small", 2, 0.1))
]


@pytest.mark.parametrize(
    ("call", "wrong", "meant"),
    [
        (lambda: smart.Task("{text}", label=["a", "b"]), "label", "labels"),  # type: ignore[call-arg]
        (lambda: smart.Task("{text}", equivalent="exact"), "equivalent", "equivalence"),  # type: ignore[call-arg]
        (lambda: smart.replay(RECORDED, reference="big", agrement=0.9), "agrement", "agreement"),  # type: ignore[call-arg]
        (lambda: smart.FakeProvider(str, latancy=1), "latancy", "latency"),  # type: ignore[call-arg, arg-type]
        (lambda: smart.verify("c.json", taks=TASK), "taks", "task"),  # type: ignore[call-arg]
        (lambda: smart.report("last", legder="x.db"), "legder", "ledger"),  # type: ignore[call-arg]
    ],
)
def test_a_misspelt_keyword_names_the_nearest(call: Callable[[], object], wrong: str, meant: str) -> None:
    """Of every function and class that a program calls, not of `run` alone."""
    with pytest.raises(TypeError, match=rf"'{wrong}'.*Did you mean {meant}\?"):
        call()


def test_a_run_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` and `report` take what `run` returned: its ledger, its task and a name for the page follow from it."""
    monkeypatch.chdir(tmp_path)
    task = smart.Task("Good? {text}", labels=["yes", "no"], equivalence=lambda a, b: a == b)
    run = smart.run(ROWS, task, ledger="own.db", **GOOD)
    assert smart.verify(run) == []
    assert smart.report(run) == run.report() == Path(f"report-{run.run_id}.html")
    assert smart.report(run, "other.html") == Path("other.html")
    assert {"other.html", f"report-{run.run_id}.html"} <= {path.name for path in tmp_path.iterdir()}
    (tmp_path / "own.db").unlink()
    with pytest.raises(smart.InputError):
        smart.verify(run)


def test_an_id_is_enough_for_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger of a run that is known by its id is looked for where runs of this folder have theirs."""
    monkeypatch.chdir(tmp_path)
    run = smart.run(ROWS, TASK, **GOOD)
    assert smart.report("last").name == f"report-{run.run_id}.html"


@pytest.mark.parametrize("value", [None, 3, TASK, [1]])
def test_what_is_no_run_gets_a_sentence(value: Any) -> None:
    """Also where it is checked or reported."""
    for call in (lambda: smart.verify(value), lambda: smart.report(value, "x.html", ledger="x.db")):
        with pytest.raises(smart.InputError, match=r"smart\.run"):
            call()


def test_replay_needs_a_reference_alone() -> None:
    """Agreement, confidence and the rest are those of `run` unless they are given."""
    usual, given = (
        smart.replay(RECORDED, reference="big", **more) for more in ({}, {"agreement": "0.95", "confidence": "0.95"})
    )
    assert (usual.cost_ratio_mean, usual.agreement, usual.confidence) == (given.cost_ratio_mean, 0.95, 0.95)
    with pytest.raises(smart.InputError, match="list"):
        smart.replay(RECORDED, reference="big", candidates="small")
    for odd in (None, 3, object()):
        with pytest.raises(smart.InputError, match="recorded"):
            smart.replay(odd, reference="big")


def test_replay_reads_pandas_without_pyarrow() -> None:
    """Frames of texts, numbers, categories and missing answers are read, whether pyarrow is there or not."""
    pytest.importorskip("pandas")
    code = f"""
import sys
sys.modules["pyarrow"] = None
import pandas as pd, smart_llm as smart
frame = pd.DataFrame({RECORDED!r})
frame.loc[7, "answer"] = None
figures = [smart.replay(each, reference="big").cost_ratio_mean for each in (
    frame, frame.astype({{"model": "category"}}), frame.astype({{"item_id": str}}).assign(more=[object()] * len(frame)),
    frame.to_dict("records"))]
assert len(set(figures)) == 1, figures
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_small_values_are_short_to_look_at() -> None:
    """Tasks, figures, answers and options show themselves in a line without the insides of the package."""
    run = smart.run(ROWS, TASK, **GOOD)
    long = smart.Task("A long question about {text}\n" * 50, labels=[f"label {i}" for i in range(500)])
    for value in (TASK, long, smart.replay(RECORDED, reference="big"), run.answers, smart.Options(**GOOD, budget=3.0)):
        shown = repr(value)
        assert len(shown) < 260
        assert "\n" not in shown
        assert "Contract" not in shown
        assert " at 0x" not in shown
    assert repr(TASK) == "Task('Good? {text}', labels=['yes', 'no'])"
    assert "budget=3.0" in repr(smart.Options(**GOOD, budget=3.0))
    page = smart.replay(RECORDED, reference="big")._repr_html_()
    assert page.startswith("<div>")
    assert "violations" in page


def test_what_needs_the_frames_extra_says_so(tmp_path: Path) -> None:
    """Folders and DuckDB relations without pyarrow: an error that names the extra."""
    pytest.importorskip("duckdb")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.csv").write_text("text\na\nb\n", encoding="utf-8")
    code = f"""
import sys
sys.modules["pyarrow"] = None
import duckdb, smart_llm as smart
task = smart.Task("Good? {{text}}", labels=["yes", "no"])
for table in ({str(tmp_path / "folder")!r}, duckdb.sql("select 'row ' || range as text from range(50)")):
    try:
        smart.plan(table, task, **{GOOD!r})
    except smart.InputError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.count("pip install 'smart-llm[frames]'") == 2, done.stderr


def test_a_misspelt_name_names_the_nearest() -> None:
    """Of the package, too."""
    with pytest.raises(AttributeError, match=r"Did you mean Task\?"):
        smart.Tassk  # noqa: B018
