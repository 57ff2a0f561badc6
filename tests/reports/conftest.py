"""Runs to report on, and a browser to look with."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from chance import draw

import smart_llm as smart
from smart_llm.types import Request

LABELS = ("positive", "negative", "mixed")
CANDIDATES = ("fake:small?in=1&out=1", "fake:tiny?in=0.1&out=0.1")


def straying(error: float, salt: str, labels: Sequence[str] = LABELS) -> smart.FakeProvider:
    """A model that says something else on this share of the prompts, and now and then nothing of use."""

    def answer(request: Request) -> str:
        place = draw(request.prompt, "truth")
        if draw(request.prompt, f"error{salt}") < error:
            if draw(request.prompt, f"broken{salt}") < 0.2:
                return f"who knows <img src=x onerror=alert(1)> {request.prompt[-40:]}"
            place = 1 - place
        return labels[int(place * len(labels))]

    return smart.FakeProvider(answer)


@pytest.fixture
def model() -> Callable[..., smart.FakeProvider]:
    """A model that strays: share of the prompts, and a name for which ones."""
    return straying


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., smart.Run[Any]]:
    """A run on rows of text with two candidates, ledger and all in the test's folder."""

    def make(rows: Sequence[str] | int = 400, **options: Any) -> smart.Run[Any]:
        texts = [f"row number {i}" for i in range(rows)] if isinstance(rows, int) else rows
        labels = options.pop("labels", LABELS)
        given = {
            "task": smart.Task("What is it? {text}\nOne word.", labels=labels),
            "reference": "fake:big?in=10&out=10",
            "candidates": CANDIDATES,
            "agreement": 0.85,
            "seed": 5,
            "ledger": tmp_path / "texts.csv.ledger.db",
            "providers": {
                "fake:big": straying(0.0, "", labels),
                "fake:small": straying(0.04, "small", labels),
                "fake:tiny": straying(0.3, "tiny", labels),
            },
        } | options
        return smart.run([{"id": i, "text": text} for i, text in enumerate(texts)], **given)

    return make


@pytest.fixture(scope="session")
def browser() -> ModuleType:
    """The browser beside this file; tests that need one skip where there is none."""
    spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["browser"] = module
    spec.loader.exec_module(module)
    if module.find() is None:
        pytest.skip("no chromium here: apt-get install chromium")
    return module
