"""User code type-checks: what is right is accepted, what is wrong is rejected (`api.py`, which nobody runs)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def check(*command: str) -> tuple[int, str]:
    """Exit code and output of a checker, run where its settings are."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_mypy() -> None:
    """mypy, strict, accepts it and the package (`make types`), and needs every one of its ignores."""
    pytest.importorskip("mypy")
    code, said = check("mypy")
    assert code == 0, said


@pytest.mark.slow
def test_pyright() -> None:
    """So does pyright (as basedpyright, which brings its own node), in its standard mode."""
    pytest.importorskip("basedpyright", reason="basedpyright is not installed: make .venv/ready")
    code, said = check("basedpyright", "--pythonpath", sys.executable)
    assert code == 0, said
