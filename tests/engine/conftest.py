"""Fixtures of runs that several files look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import smart_llm as smart


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> smart.Run:
    """The run with `learned` that nothing happens to. Whoever changes its ledger changes a copy."""
    sys.path.append(str(Path(__file__).parent))
    from test_learned_live import run

    return run(tmp_path_factory.mktemp("whole") / "l.db")
