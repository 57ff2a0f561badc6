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
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    assert float(done.stdout) < seconds


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
